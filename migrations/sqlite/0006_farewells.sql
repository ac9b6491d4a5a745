-- Last messages.

-- Where to write that somebody was erased. A row goes when the message has gone out.
CREATE TABLE farewells (
    -- Who was erased.
    user_id TEXT NOT NULL,
    -- The address, sealed under a key that derives from the link key and the user id.
    sealed BLOB NOT NULL,
    -- When it is thrown away, sent or not, microseconds since 1970.
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (user_id)
) WITHOUT ROWID;
-- farewells_expires_idx: what could not be sent in time is swept.
CREATE INDEX farewells_expires_idx ON farewells (expires_at);
