-- Messages that are not delivered: what mail servers and SMS gateways do not take at once.

CREATE TABLE undelivered (
    channel TEXT COLLATE "C" NOT NULL,
    position BIGINT NOT NULL,
    number BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    next_at BIGINT,
    problem TEXT COLLATE "C" NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (channel, position, number)
);
-- undelivered_next_idx: what is due next is found without reading what was given up.
CREATE INDEX undelivered_next_idx ON undelivered (channel, next_at);
COMMENT ON TABLE undelivered IS 'Messages that were put off or given up. Never part of the history: the message itself is made anew from the log.';
COMMENT ON COLUMN undelivered.channel IS 'What carries it: mail or sms.';
COMMENT ON COLUMN undelivered.position IS 'Position of the event it tells of.';
COMMENT ON COLUMN undelivered.number IS 'Which of the messages of that event, from 0.';
COMMENT ON COLUMN undelivered.attempts IS 'How often it was tried.';
COMMENT ON COLUMN undelivered.next_at IS 'When it is tried again, microseconds since 1970. Null: it was given up.';
COMMENT ON COLUMN undelivered.problem IS 'What came back: a code and what it was said to, never an address or a server''s own words.';
COMMENT ON COLUMN undelivered.updated_at IS 'When the row last changed, microseconds since 1970.';
