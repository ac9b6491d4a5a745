-- Wrapped keys.

-- All keys but the master key, wrapped by it, so that replicas share them.
CREATE TABLE keys (
    -- fingerprint, index, link, signing, notary or a dialect.
    kind TEXT NOT NULL,
    -- Which key of its kind.
    kid TEXT NOT NULL,
    -- The key, sealed under the master key.
    wrapped BLOB NOT NULL,
    -- Which master key wraps it.
    kek_id TEXT NOT NULL,
    -- When it was made, microseconds since 1970.
    created_at INTEGER NOT NULL,
    -- Since when it only verifies, microseconds since 1970.
    retired_at INTEGER,
    PRIMARY KEY (kind, kid)
) WITHOUT ROWID;

-- The data keys that seal what is personal. Destroying one is what erasing means.
CREATE TABLE subject_keys (
    -- Whose: a user id or a domain name.
    subject TEXT NOT NULL,
    -- person, origin-YYYY-MM, or address- with the hash of a blocked address.
    scope TEXT NOT NULL,
    -- The data key, sealed under the master key; null once destroyed.
    wrapped BLOB,
    -- Which master key wraps it.
    kek_id TEXT NOT NULL,
    -- When it was made, microseconds since 1970.
    created_at INTEGER NOT NULL,
    -- When it was destroyed, microseconds since 1970.
    destroyed_at INTEGER,
    PRIMARY KEY (subject, scope)
) WITHOUT ROWID;
-- subject_keys_scope_idx: retention destroys a month of origins at once.
CREATE INDEX subject_keys_scope_idx ON subject_keys (scope);
