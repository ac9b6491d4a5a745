-- What the follower `statistics` counts: its tables move with its checkpoint.

-- What happened on each day, in UTC.
CREATE TABLE statistics_periods (
    -- Such as 2026-11-21.
    day TEXT NOT NULL,
    -- registrations or sign_ins.
    kind TEXT NOT NULL,
    -- How many.
    number INTEGER NOT NULL,
    PRIMARY KEY (day, kind)
) WITHOUT ROWID;

-- How many accounts there are of each kind.
CREATE TABLE statistics_counts (
    -- status, country or domain.
    dimension TEXT NOT NULL,
    -- Which of them; empty: those that have none.
    value TEXT NOT NULL,
    -- How many accounts.
    number INTEGER NOT NULL,
    PRIMARY KEY (dimension, value)
) WITHOUT ROWID;
-- statistics_counts_number_idx: the domains with most accounts.
CREATE INDEX statistics_counts_number_idx ON statistics_counts (dimension, number);

-- As what each account is counted now, so that the next change can be told from it. Goes when the follower comes to the
-- erasure.
CREATE TABLE statistics_users (
    -- The account.
    user_id TEXT NOT NULL,
    -- pending, active, locked or deactivated.
    status TEXT NOT NULL,
    -- Whether it was in use before it was locked or deactivated.
    activated BOOLEAN NOT NULL,
    -- ISO 3166-1 alpha-2 code of its position.
    country TEXT,
    -- The A-label domain of its address.
    domain TEXT,
    PRIMARY KEY (user_id)
) WITHOUT ROWID;
