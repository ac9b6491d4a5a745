-- Checkpoints of everything that follows the log.

-- How far each follower of the log has come, and who runs it.
CREATE TABLE checkpoints (
    -- Its name; never changed.
    follower TEXT NOT NULL,
    -- Position of the last event it is done with.
    position INTEGER NOT NULL,
    -- The process that runs it.
    owner TEXT,
    -- Until when that process may, microseconds since 1970.
    lease_until INTEGER NOT NULL,
    -- Counts changes of owner: a former owner can no longer move the position.
    epoch INTEGER NOT NULL,
    -- Why it stopped, if it did.
    error TEXT,
    -- Position of the event it stopped at.
    error_position INTEGER,
    -- When the row last changed, microseconds since 1970.
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (follower)
) WITHOUT ROWID;
