//! The Merkle tree of RFC 6962: hashes, growing it leaf by leaf, and the two kinds of proof.
//!
//! Nothing here reads a store. A node is named by its level (0 for leaves) and its number on that level; it is complete
//! when every leaf below it is there, and then it never changes. A proof is first a list of such nodes, or of joins of
//! them, so that whoever keeps the nodes can fetch them in one go.

use ring::digest::{Context, SHA256, digest};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// What is hashed before two children (RFC 6962, section 2.1).
const NODE: u8 = 1;

fn of(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// The root of no leaves.
#[must_use]
pub fn empty_root() -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, b"").as_ref());
    hash
}

/// The hash of a leaf's bytes.
#[must_use]
pub fn leaf(bytes: &[u8]) -> Hash {
    of(&[&[0], bytes])
}

/// The hash of two children.
#[must_use]
pub fn join(left: &Hash, right: &Hash) -> Hash {
    of(&[&[NODE], left, right])
}

/// A complete node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    /// 0 for leaves.
    pub level: u32,
    /// Number on its level, from 0.
    pub number: u64,
}

impl Node {
    /// How many leaves there are up to the last one below it: also that leaf's position in the log.
    #[must_use]
    pub const fn last(self) -> u64 {
        (self.number + 1) << self.level
    }
}

/// The complete subtrees a tree of some size consists of, the largest first: all that is needed to grow it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    parts: Vec<Hash>,
}

impl Frontier {
    /// The nodes of the frontier of a tree of this size, the largest first.
    #[must_use]
    pub fn nodes(size: u64) -> Vec<Node> {
        cover(0, size)
    }

    /// The frontier of a tree of this size out of the hashes of [`Frontier::nodes`]. None: it is not as many.
    #[must_use]
    pub fn new(size: u64, parts: Vec<Hash>) -> Option<Self> {
        (parts.len() == size.count_ones() as usize).then_some(Self { size, parts })
    }

    /// How many leaves there are.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf. Gives the nodes above the leaves that are complete with it, the lowest first.
    pub fn push(&mut self, leaf: Hash) -> Vec<(Node, Hash)> {
        let (mut hash, mut done) = (leaf, Vec::new());
        // A tree of odd size ends with a single leaf, one that is odd after halving with a pair, and so on.
        for level in 1..=self.size.trailing_ones() {
            let Some(left) = self.parts.pop() else { break };
            hash = join(&left, &hash);
            done.push((
                Node {
                    level,
                    number: self.size >> level,
                },
                hash,
            ));
        }
        self.parts.push(hash);
        self.size += 1;
        done
    }

    /// The root hash of the tree as it is.
    #[must_use]
    pub fn root(&self) -> Hash {
        fold(&self.parts)
    }
}

/// The root over neighbouring complete subtrees, the largest first.
fn fold(parts: &[Hash]) -> Hash {
    let mut parts = parts.iter().rev();
    let Some(last) = parts.next() else {
        return empty_root();
    };
    parts.fold(*last, |right, left| join(left, &right))
}

/// The complete nodes that cover the leaves from `start` up to before `end`, where `start` is a multiple of the smallest
/// power of two that is at least as large as the range.
fn cover(start: u64, end: u64) -> Vec<Node> {
    let (mut nodes, mut at) = (Vec::new(), start);
    while at < end {
        let level = (end - at).ilog2();
        nodes.push(Node {
            level,
            number: at >> level,
        });
        at += 1 << level;
    }
    nodes
}

/// A proof before its hashes were fetched: each hash of it is the root over some complete nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(Vec<Vec<Node>>);

impl Path {
    /// The inclusion proof of the leaf `index` (from 0) in the tree of this size (RFC 6962, section 2.1.1).
    #[must_use]
    pub fn inclusion(index: u64, size: u64) -> Option<Self> {
        if index >= size {
            return None;
        }
        let (mut start, mut end, mut steps) = (0, size, Vec::new());
        while end - start > 1 {
            let middle = start + split(end - start);
            if index < middle {
                steps.push(cover(middle, end));
                end = middle;
            } else {
                steps.push(cover(start, middle));
                start = middle;
            }
        }
        steps.reverse();
        Some(Self(steps))
    }

    /// The proof that the tree of size `from` is the beginning of the tree of size `to` (RFC 6962, section 2.1.2).
    #[must_use]
    pub fn consistency(from: u64, to: u64) -> Option<Self> {
        if from > to {
            return None;
        }
        if from == 0 || from == to {
            return Some(Self(Vec::new()));
        }
        let (mut start, mut end, mut steps, mut whole) = (0, to, Vec::new(), true);
        while from != end {
            let middle = start + split(end - start);
            if from <= middle {
                steps.push(cover(middle, end));
                end = middle;
            } else {
                steps.push(cover(start, middle));
                start = middle;
                whole = false;
            }
        }
        // The old tree is a node of the new one: its hash is known to whoever asks.
        if !whole {
            steps.push(cover(start, end));
        }
        steps.reverse();
        Some(Self(steps))
    }

    /// The nodes to fetch.
    pub fn nodes(&self) -> impl Iterator<Item = Node> {
        self.0.iter().flatten().copied()
    }

    /// The proof, out of the nodes' hashes. None: one is not there.
    pub fn hashes(&self, of: impl Fn(Node) -> Option<Hash>) -> Option<Vec<Hash>> {
        self.0
            .iter()
            .map(|nodes| {
                let parts: Option<Vec<Hash>> = nodes.iter().map(|node| of(*node)).collect();
                parts.map(|parts| fold(&parts))
            })
            .collect()
    }
}

/// The largest power of two that is smaller than `size`, which is at least 2.
const fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// The root that an inclusion proof leads to from a leaf's hash. None: no proof of this leaf in a tree of this size has
/// that many hashes.
#[must_use]
pub fn root_of_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    // RFC 9162, section 2.1.3.2, written from the leaf up.
    let (mut at, mut last, mut root) = (index, size - 1, *leaf);
    for hash in proof {
        if last == 0 {
            return None;
        }
        if at % 2 == 1 || at == last {
            root = join(hash, &root);
            while at % 2 == 0 && at != 0 {
                at /= 2;
                last /= 2;
            }
        } else {
            root = join(&root, hash);
        }
        at /= 2;
        last /= 2;
    }
    (last == 0).then_some(root)
}

/// Whether a proof shows that the tree with the one root is the beginning of the tree with the other.
#[must_use]
pub fn is_consistent(from: u64, to: u64, old: &Hash, new: &Hash, proof: &[Hash]) -> bool {
    if from > to {
        return false;
    }
    if from == to {
        return proof.is_empty() && old == new;
    }
    if from == 0 {
        return proof.is_empty() && *old == empty_root();
    }
    // RFC 9162, section 2.1.4.2.
    let mut rest = proof.iter();
    let (mut at, mut last) = (from - 1, to - 1);
    while at % 2 == 1 {
        at /= 2;
        last /= 2;
    }
    let Some(first) = (if from.is_power_of_two() { Some(old) } else { rest.next() }) else {
        return false;
    };
    let (mut left, mut right) = (*first, *first);
    for hash in rest {
        if last == 0 {
            return false;
        }
        if at % 2 == 1 || at == last {
            left = join(hash, &left);
            right = join(hash, &right);
            while at % 2 == 0 && at != 0 {
                at /= 2;
                last /= 2;
            }
        } else {
            right = join(&right, hash);
        }
        at /= 2;
        last /= 2;
    }
    last == 0 && left == *old && right == *new
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::keys::hex;

    /// The leaves of the examples that accompany RFC 6962's reference implementation.
    const LEAVES: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    /// A tree with all its complete nodes.
    struct Grown {
        nodes: HashMap<Node, Hash>,
        frontier: Frontier,
    }

    fn grown(leaves: impl IntoIterator<Item = Hash>) -> Grown {
        let mut grown = Grown {
            nodes: HashMap::new(),
            frontier: Frontier::default(),
        };
        for hash in leaves {
            let number = grown.frontier.size();
            grown.nodes.insert(Node { level: 0, number }, hash);
            grown.nodes.extend(grown.frontier.push(hash));
        }
        grown
    }

    fn example(size: usize) -> Grown {
        grown(LEAVES[..size].iter().map(|bytes| leaf(bytes)))
    }

    fn proof(of: &Grown, path: Option<Path>) -> Vec<String> {
        let hashes = path.unwrap().hashes(|node| of.nodes.get(&node).copied()).unwrap();
        hashes.iter().map(|hash| hex(hash)).collect()
    }

    #[test]
    fn roots_are_the_published_ones() {
        assert_eq!(
            hex(&empty_root()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        for (size, root) in (1..).zip(ROOTS) {
            assert_eq!(hex(&example(size).frontier.root()), root, "{size}");
        }
    }

    #[test]
    fn inclusion_proofs_are_the_published_ones() {
        let published: [(u64, usize, &[&str]); 5] = [
            (0, 1, &[]),
            (
                0,
                8,
                &[
                    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
                ],
            ),
            (
                5,
                8,
                &[
                    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                ],
            ),
            (
                2,
                3,
                &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
            ),
            (
                1,
                5,
                &[
                    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                ],
            ),
        ];
        for (index, size, hashes) in published {
            let of = example(size);
            assert_eq!(
                proof(&of, Path::inclusion(index, size as u64)),
                hashes,
                "{index} of {size}"
            );
        }
    }

    #[test]
    fn consistency_proofs_are_the_published_ones() {
        let published: [(u64, usize, &[&str]); 4] = [
            (1, 1, &[]),
            (
                1,
                8,
                &[
                    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
                ],
            ),
            (
                6,
                8,
                &[
                    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                ],
            ),
            (
                2,
                5,
                &[
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                ],
            ),
        ];
        for (from, to, hashes) in published {
            let of = example(to);
            assert_eq!(proof(&of, Path::consistency(from, to as u64)), hashes, "{from} to {to}");
        }
    }

    /// Section 2.1.3 of RFC 6962, node by node.
    #[test]
    fn proofs_of_seven_leaves_name_the_nodes_of_the_rfc() {
        let names = |path: Option<Path>| {
            path.unwrap()
                .0
                .into_iter()
                .map(|nodes| {
                    nodes
                        .into_iter()
                        .map(|node| (node.level, node.number))
                        .collect::<Vec<_>>()
                })
                .collect::<Vec<_>>()
        };
        // d0 to d6 are leaves; g, h, i, j are pairs (j the leaf d6), k is the first four, l the rest.
        assert_eq!(
            names(Path::inclusion(0, 7)),
            [vec![(0, 1)], vec![(1, 1)], vec![(1, 2), (0, 6)]]
        );
        assert_eq!(
            names(Path::inclusion(3, 7)),
            [vec![(0, 2)], vec![(1, 0)], vec![(1, 2), (0, 6)]]
        );
        assert_eq!(names(Path::inclusion(4, 7)), [vec![(0, 5)], vec![(0, 6)], vec![(2, 0)]]);
        assert_eq!(names(Path::inclusion(6, 7)), [vec![(1, 2)], vec![(2, 0)]]);
        assert_eq!(
            names(Path::consistency(3, 7)),
            [vec![(0, 2)], vec![(0, 3)], vec![(1, 0)], vec![(1, 2), (0, 6)]]
        );
        assert_eq!(names(Path::consistency(4, 7)), [vec![(1, 2), (0, 6)]]);
        assert_eq!(
            names(Path::consistency(6, 7)),
            [vec![(1, 2)], vec![(0, 6)], vec![(2, 0)]]
        );
    }

    #[test]
    fn what_is_out_of_range_has_no_proof() {
        assert_eq!(Path::inclusion(3, 3), None);
        assert_eq!(Path::consistency(4, 3), None);
        assert_eq!(root_of_inclusion(&[0; 32], 0, 0, &[]), None);
        assert_eq!(Frontier::new(3, vec![[0; 32]]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Every proof of a tree of any size leads to its root, and no other leaf, place or root is proved by it.
        #[test]
        fn proofs_prove_what_they_are_for_and_nothing_else(size in 1_u64..200, seed in any::<u8>()) {
            let leaves: Vec<Hash> = (0..size).map(|n| leaf(&[&[seed], n.to_be_bytes().as_slice()].concat())).collect();
            let tree = grown(leaves.iter().copied());
            let root = tree.frontier.root();
            for (index, hash) in (0..).zip(&leaves) {
                let path = Path::inclusion(index, size).unwrap();
                prop_assert!(path.0.len() <= 8);
                let proof = path.hashes(|node| tree.nodes.get(&node).copied()).unwrap();
                prop_assert_eq!(root_of_inclusion(hash, index, size, &proof), Some(root));
                prop_assert_ne!(root_of_inclusion(&[9; 32], index, size, &proof), Some(root));
                prop_assert_ne!(root_of_inclusion(hash, index, size, &[proof.as_slice(), &[[1; 32]]].concat()), Some(root));
                if let [_, rest @ ..] = proof.as_slice() {
                    prop_assert_ne!(root_of_inclusion(hash, index, size, rest), Some(root));
                }
                if size > 1 {
                    prop_assert_ne!(root_of_inclusion(hash, (index + 1) % size, size, &proof), Some(root));
                }
            }
            for from in 0..=size {
                let old = grown(leaves[..usize::try_from(from).unwrap()].iter().copied()).frontier;
                let proof = Path::consistency(from, size).unwrap();
                let proof = proof.hashes(|node| tree.nodes.get(&node).copied()).unwrap();
                prop_assert!(is_consistent(from, size, &old.root(), &root, &proof));
                prop_assert!(!is_consistent(from, size, &[9; 32], &root, &proof));
                prop_assert!(from == 0 || !is_consistent(from, size, &old.root(), &[9; 32], &proof));
                let longer = [proof.as_slice(), &[[1; 32]]].concat();
                prop_assert!(!is_consistent(from, size, &old.root(), &root, &longer));
            }
            let parts = Frontier::nodes(size).iter().map(|node| tree.nodes[node]).collect();
            prop_assert_eq!(Frontier::new(size, parts), Some(tree.frontier));
        }
    }
}
