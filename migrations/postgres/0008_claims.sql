-- What is counted before it is done, by all replicas together: tries at a password, messages to somebody.
-- Takes the place of attempts, which earlier versions still write while they run beside this one.

CREATE TABLE claims (
    guard BYTEA NOT NULL,
    turn BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (guard)
);
-- claims_expires_idx: what holds nobody back any more is swept.
CREATE INDEX claims_expires_idx ON claims (expires_at);
COMMENT ON TABLE claims IS 'Shares that are taken before something is done. Beside the log: written in short transactions of their own, and lost without harm.';
COMMENT ON COLUMN claims.guard IS 'Keyed hash of what has the share: an account, an address, a number.';
COMMENT ON COLUMN claims.turn IS 'Counts the changes: of two who change a row at once, one must look again.';
COMMENT ON COLUMN claims.state IS 'How much of it is taken and since when, as JSON. Times and counts only.';
COMMENT ON COLUMN claims.expires_at IS 'From when on it is as if there were no row, microseconds since 1970.';
