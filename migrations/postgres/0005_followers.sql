-- Checkpoints of everything that follows the log.

CREATE TABLE checkpoints (
    follower TEXT COLLATE "C" NOT NULL,
    position BIGINT NOT NULL,
    owner TEXT COLLATE "C",
    lease_until BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    error TEXT COLLATE "C",
    error_position BIGINT,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (follower)
);
COMMENT ON TABLE checkpoints IS 'How far each follower of the log has come, and who runs it.';
COMMENT ON COLUMN checkpoints.follower IS 'Its name; never changed.';
COMMENT ON COLUMN checkpoints.position IS 'Position of the last event it is done with.';
COMMENT ON COLUMN checkpoints.owner IS 'The process that runs it.';
COMMENT ON COLUMN checkpoints.lease_until IS 'Until when that process may, microseconds since 1970.';
COMMENT ON COLUMN checkpoints.epoch IS 'Counts changes of owner: a former owner can no longer move the position.';
COMMENT ON COLUMN checkpoints.error IS 'Why it stopped, if it did.';
COMMENT ON COLUMN checkpoints.error_position IS 'Position of the event it stopped at.';
COMMENT ON COLUMN checkpoints.updated_at IS 'When the row last changed, microseconds since 1970.';
