//! What ties each record to the one before, and to whoever held the key at that time.

use std::sync::LazyLock;

use blake3::hazmat::{ContextKey, HasherExt as _, hash_derive_key_context};
use zeroize::Zeroizing;

pub(crate) type Hash = [u8; 32];

const EVOLUTION: &str = "nebula-credential 2026-11 audit key of a record to that of the next v1";
/// What [`blake3::derive_key`] makes of the context before it looks at a key.
static EVOLVING: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context(EVOLUTION));
const FIRST: &str = "nebula-credential 2026-11 audit seed to key of the first record v1";
const TAGS: &str = "nebula-credential 2026-11 audit seed to key of name tags v1";

/// Where the next record goes: its number, the hash of the one before, and the key of its place.
///
/// The key of a place is derived from that of the place before, which is then wiped: whoever takes it later can write
/// records from there on, and change none before.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) seq: u64,
    pub(crate) prev: Hash,
    key: Zeroizing<[u8; 32]>,
}

impl Link {
    /// The place of the first record.
    pub(crate) fn first(seed: &[u8; 32]) -> Self {
        Self {
            seq: 1,
            prev: [0; 32],
            key: Zeroizing::new(blake3::derive_key(FIRST, seed)),
        }
    }

    pub(crate) fn new(seq: u64, prev: Hash, key: [u8; 32]) -> Self {
        let key = Zeroizing::new(key);
        Self { seq, prev, key }
    }

    pub(crate) fn key(&self) -> &[u8; 32] {
        &self.key
    }

    pub(crate) fn mac(&self, hash: &Hash) -> Hash {
        *blake3::keyed_hash(&self.key, hash).as_bytes()
    }

    /// The place after a record with that hash.
    pub(crate) fn advance(&mut self, hash: Hash) {
        let mut next = blake3::Hasher::new_from_context_key(&EVOLVING);
        next.update(&*self.key);
        self.key = Zeroizing::new(*next.finalize().as_bytes());
        self.seq = self.seq.saturating_add(1);
        self.prev = hash;
    }
}

/// The key of the tags that stand for names.
pub(crate) fn tag_key(seed: &[u8; 32]) -> [u8; 32] {
    blake3::derive_key(TAGS, seed)
}
