-- Immediate read models: derived from the log, rebuilt by `user-registry rebuild`.

-- One row per account; folded from the log in the transaction that appends to it.
CREATE TABLE users (
    -- The account.
    id TEXT NOT NULL,
    -- Number of events in its stream.
    version INTEGER NOT NULL,
    -- Position of the last event of its stream.
    log_position INTEGER NOT NULL,
    -- Position of the first.
    created_position INTEGER NOT NULL,
    -- The API it was opened through.
    dialect TEXT NOT NULL,
    -- pending, active, locked or deactivated.
    status TEXT NOT NULL,
    -- Whether it was in use before it was locked or deactivated.
    activated BOOLEAN NOT NULL,
    -- As typed.
    username TEXT,
    -- The form that is unique.
    username_canonical TEXT,
    -- As typed, domain as A-label.
    email TEXT,
    -- The form that is unique.
    email_canonical TEXT,
    -- The A-label domain of the address.
    email_domain TEXT,
    -- Whether the address is verified.
    email_verified BOOLEAN NOT NULL,
    -- New address that waits for its confirmation.
    pending_email_canonical TEXT,
    -- When that reservation ends, microseconds since 1970.
    pending_email_expires INTEGER,
    -- Canonical number.
    phone TEXT,
    -- The number as registered.
    phone_registered TEXT,
    -- Whether the number is verified.
    phone_verified BOOLEAN NOT NULL,
    -- JSON array of the keyed hashes of its device ids.
    devices TEXT NOT NULL,
    -- The name of the person.
    full_name TEXT,
    -- JSON array of its roles beyond user.
    roles TEXT NOT NULL,
    -- Whether others may find it by its place.
    discoverable BOOLEAN NOT NULL,
    -- Degrees, WGS 84.
    latitude REAL,
    -- Degrees, WGS 84.
    longitude REAL,
    -- ISO 3166-1 alpha-2 code of the position.
    country TEXT,
    -- The client's own place identifier.
    geo_id TEXT,
    -- GeoJSON text.
    boundary TEXT,
    -- BCP 47 language tag.
    locale TEXT,
    -- Number of its current credential; 0: none.
    credential_version INTEGER NOT NULL,
    -- When it expires if still unverified, microseconds since 1970.
    expires_at INTEGER,
    -- When it was opened, microseconds since 1970.
    created_at INTEGER NOT NULL,
    -- When its stream last grew, microseconds since 1970.
    updated_at INTEGER NOT NULL,
    -- Its last sign-in, microseconds since 1970.
    last_login INTEGER,
    -- Sessions started at or before this position have ended.
    session_epoch INTEGER NOT NULL,
    -- The one session that outlived that.
    kept_session TEXT,
    PRIMARY KEY (id)
) WITHOUT ROWID;
-- users_email_idx: search by the start of an address.
CREATE INDEX users_email_idx ON users (email_canonical);
-- users_username_idx: lists ordered by username; search by its start.
CREATE INDEX users_username_idx ON users (coalesce(lower(username), ''), id);
-- users_phone_idx: search by the start of a number.
CREATE INDEX users_phone_idx ON users (phone);
-- users_domain_idx: the accounts of a domain.
CREATE INDEX users_domain_idx ON users (email_domain);
-- users_created_idx: lists ordered by age.
CREATE INDEX users_created_idx ON users (created_at, id);
-- users_expires_idx: registrations that were never verified.
CREATE INDEX users_expires_idx ON users (expires_at);

-- One row per live sign-in.
CREATE TABLE sessions (
    -- The session.
    id TEXT NOT NULL,
    -- Whose it is.
    user_id TEXT NOT NULL,
    -- Number of events in its stream.
    version INTEGER NOT NULL,
    -- Position of its start; compared with session_epoch.
    started_position INTEGER NOT NULL,
    -- The API it was opened through.
    dialect TEXT NOT NULL,
    -- When it started, microseconds since 1970.
    started_at INTEGER NOT NULL,
    -- Its start or last refresh, microseconds since 1970.
    last_seen_at INTEGER NOT NULL,
    -- When the current refresh token lapses unused, microseconds since 1970.
    idle_expires_at INTEGER NOT NULL,
    -- When it ends at the latest, microseconds since 1970.
    expires_at INTEGER NOT NULL,
    -- Number of the current refresh token.
    generation INTEGER NOT NULL,
    -- Where it was started from, while kept.
    ip TEXT,
    -- What it was started with, while kept.
    user_agent TEXT,
    PRIMARY KEY (id)
) WITHOUT ROWID;
-- sessions_user_idx: the sign-ins of an account.
CREATE INDEX sessions_user_idx ON sessions (user_id, started_at);
-- sessions_expires_idx: lapsed sessions are swept.
CREATE INDEX sessions_expires_idx ON sessions (expires_at);

-- One row per API key.
CREATE TABLE api_keys (
    -- The key, named by the event that issued it.
    id TEXT NOT NULL,
    -- Whose it is.
    user_id TEXT NOT NULL,
    -- What its owner calls it.
    name TEXT,
    -- JSON array of what it may do.
    roles TEXT NOT NULL,
    -- When it was made, microseconds since 1970.
    created_at INTEGER NOT NULL,
    -- When it stops working, microseconds since 1970.
    expires_at INTEGER,
    -- Whether it was revoked.
    revoked BOOLEAN NOT NULL,
    PRIMARY KEY (id)
) WITHOUT ROWID;
-- api_keys_user_idx: the keys of an account.
CREATE INDEX api_keys_user_idx ON api_keys (user_id, created_at);

-- One row per domain that was seen, allowed or blocked.
CREATE TABLE domains (
    -- A-label name.
    name TEXT NOT NULL,
    -- Number of events in its stream.
    version INTEGER NOT NULL,
    -- Position of its last event.
    position INTEGER NOT NULL,
    -- allowed, blocked or observed.
    standing TEXT NOT NULL,
    -- Whether the standing covers subdomains.
    include_subdomains BOOLEAN NOT NULL,
    -- Why.
    reason TEXT,
    -- Whether control of it was proved.
    proved BOOLEAN NOT NULL,
    -- When its authority token was issued, microseconds since 1970.
    authority_token_issued INTEGER,
    -- When it was first known, microseconds since 1970.
    created_at INTEGER NOT NULL,
    PRIMARY KEY (name)
) WITHOUT ROWID;
-- domains_standing_idx: lists by standing.
CREATE INDEX domains_standing_idx ON domains (standing, name);

-- Single addresses that may not register.
CREATE TABLE blocked_addresses (
    -- HMAC-SHA-256 of the canonical address under the index key, hexadecimal.
    address TEXT NOT NULL,
    -- Its domain.
    domain TEXT NOT NULL,
    -- Position of the rule.
    position INTEGER NOT NULL,
    -- Why.
    reason TEXT,
    PRIMARY KEY (address)
) WITHOUT ROWID;
-- blocked_addresses_domain_idx: the blocked addresses of a domain.
CREATE INDEX blocked_addresses_domain_idx ON blocked_addresses (domain);
