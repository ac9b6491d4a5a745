-- Immediate read models: derived from the log, rebuilt by `user-registry rebuild`.

-- Rows change often and their indexed columns seldom: with room on its page, a new version needs no new index entry.
CREATE TABLE users (
    id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    log_position BIGINT NOT NULL,
    created_position BIGINT NOT NULL,
    dialect TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    activated BOOLEAN NOT NULL,
    username TEXT COLLATE "C",
    username_canonical TEXT COLLATE "C",
    email TEXT COLLATE "C",
    email_canonical TEXT COLLATE "C",
    email_domain TEXT COLLATE "C",
    email_verified BOOLEAN NOT NULL,
    pending_email_canonical TEXT COLLATE "C",
    pending_email_expires BIGINT,
    phone TEXT COLLATE "C",
    phone_registered TEXT COLLATE "C",
    phone_verified BOOLEAN NOT NULL,
    devices TEXT COLLATE "C" NOT NULL,
    full_name TEXT COLLATE "C",
    roles TEXT COLLATE "C" NOT NULL,
    discoverable BOOLEAN NOT NULL,
    latitude DOUBLE PRECISION,
    longitude DOUBLE PRECISION,
    country TEXT COLLATE "C",
    geo_id TEXT COLLATE "C",
    boundary TEXT COLLATE "C",
    locale TEXT COLLATE "C",
    credential_version BIGINT NOT NULL,
    expires_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    last_login BIGINT,
    session_epoch BIGINT NOT NULL,
    kept_session TEXT COLLATE "C",
    PRIMARY KEY (id)
) WITH (fillfactor = 70);
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
COMMENT ON TABLE users IS 'One row per account; folded from the log in the transaction that appends to it.';
COMMENT ON COLUMN users.id IS 'The account.';
COMMENT ON COLUMN users.version IS 'Number of events in its stream.';
COMMENT ON COLUMN users.log_position IS 'Position of the last event of its stream.';
COMMENT ON COLUMN users.created_position IS 'Position of the first.';
COMMENT ON COLUMN users.dialect IS 'The API it was opened through.';
COMMENT ON COLUMN users.status IS 'pending, active, locked or deactivated.';
COMMENT ON COLUMN users.activated IS 'Whether it was in use before it was locked or deactivated.';
COMMENT ON COLUMN users.username IS 'As typed.';
COMMENT ON COLUMN users.username_canonical IS 'The form that is unique.';
COMMENT ON COLUMN users.email IS 'As typed, domain as A-label.';
COMMENT ON COLUMN users.email_canonical IS 'The form that is unique.';
COMMENT ON COLUMN users.email_domain IS 'The A-label domain of the address.';
COMMENT ON COLUMN users.email_verified IS 'Whether the address is verified.';
COMMENT ON COLUMN users.pending_email_canonical IS 'New address that waits for its confirmation.';
COMMENT ON COLUMN users.pending_email_expires IS 'When that reservation ends, microseconds since 1970.';
COMMENT ON COLUMN users.phone IS 'Canonical number.';
COMMENT ON COLUMN users.phone_registered IS 'The number as registered.';
COMMENT ON COLUMN users.phone_verified IS 'Whether the number is verified.';
COMMENT ON COLUMN users.devices IS 'JSON array of the keyed hashes of its device ids.';
COMMENT ON COLUMN users.full_name IS 'The name of the person.';
COMMENT ON COLUMN users.roles IS 'JSON array of its roles beyond user.';
COMMENT ON COLUMN users.discoverable IS 'Whether others may find it by its place.';
COMMENT ON COLUMN users.latitude IS 'Degrees, WGS 84.';
COMMENT ON COLUMN users.longitude IS 'Degrees, WGS 84.';
COMMENT ON COLUMN users.country IS 'ISO 3166-1 alpha-2 code of the position.';
COMMENT ON COLUMN users.geo_id IS 'The client''s own place identifier.';
COMMENT ON COLUMN users.boundary IS 'GeoJSON text.';
COMMENT ON COLUMN users.locale IS 'BCP 47 language tag.';
COMMENT ON COLUMN users.credential_version IS 'Number of its current credential; 0: none.';
COMMENT ON COLUMN users.expires_at IS 'When it expires if still unverified, microseconds since 1970.';
COMMENT ON COLUMN users.created_at IS 'When it was opened, microseconds since 1970.';
COMMENT ON COLUMN users.updated_at IS 'When its stream last grew, microseconds since 1970.';
COMMENT ON COLUMN users.last_login IS 'Its last sign-in, microseconds since 1970.';
COMMENT ON COLUMN users.session_epoch IS 'Sessions started at or before this position have ended.';
COMMENT ON COLUMN users.kept_session IS 'The one session that outlived that.';

CREATE TABLE sessions (
    id TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    started_position BIGINT NOT NULL,
    dialect TEXT COLLATE "C" NOT NULL,
    started_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    idle_expires_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    ip TEXT COLLATE "C",
    user_agent TEXT COLLATE "C",
    PRIMARY KEY (id)
);
-- sessions_user_idx: the sign-ins of an account.
CREATE INDEX sessions_user_idx ON sessions (user_id, started_at);
-- sessions_expires_idx: lapsed sessions are swept.
CREATE INDEX sessions_expires_idx ON sessions (expires_at);
COMMENT ON TABLE sessions IS 'One row per live sign-in.';
COMMENT ON COLUMN sessions.id IS 'The session.';
COMMENT ON COLUMN sessions.user_id IS 'Whose it is.';
COMMENT ON COLUMN sessions.version IS 'Number of events in its stream.';
COMMENT ON COLUMN sessions.started_position IS 'Position of its start; compared with session_epoch.';
COMMENT ON COLUMN sessions.dialect IS 'The API it was opened through.';
COMMENT ON COLUMN sessions.started_at IS 'When it started, microseconds since 1970.';
COMMENT ON COLUMN sessions.last_seen_at IS 'Its start or last refresh, microseconds since 1970.';
COMMENT ON COLUMN sessions.idle_expires_at IS 'When the current refresh token lapses unused, microseconds since 1970.';
COMMENT ON COLUMN sessions.expires_at IS 'When it ends at the latest, microseconds since 1970.';
COMMENT ON COLUMN sessions.generation IS 'Number of the current refresh token.';
COMMENT ON COLUMN sessions.ip IS 'Where it was started from, while kept.';
COMMENT ON COLUMN sessions.user_agent IS 'What it was started with, while kept.';

CREATE TABLE api_keys (
    id TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C",
    roles TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked BOOLEAN NOT NULL,
    PRIMARY KEY (id)
);
-- api_keys_user_idx: the keys of an account.
CREATE INDEX api_keys_user_idx ON api_keys (user_id, created_at);
COMMENT ON TABLE api_keys IS 'One row per API key.';
COMMENT ON COLUMN api_keys.id IS 'The key, named by the event that issued it.';
COMMENT ON COLUMN api_keys.user_id IS 'Whose it is.';
COMMENT ON COLUMN api_keys.name IS 'What its owner calls it.';
COMMENT ON COLUMN api_keys.roles IS 'JSON array of what it may do.';
COMMENT ON COLUMN api_keys.created_at IS 'When it was made, microseconds since 1970.';
COMMENT ON COLUMN api_keys.expires_at IS 'When it stops working, microseconds since 1970.';
COMMENT ON COLUMN api_keys.revoked IS 'Whether it was revoked.';

CREATE TABLE domains (
    name TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    position BIGINT NOT NULL,
    standing TEXT COLLATE "C" NOT NULL,
    include_subdomains BOOLEAN NOT NULL,
    reason TEXT COLLATE "C",
    proved BOOLEAN NOT NULL,
    authority_token_issued BIGINT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (name)
);
-- domains_standing_idx: lists by standing.
CREATE INDEX domains_standing_idx ON domains (standing, name);
COMMENT ON TABLE domains IS 'One row per domain that was seen, allowed or blocked.';
COMMENT ON COLUMN domains.name IS 'A-label name.';
COMMENT ON COLUMN domains.version IS 'Number of events in its stream.';
COMMENT ON COLUMN domains.position IS 'Position of its last event.';
COMMENT ON COLUMN domains.standing IS 'allowed, blocked or observed.';
COMMENT ON COLUMN domains.include_subdomains IS 'Whether the standing covers subdomains.';
COMMENT ON COLUMN domains.reason IS 'Why.';
COMMENT ON COLUMN domains.proved IS 'Whether control of it was proved.';
COMMENT ON COLUMN domains.authority_token_issued IS 'When its authority token was issued, microseconds since 1970.';
COMMENT ON COLUMN domains.created_at IS 'When it was first known, microseconds since 1970.';

CREATE TABLE blocked_addresses (
    address TEXT COLLATE "C" NOT NULL,
    domain TEXT COLLATE "C" NOT NULL,
    position BIGINT NOT NULL,
    reason TEXT COLLATE "C",
    PRIMARY KEY (address)
);
-- blocked_addresses_domain_idx: the blocked addresses of a domain.
CREATE INDEX blocked_addresses_domain_idx ON blocked_addresses (domain);
COMMENT ON TABLE blocked_addresses IS 'Single addresses that may not register.';
COMMENT ON COLUMN blocked_addresses.address IS 'HMAC-SHA-256 of the canonical address under the index key, hexadecimal.';
COMMENT ON COLUMN blocked_addresses.domain IS 'Its domain.';
COMMENT ON COLUMN blocked_addresses.position IS 'Position of the rule.';
COMMENT ON COLUMN blocked_addresses.reason IS 'Why.';
