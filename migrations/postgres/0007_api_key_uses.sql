-- When API keys were last used: kept outside the log, to the minute.

CREATE TABLE api_key_uses (
    key_id TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    last_used_at BIGINT NOT NULL,
    PRIMARY KEY (key_id)
);
-- api_key_uses_user_idx: erasing an account takes the uses of its keys along.
CREATE INDEX api_key_uses_user_idx ON api_key_uses (user_id);
COMMENT ON TABLE api_key_uses IS 'When each API key was last used. Never in an event, never rebuilt.';
COMMENT ON COLUMN api_key_uses.key_id IS 'The key.';
COMMENT ON COLUMN api_key_uses.user_id IS 'Whose it is.';
COMMENT ON COLUMN api_key_uses.last_used_at IS 'The minute of its last use, microseconds since 1970.';
