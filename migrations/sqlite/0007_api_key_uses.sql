-- When API keys were last used: kept outside the log, to the minute.

-- When each API key was last used. Never in an event, never rebuilt.
CREATE TABLE api_key_uses (
    -- The key.
    key_id TEXT NOT NULL,
    -- Whose it is.
    user_id TEXT NOT NULL,
    -- The minute of its last use, microseconds since 1970.
    last_used_at INTEGER NOT NULL,
    PRIMARY KEY (key_id)
) WITHOUT ROWID;
-- api_key_uses_user_idx: erasing an account takes the uses of its keys along.
CREATE INDEX api_key_uses_user_idx ON api_key_uses (user_id);
