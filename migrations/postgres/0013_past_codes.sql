-- Codes that went out by SMS, remembered a day longer than they work: who types one too late is told so, where the
-- contract of an API asks for it.

CREATE TABLE past_codes (
    purpose TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    value BYTEA NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (purpose, user_id, value)
);
-- past_codes_request_idx: a code that was used is forgotten at once.
CREATE INDEX past_codes_request_idx ON past_codes (request_id);
-- past_codes_user_idx: erasing an account takes its codes along.
CREATE INDEX past_codes_user_idx ON past_codes (user_id);
-- past_codes_expires_idx: forgotten codes are swept.
CREATE INDEX past_codes_expires_idx ON past_codes (expires_at);
-- codes_expires_idx: how many codes are live is counted before one is looked for without its number.
CREATE INDEX codes_expires_idx ON codes (purpose, expires_at);
COMMENT ON TABLE past_codes IS 'One-time codes by SMS that went out lately and were not used. They open nothing.';
COMMENT ON COLUMN past_codes.purpose IS 'verify-phone or reset-password.';
COMMENT ON COLUMN past_codes.user_id IS 'The account it belongs to.';
COMMENT ON COLUMN past_codes.value IS 'HMAC-SHA-256 of purpose and code under the link key.';
COMMENT ON COLUMN past_codes.request_id IS 'Id of the event that asked for it.';
COMMENT ON COLUMN past_codes.expires_at IS 'When it is forgotten, microseconds since 1970.';
