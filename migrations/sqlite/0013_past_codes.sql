-- Codes that went out by SMS, remembered a day longer than they work: who types one too late is told so, where the
-- contract of an API asks for it.

-- One-time codes by SMS that went out lately and were not used. They open nothing.
CREATE TABLE past_codes (
    -- verify-phone or reset-password.
    purpose TEXT NOT NULL,
    -- The account it belongs to.
    user_id TEXT NOT NULL,
    -- HMAC-SHA-256 of purpose and code under the link key.
    value BLOB NOT NULL,
    -- Id of the event that asked for it.
    request_id TEXT NOT NULL,
    -- When it is forgotten, microseconds since 1970.
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (purpose, user_id, value)
) WITHOUT ROWID;
-- past_codes_request_idx: a code that was used is forgotten at once.
CREATE INDEX past_codes_request_idx ON past_codes (request_id);
-- past_codes_user_idx: erasing an account takes its codes along.
CREATE INDEX past_codes_user_idx ON past_codes (user_id);
-- past_codes_expires_idx: forgotten codes are swept.
CREATE INDEX past_codes_expires_idx ON past_codes (expires_at);
-- codes_expires_idx: how many codes are live is counted before one is looked for without its number.
CREATE INDEX codes_expires_idx ON codes (purpose, expires_at);
