-- What lies outside the database: what followers wait for there, and how much of the log the copies of its heads cover.

ALTER TABLE checkpoints ADD COLUMN outside BOOLEAN NOT NULL DEFAULT FALSE;
COMMENT ON COLUMN checkpoints.outside IS
    'Whether what stopped the follower lies outside, so that the same event will do later. Means nothing without an error.';

CREATE TABLE tree_copies (
    lane BIGINT NOT NULL,
    size BIGINT NOT NULL,
    copied_at BIGINT NOT NULL,
    PRIMARY KEY (lane)
);
COMMENT ON TABLE tree_copies IS
    'How much of the log is covered by heads whose copies stand outside the database. One row, once there is a copy.';
COMMENT ON COLUMN tree_copies.lane IS 'Always 1.';
COMMENT ON COLUMN tree_copies.size IS 'How many events are covered by the last head that is in every folder.';
COMMENT ON COLUMN tree_copies.copied_at IS 'When that was noted, microseconds since 1970.';
