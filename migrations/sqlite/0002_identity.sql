-- Names, credentials, secrets and what guards them: written with the events, never derived from them but for names.

-- Who holds which address, username, number or device. What is unique is unique here.
CREATE TABLE names (
    -- email, username, phone or device.
    kind TEXT NOT NULL,
    -- HMAC-SHA-256 of the canonical form under the index key; 32 bytes.
    value BLOB NOT NULL,
    -- The account that holds it.
    user_id TEXT NOT NULL,
    PRIMARY KEY (kind, value)
) WITHOUT ROWID;
-- names_user_idx: an account gives up all its names at once.
CREATE INDEX names_user_idx ON names (user_id);

-- The current password hash of each account. Never in an event, never rebuilt.
CREATE TABLE credentials (
    -- The account.
    user_id TEXT NOT NULL,
    -- Number of the credential; the event that set it carries the same.
    version INTEGER NOT NULL,
    -- PHC string, or the form of the system it was imported from.
    hash TEXT NOT NULL,
    PRIMARY KEY (user_id)
) WITHOUT ROWID;

-- Hashes of tokens and keys. Never in an event, never rebuilt.
CREATE TABLE secrets (
    -- refresh, api_key, opaque, device or authority.
    kind TEXT NOT NULL,
    -- SHA-256 of the secret; 32 bytes.
    hash BLOB NOT NULL,
    -- The session, key or domain it opens.
    owner TEXT NOT NULL,
    -- The account behind it, if there is one.
    user_id TEXT,
    -- Which refresh token of its session it is, from 0.
    generation INTEGER NOT NULL,
    -- When it stops working, microseconds since 1970; null: never.
    expires_at INTEGER,
    PRIMARY KEY (kind, hash)
) WITHOUT ROWID;
-- secrets_owner_idx: the end of a session or key takes its secrets along.
CREATE INDEX secrets_owner_idx ON secrets (owner);
-- secrets_user_idx: erasing an account takes its secrets along.
CREATE INDEX secrets_user_idx ON secrets (user_id);
-- secrets_expires_idx: lapsed secrets are swept.
CREATE INDEX secrets_expires_idx ON secrets (expires_at);

-- One-time codes by SMS that are still live.
CREATE TABLE codes (
    -- verify-phone or reset-password.
    purpose TEXT NOT NULL,
    -- HMAC-SHA-256 of purpose and code under the link key; unique while live.
    value BLOB NOT NULL,
    -- Id of the event that asked for it.
    request_id TEXT NOT NULL,
    -- The account it belongs to.
    user_id TEXT NOT NULL,
    -- Wrong guesses so far; counted before comparing.
    tries INTEGER NOT NULL,
    -- When it stops working, microseconds since 1970.
    expires_at INTEGER NOT NULL,
    -- The code itself for the SMS follower, sealed; null once sent.
    sealed BLOB,
    PRIMARY KEY (purpose, value)
) WITHOUT ROWID;
-- codes_request_key: a guess names its request.
CREATE UNIQUE INDEX codes_request_key ON codes (request_id);
-- codes_user_idx: erasing an account takes its codes along.
CREATE INDEX codes_user_idx ON codes (user_id);

-- How often somebody tried. Counted in a short transaction of its own, before anything is compared.
CREATE TABLE attempts (
    -- Keyed hash of what is guarded: an account, an address, a number.
    guard BLOB NOT NULL,
    -- Start of the window counted, microseconds since 1970.
    window_start INTEGER NOT NULL,
    -- Tries in this window.
    count INTEGER NOT NULL,
    -- The last of them, microseconds since 1970.
    last_at INTEGER NOT NULL,
    PRIMARY KEY (guard, window_start)
) WITHOUT ROWID;
-- attempts_window_idx: old windows are swept.
CREATE INDEX attempts_window_idx ON attempts (window_start);

-- Answers already given to a command that carried an Idempotency-Key.
CREATE TABLE idempotency (
    -- Who sent the key: a user id, an API key id, or anonymous.
    caller TEXT NOT NULL,
    -- SHA-256 of the key.
    key_hash BLOB NOT NULL,
    -- HMAC-SHA-256 of the request under the index key: tells a repeat from another request.
    request_hash BLOB NOT NULL,
    -- The answer as JSON. Holds no secret.
    receipt TEXT NOT NULL,
    -- When the key is forgotten, microseconds since 1970.
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (caller, key_hash)
) WITHOUT ROWID;
-- idempotency_expires_idx: forgotten keys are swept.
CREATE INDEX idempotency_expires_idx ON idempotency (expires_at);
