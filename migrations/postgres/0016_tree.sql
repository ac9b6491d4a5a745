-- The notary's Merkle tree over the log, and the heads it has signed.

CREATE TABLE tree_nodes (
    last_position BIGINT NOT NULL,
    level BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    PRIMARY KEY (last_position, level)
);
COMMENT ON TABLE tree_nodes IS 'The complete nodes above the leaves; a leaf is events.leaf_hash. What is complete never changes.';
COMMENT ON COLUMN tree_nodes.last_position IS 'Position of the last event below the node.';
COMMENT ON COLUMN tree_nodes.level IS 'How high it is: a node of level n has 2 to the power of n events below it.';
COMMENT ON COLUMN tree_nodes.hash IS 'RFC 6962 hash of its two children; 32 bytes.';

CREATE TABLE tree_heads (
    size BIGINT NOT NULL,
    root BYTEA NOT NULL,
    note TEXT COLLATE "C" NOT NULL,
    signed_at BIGINT NOT NULL,
    PRIMARY KEY (size)
);
COMMENT ON TABLE tree_heads IS 'Signed heads of the log.';
COMMENT ON COLUMN tree_heads.size IS 'How many events it covers: the position of the last.';
COMMENT ON COLUMN tree_heads.root IS 'The root over them; 32 bytes.';
COMMENT ON COLUMN tree_heads.note IS 'The head as a signed note (C2SP checkpoint), byte for byte.';
COMMENT ON COLUMN tree_heads.signed_at IS 'When it was signed, microseconds since 1970.';

-- The tree only grows.
CREATE FUNCTION the_tree_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the tree is append-only: % refused', TG_OP USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER tree_nodes_no_change BEFORE UPDATE OR DELETE ON tree_nodes
    FOR EACH ROW EXECUTE FUNCTION the_tree_is_append_only();
CREATE TRIGGER tree_heads_no_change BEFORE UPDATE OR DELETE ON tree_heads
    FOR EACH ROW EXECUTE FUNCTION the_tree_is_append_only();
