-- What lies outside the database: what followers wait for there, and how much of the log the copies of its heads cover.

-- Whether what stopped the follower lies outside, so that the same event will do later. Means nothing without an error.
ALTER TABLE checkpoints ADD COLUMN outside INTEGER NOT NULL DEFAULT 0;

-- How much of the log is covered by heads whose copies stand outside the database. One row, once there is a copy.
CREATE TABLE tree_copies (
    -- Always 1.
    lane INTEGER NOT NULL,
    -- How many events are covered by the last head that is in every folder.
    size INTEGER NOT NULL,
    -- When that was noted, microseconds since 1970.
    copied_at INTEGER NOT NULL,
    PRIMARY KEY (lane)
) WITHOUT ROWID;
