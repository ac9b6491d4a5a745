-- Events that operators let a follower pass over.

CREATE TABLE follower_skips (
    follower TEXT COLLATE "C" NOT NULL,
    position BIGINT NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    error TEXT COLLATE "C" NOT NULL,
    skipped_at BIGINT NOT NULL,
    PRIMARY KEY (follower, position)
);
COMMENT ON TABLE follower_skips IS 'Events that a follower could not handle and that somebody let it pass over. Kept for ever.';
COMMENT ON COLUMN follower_skips.follower IS 'The follower.';
COMMENT ON COLUMN follower_skips.position IS 'Position of the event.';
COMMENT ON COLUMN follower_skips.reason IS 'Why, in the words of whoever did it.';
COMMENT ON COLUMN follower_skips.error IS 'Why the follower had stopped there.';
COMMENT ON COLUMN follower_skips.skipped_at IS 'When, microseconds since 1970.';
