-- The notary's Merkle tree over the log, and the heads it has signed.

-- The complete nodes above the leaves; a leaf is events.leaf_hash. What is complete never changes.
CREATE TABLE tree_nodes (
    -- Position of the last event below the node.
    last_position INTEGER NOT NULL,
    -- How high it is: a node of level n has 2 to the power of n events below it.
    level INTEGER NOT NULL,
    -- RFC 6962 hash of its two children; 32 bytes.
    hash BLOB NOT NULL,
    PRIMARY KEY (last_position, level)
) WITHOUT ROWID;

-- Signed heads of the log.
CREATE TABLE tree_heads (
    -- How many events it covers: the position of the last.
    size INTEGER NOT NULL,
    -- The root over them; 32 bytes.
    root BLOB NOT NULL,
    -- The head as a signed note (C2SP checkpoint), byte for byte.
    note TEXT NOT NULL,
    -- When it was signed, microseconds since 1970.
    signed_at INTEGER NOT NULL,
    PRIMARY KEY (size)
) WITHOUT ROWID;

-- The tree only grows.
CREATE TRIGGER tree_nodes_no_update BEFORE UPDATE ON tree_nodes
BEGIN
    SELECT RAISE(ABORT, 'the tree is append-only: UPDATE refused');
END;
CREATE TRIGGER tree_nodes_no_delete BEFORE DELETE ON tree_nodes
BEGIN
    SELECT RAISE(ABORT, 'the tree is append-only: DELETE refused');
END;
CREATE TRIGGER tree_heads_no_update BEFORE UPDATE ON tree_heads
BEGIN
    SELECT RAISE(ABORT, 'the tree is append-only: UPDATE refused');
END;
CREATE TRIGGER tree_heads_no_delete BEFORE DELETE ON tree_heads
BEGIN
    SELECT RAISE(ABORT, 'the tree is append-only: DELETE refused');
END;
