-- Messages that are not delivered: what mail servers and SMS gateways do not take at once.

-- Messages that were put off or given up. Never part of the history: the message itself is made anew from the log.
CREATE TABLE undelivered (
    -- What carries it: mail or sms.
    channel TEXT NOT NULL,
    -- Position of the event it tells of.
    position INTEGER NOT NULL,
    -- Which of the messages of that event, from 0.
    number INTEGER NOT NULL,
    -- How often it was tried.
    attempts INTEGER NOT NULL,
    -- When it is tried again, microseconds since 1970. Null: it was given up.
    next_at INTEGER,
    -- What came back: a code and what it was said to, never an address or a server's own words.
    problem TEXT NOT NULL,
    -- When the row last changed, microseconds since 1970.
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (channel, position, number)
) WITHOUT ROWID;
-- undelivered_next_idx: what is due next is found without reading what was given up.
CREATE INDEX undelivered_next_idx ON undelivered (channel, next_at);
