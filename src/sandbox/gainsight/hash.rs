//! Quick hashes: nobody floods a sandbox with keys that collide.

use std::hash::BuildHasherDefault;
use std::hash::Hasher;

/// Hashes short texts.
pub(super) type Quick = BuildHasherDefault<Stirred>;

/// Where a hash of several words begins.
pub(super) const START: u64 = 0x51_7C_C1_B7_27_22_0A_95;

/// Adds a word to a hash.
#[inline]
pub(super) fn stir(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word) * 0x9E37_79B9_7F4A_7C15_u128;
    (product as u64) ^ ((product >> 64) as u64)
}

/// Adds a text and its length to a hash.
#[inline]
pub(super) fn stir_text(mut hash: u64, text: &[u8]) -> u64 {
    let (words, rest) = text.as_chunks::<8>();
    for word in words {
        hash = stir(hash, u64::from_le_bytes(*word));
    }
    let mut last = [0_u8; 8];
    last[..rest.len()].copy_from_slice(rest);
    stir(hash, u64::from_le_bytes(last) ^ ((text.len() as u64) << 56))
}

/// The key is a text.
pub(super) struct Stirred(u64);

impl Default for Stirred {
    #[inline]
    fn default() -> Self {
        Self(START)
    }
}

impl Hasher for Stirred {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.0 = stir_text(self.0, bytes);
    }

    // What ends a text adds nothing to its length.
    #[inline]
    fn write_u8(&mut self, _: u8) {}
}
