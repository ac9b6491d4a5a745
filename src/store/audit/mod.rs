//! What makes the history provable: the tree over it, its signed heads, their copies outside the database, bundles, and
//! checking all of them.
//!
//! Checking a bundle needs no store. What is here reads files at most; the tables of the tree are the store's.

pub mod bundle;
pub mod check;
mod keys;
pub mod note;
pub mod tree;
pub mod witness;

pub use keys::NotaryKeys;
