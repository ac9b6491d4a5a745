-- Wrapped keys.

CREATE TABLE keys (
    kind TEXT COLLATE "C" NOT NULL,
    kid TEXT COLLATE "C" NOT NULL,
    wrapped BYTEA NOT NULL,
    kek_id TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    retired_at BIGINT,
    PRIMARY KEY (kind, kid)
);
COMMENT ON TABLE keys IS 'All keys but the master key, wrapped by it, so that replicas share them.';
COMMENT ON COLUMN keys.kind IS 'fingerprint, index, link, signing, notary or a dialect.';
COMMENT ON COLUMN keys.kid IS 'Which key of its kind.';
COMMENT ON COLUMN keys.wrapped IS 'The key, sealed under the master key.';
COMMENT ON COLUMN keys.kek_id IS 'Which master key wraps it.';
COMMENT ON COLUMN keys.created_at IS 'When it was made, microseconds since 1970.';
COMMENT ON COLUMN keys.retired_at IS 'Since when it only verifies, microseconds since 1970.';

CREATE TABLE subject_keys (
    subject TEXT COLLATE "C" NOT NULL,
    scope TEXT COLLATE "C" NOT NULL,
    wrapped BYTEA,
    kek_id TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    destroyed_at BIGINT,
    PRIMARY KEY (subject, scope)
);
-- subject_keys_scope_idx: retention destroys a month of origins at once.
CREATE INDEX subject_keys_scope_idx ON subject_keys (scope);
COMMENT ON TABLE subject_keys IS 'The data keys that seal what is personal. Destroying one is what erasing means.';
COMMENT ON COLUMN subject_keys.subject IS 'Whose: a user id or a domain name.';
COMMENT ON COLUMN subject_keys.scope IS 'person, origin-YYYY-MM, or address- with the hash of a blocked address.';
COMMENT ON COLUMN subject_keys.wrapped IS 'The data key, sealed under the master key; null once destroyed.';
COMMENT ON COLUMN subject_keys.kek_id IS 'Which master key wraps it.';
COMMENT ON COLUMN subject_keys.created_at IS 'When it was made, microseconds since 1970.';
COMMENT ON COLUMN subject_keys.destroyed_at IS 'When it was destroyed, microseconds since 1970.';
