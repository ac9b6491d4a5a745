-- Names, credentials, secrets and what guards them: written with the events, never derived from them but for names.

CREATE TABLE names (
    kind TEXT COLLATE "C" NOT NULL,
    value BYTEA NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (kind, value)
);
-- names_user_idx: an account gives up all its names at once.
CREATE INDEX names_user_idx ON names (user_id);
COMMENT ON TABLE names IS 'Who holds which address, username, number or device. What is unique is unique here.';
COMMENT ON COLUMN names.kind IS 'email, username, phone or device.';
COMMENT ON COLUMN names.value IS 'HMAC-SHA-256 of the canonical form under the index key; 32 bytes.';
COMMENT ON COLUMN names.user_id IS 'The account that holds it.';

CREATE TABLE credentials (
    user_id TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    hash TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (user_id)
);
COMMENT ON TABLE credentials IS 'The current password hash of each account. Never in an event, never rebuilt.';
COMMENT ON COLUMN credentials.user_id IS 'The account.';
COMMENT ON COLUMN credentials.version IS 'Number of the credential; the event that set it carries the same.';
COMMENT ON COLUMN credentials.hash IS 'PHC string, or the form of the system it was imported from.';

CREATE TABLE secrets (
    kind TEXT COLLATE "C" NOT NULL,
    hash BYTEA NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C",
    generation BIGINT NOT NULL,
    expires_at BIGINT,
    PRIMARY KEY (kind, hash)
);
-- secrets_owner_idx: the end of a session or key takes its secrets along.
CREATE INDEX secrets_owner_idx ON secrets (owner);
-- secrets_user_idx: erasing an account takes its secrets along.
CREATE INDEX secrets_user_idx ON secrets (user_id);
-- secrets_expires_idx: lapsed secrets are swept.
CREATE INDEX secrets_expires_idx ON secrets (expires_at);
COMMENT ON TABLE secrets IS 'Hashes of tokens and keys. Never in an event, never rebuilt.';
COMMENT ON COLUMN secrets.kind IS 'refresh, api_key, opaque, device or authority.';
COMMENT ON COLUMN secrets.hash IS 'SHA-256 of the secret; 32 bytes.';
COMMENT ON COLUMN secrets.owner IS 'The session, key or domain it opens.';
COMMENT ON COLUMN secrets.user_id IS 'The account behind it, if there is one.';
COMMENT ON COLUMN secrets.generation IS 'Which refresh token of its session it is, from 0.';
COMMENT ON COLUMN secrets.expires_at IS 'When it stops working, microseconds since 1970; null: never.';

CREATE TABLE codes (
    purpose TEXT COLLATE "C" NOT NULL,
    value BYTEA NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    tries BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    sealed BYTEA,
    PRIMARY KEY (purpose, value)
);
-- codes_request_key: a guess names its request.
CREATE UNIQUE INDEX codes_request_key ON codes (request_id);
-- codes_user_idx: erasing an account takes its codes along.
CREATE INDEX codes_user_idx ON codes (user_id);
COMMENT ON TABLE codes IS 'One-time codes by SMS that are still live.';
COMMENT ON COLUMN codes.purpose IS 'verify-phone or reset-password.';
COMMENT ON COLUMN codes.value IS 'HMAC-SHA-256 of purpose and code under the link key; unique while live.';
COMMENT ON COLUMN codes.request_id IS 'Id of the event that asked for it.';
COMMENT ON COLUMN codes.user_id IS 'The account it belongs to.';
COMMENT ON COLUMN codes.tries IS 'Wrong guesses so far; counted before comparing.';
COMMENT ON COLUMN codes.expires_at IS 'When it stops working, microseconds since 1970.';
COMMENT ON COLUMN codes.sealed IS 'The code itself for the SMS follower, sealed; null once sent.';

CREATE TABLE attempts (
    guard BYTEA NOT NULL,
    window_start BIGINT NOT NULL,
    count BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (guard, window_start)
);
-- attempts_window_idx: old windows are swept.
CREATE INDEX attempts_window_idx ON attempts (window_start);
COMMENT ON TABLE attempts IS 'How often somebody tried. Counted in a short transaction of its own, before anything is compared.';
COMMENT ON COLUMN attempts.guard IS 'Keyed hash of what is guarded: an account, an address, a number.';
COMMENT ON COLUMN attempts.window_start IS 'Start of the window counted, microseconds since 1970.';
COMMENT ON COLUMN attempts.count IS 'Tries in this window.';
COMMENT ON COLUMN attempts.last_at IS 'The last of them, microseconds since 1970.';

CREATE TABLE idempotency (
    caller TEXT COLLATE "C" NOT NULL,
    key_hash BYTEA NOT NULL,
    request_hash BYTEA NOT NULL,
    receipt TEXT COLLATE "C" NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (caller, key_hash)
);
-- idempotency_expires_idx: forgotten keys are swept.
CREATE INDEX idempotency_expires_idx ON idempotency (expires_at);
COMMENT ON TABLE idempotency IS 'Answers already given to a command that carried an Idempotency-Key.';
COMMENT ON COLUMN idempotency.caller IS 'Who sent the key: a user id, an API key id, or anonymous.';
COMMENT ON COLUMN idempotency.key_hash IS 'SHA-256 of the key.';
COMMENT ON COLUMN idempotency.request_hash IS 'HMAC-SHA-256 of the request under the index key: tells a repeat from another request.';
COMMENT ON COLUMN idempotency.receipt IS 'The answer as JSON. Holds no secret.';
COMMENT ON COLUMN idempotency.expires_at IS 'When the key is forgotten, microseconds since 1970.';
