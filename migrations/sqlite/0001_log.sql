-- The log of events and its head.

-- The one row that every writer locks: where the log ends. `lane` leaves room for several logs in one store.
CREATE TABLE log_head (
    -- Always 0 today.
    lane INTEGER NOT NULL,
    -- Position of the last event; 0 while the log is empty.
    position INTEGER NOT NULL,
    -- Time of the last event, microseconds since 1970-01-01T00:00:00Z.
    recorded_at INTEGER NOT NULL,
    PRIMARY KEY (lane)
);

-- The log. The first seven columns are those of postgres-es and sqlite-es, so that any cqrs-es program can
-- read a stream.
CREATE TABLE events (
    -- Kind of the stream: user, session, domain or audit.
    aggregate_type TEXT NOT NULL,
    -- The stream: a UUID as text, or the A-label name of a domain.
    aggregate_id TEXT NOT NULL,
    -- Number of the event in its stream: 1, 2, 3 and so on.
    sequence INTEGER NOT NULL,
    -- What happened, such as user.registered. Never renamed.
    event_type TEXT NOT NULL,
    -- Version of the shape of the payload.
    event_version TEXT NOT NULL,
    -- The event as JSON text, byte for byte as hashed; personal fields are sealed in its member "sealed".
    payload TEXT NOT NULL,
    -- Who, when asked, through which dialect: a flat JSON object of strings, byte for byte as hashed.
    metadata TEXT NOT NULL,
    -- Number of the event in the log: 1, 2, 3 and so on in commit order, without a gap.
    position INTEGER NOT NULL,
    -- Id of the event, a UUIDv7 as text.
    event_id TEXT NOT NULL,
    -- Whom the event is about, whatever its stream: a user id or a domain name.
    subject TEXT NOT NULL,
    -- When it was recorded, microseconds since 1970-01-01T00:00:00Z; never goes back along the log.
    recorded_at INTEGER NOT NULL,
    -- RFC 6962 leaf hash over the other columns but the position; 32 bytes.
    leaf_hash BLOB NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence)
);
-- events_position_key: followers, the feed and rebuilds read by it.
CREATE UNIQUE INDEX events_position_key ON events (position);
-- events_event_id_key: links name their request by it; an append whose answer was lost is looked up by it.
CREATE UNIQUE INDEX events_event_id_key ON events (event_id);
-- events_subject_idx: everything about one person, for erasure, export and history.
CREATE INDEX events_subject_idx ON events (subject, position);

INSERT INTO log_head (lane, position, recorded_at) VALUES (0, 0, 0);

-- What has happened has happened: the log only grows.
CREATE TRIGGER events_no_update BEFORE UPDATE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are append-only: UPDATE refused');
END;
CREATE TRIGGER events_no_delete BEFORE DELETE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are append-only: DELETE refused');
END;
-- INSERT OR REPLACE would delete without asking the trigger above, whichever unique key it meets.
CREATE TRIGGER events_no_replace BEFORE INSERT ON events
    WHEN EXISTS (SELECT 1 FROM events WHERE position = NEW.position)
      OR EXISTS (SELECT 1 FROM events WHERE event_id = NEW.event_id)
      OR EXISTS (SELECT 1 FROM events
                 WHERE aggregate_type = NEW.aggregate_type AND aggregate_id = NEW.aggregate_id
                   AND sequence = NEW.sequence)
BEGIN
    SELECT RAISE(ABORT, 'events are append-only: REPLACE refused');
END;
