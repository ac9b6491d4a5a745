-- What is counted before it is done, by all replicas together: tries at a password, messages to somebody.
-- Takes the place of attempts, which earlier versions still write while they run beside this one.

-- Shares that are taken before something is done. Beside the log: written in short transactions of their own, and lost
-- without harm.
CREATE TABLE claims (
    -- Keyed hash of what has the share: an account, an address, a number.
    guard BLOB NOT NULL,
    -- Counts the changes: of two who change a row at once, one must look again.
    turn INTEGER NOT NULL,
    -- How much of it is taken and since when, as JSON. Times and counts only.
    state TEXT NOT NULL,
    -- From when on it is as if there were no row, microseconds since 1970.
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (guard)
) WITHOUT ROWID;
-- claims_expires_idx: what holds nobody back any more is swept.
CREATE INDEX claims_expires_idx ON claims (expires_at);
