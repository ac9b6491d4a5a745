-- What the follower `statistics` counts: its tables move with its checkpoint.

CREATE TABLE statistics_periods (
    day TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    PRIMARY KEY (day, kind)
);
COMMENT ON TABLE statistics_periods IS 'What happened on each day, in UTC.';
COMMENT ON COLUMN statistics_periods.day IS 'Such as 2026-11-21.';
COMMENT ON COLUMN statistics_periods.kind IS 'registrations or sign_ins.';
COMMENT ON COLUMN statistics_periods.number IS 'How many.';

CREATE TABLE statistics_counts (
    dimension TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    PRIMARY KEY (dimension, value)
);
-- statistics_counts_number_idx: the domains with most accounts.
CREATE INDEX statistics_counts_number_idx ON statistics_counts (dimension, number);
COMMENT ON TABLE statistics_counts IS 'How many accounts there are of each kind.';
COMMENT ON COLUMN statistics_counts.dimension IS 'status, country or domain.';
COMMENT ON COLUMN statistics_counts.value IS 'Which of them; empty: those that have none.';
COMMENT ON COLUMN statistics_counts.number IS 'How many accounts.';

CREATE TABLE statistics_users (
    user_id TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    activated BOOLEAN NOT NULL,
    country TEXT COLLATE "C",
    domain TEXT COLLATE "C",
    PRIMARY KEY (user_id)
);
COMMENT ON TABLE statistics_users IS 'As what each account is counted now, so that the next change can be told from it. Goes when the follower comes to the erasure.';
COMMENT ON COLUMN statistics_users.user_id IS 'The account.';
COMMENT ON COLUMN statistics_users.status IS 'pending, active, locked or deactivated.';
COMMENT ON COLUMN statistics_users.activated IS 'Whether it was in use before it was locked or deactivated.';
COMMENT ON COLUMN statistics_users.country IS 'ISO 3166-1 alpha-2 code of its position.';
COMMENT ON COLUMN statistics_users.domain IS 'The A-label domain of its address.';
