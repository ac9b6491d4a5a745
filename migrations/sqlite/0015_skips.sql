-- Events that operators let a follower pass over.

-- Events that a follower could not handle and that somebody let it pass over. Kept for ever.
CREATE TABLE follower_skips (
    -- The follower.
    follower TEXT NOT NULL,
    -- Position of the event.
    position INTEGER NOT NULL,
    -- Why, in the words of whoever did it.
    reason TEXT NOT NULL,
    -- Why the follower had stopped there.
    error TEXT NOT NULL,
    -- When, microseconds since 1970.
    skipped_at INTEGER NOT NULL,
    PRIMARY KEY (follower, position)
) WITHOUT ROWID;
