-- The log of events and its head.

CREATE TABLE log_head (
    lane SMALLINT NOT NULL,
    position BIGINT NOT NULL,
    recorded_at BIGINT NOT NULL,
    PRIMARY KEY (lane)
);
COMMENT ON TABLE log_head IS 'The one row that every writer locks: where the log ends. `lane` leaves room for several logs in one store.';
COMMENT ON COLUMN log_head.lane IS 'Always 0 today.';
COMMENT ON COLUMN log_head.position IS 'Position of the last event; 0 while the log is empty.';
COMMENT ON COLUMN log_head.recorded_at IS 'Time of the last event, microseconds since 1970-01-01T00:00:00Z.';

CREATE TABLE events (
    aggregate_type TEXT COLLATE "C" NOT NULL,
    aggregate_id TEXT COLLATE "C" NOT NULL,
    sequence BIGINT NOT NULL,
    event_type TEXT COLLATE "C" NOT NULL,
    event_version TEXT COLLATE "C" NOT NULL,
    payload JSON NOT NULL,
    metadata JSON NOT NULL,
    position BIGINT NOT NULL,
    event_id TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    recorded_at BIGINT NOT NULL,
    leaf_hash BYTEA NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence)
);
-- events_position_key: followers, the feed and rebuilds read by it.
CREATE UNIQUE INDEX events_position_key ON events (position);
-- events_event_id_key: links name their request by it; an append whose answer was lost is looked up by it.
CREATE UNIQUE INDEX events_event_id_key ON events (event_id);
-- events_subject_idx: everything about one person, for erasure, export and history.
CREATE INDEX events_subject_idx ON events (subject, position);
COMMENT ON TABLE events IS 'The log. The first seven columns are those of postgres-es and sqlite-es, so that any cqrs-es program can read a stream.';
COMMENT ON COLUMN events.aggregate_type IS 'Kind of the stream: user, session, domain or audit.';
COMMENT ON COLUMN events.aggregate_id IS 'The stream: a UUID as text, or the A-label name of a domain.';
COMMENT ON COLUMN events.sequence IS 'Number of the event in its stream: 1, 2, 3 and so on.';
COMMENT ON COLUMN events.event_type IS 'What happened, such as user.registered. Never renamed.';
COMMENT ON COLUMN events.event_version IS 'Version of the shape of the payload.';
COMMENT ON COLUMN events.payload IS 'The event as JSON text, byte for byte as hashed; personal fields are sealed in its member "sealed".';
COMMENT ON COLUMN events.metadata IS 'Who, when asked, through which dialect: a flat JSON object of strings, byte for byte as hashed.';
COMMENT ON COLUMN events.position IS 'Number of the event in the log: 1, 2, 3 and so on in commit order, without a gap.';
COMMENT ON COLUMN events.event_id IS 'Id of the event, a UUIDv7 as text.';
COMMENT ON COLUMN events.subject IS 'Whom the event is about, whatever its stream: a user id or a domain name.';
COMMENT ON COLUMN events.recorded_at IS 'When it was recorded, microseconds since 1970-01-01T00:00:00Z; never goes back along the log.';
COMMENT ON COLUMN events.leaf_hash IS 'RFC 6962 leaf hash over the other columns but the position; 32 bytes.';

INSERT INTO log_head (lane, position, recorded_at) VALUES (0, 0, 0);

-- What has happened has happened: the log only grows.
CREATE FUNCTION events_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events are append-only: % refused', TG_OP USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER events_no_change BEFORE UPDATE OR DELETE ON events
    FOR EACH ROW EXECUTE FUNCTION events_are_append_only();
CREATE TRIGGER events_no_truncate BEFORE TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION events_are_append_only();
