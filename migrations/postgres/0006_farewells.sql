-- Last messages.

CREATE TABLE farewells (
    user_id TEXT COLLATE "C" NOT NULL,
    sealed BYTEA NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (user_id)
);
-- farewells_expires_idx: what could not be sent in time is swept.
CREATE INDEX farewells_expires_idx ON farewells (expires_at);
COMMENT ON TABLE farewells IS 'Where to write that somebody was erased. A row goes when the message has gone out.';
COMMENT ON COLUMN farewells.user_id IS 'Who was erased.';
COMMENT ON COLUMN farewells.sealed IS 'The address, sealed under a key that derives from the link key and the user id.';
COMMENT ON COLUMN farewells.expires_at IS 'When it is thrown away, sent or not, microseconds since 1970.';
