//! Leases: what a miss gives to whoever will read the database.

use std::hash::{BuildHasher as _, RandomState};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::{
    clock::Tick,
    coherence::{LeaseNumber, RowHash, Seq},
    planted::{Bug, planted},
};

/// A read's beginning: nothing that was invalidated later may be filled with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The definition of the cache it was given for.
    pub cache: u32,
    /// The row it was given for.
    pub row: RowHash,
    /// What had been applied when it was given.
    pub seq: Seq,
    /// When it was given: the read began then at the earliest.
    pub at: Tick,
    /// Its number: none other has it.
    pub number: LeaseNumber,
}

/// Turns leases into opaque texts and back. Each process has a key of its own, so that a lease of another
/// pod, or from before a restart, is recognized as foreign.
#[derive(Debug, Default)]
pub struct Sealer(RandomState);

// === impl Sealer ===

impl Sealer {
    /// The text of a lease: base64url of cache, row, sequence, time, number and a keyed hash over them.
    #[must_use]
    pub fn seal(&self, lease: &Lease) -> String {
        let mut bytes = [0; 44];
        bytes[..4].copy_from_slice(&lease.cache.to_le_bytes());
        bytes[4..12].copy_from_slice(&lease.row.0.to_le_bytes());
        bytes[12..20].copy_from_slice(&lease.seq.0.to_le_bytes());
        bytes[20..28].copy_from_slice(&lease.at.0.to_le_bytes());
        bytes[28..36].copy_from_slice(&lease.number.0.to_le_bytes());
        let tag = self.0.hash_one(&bytes[..36]);
        bytes[36..].copy_from_slice(&tag.to_le_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The lease of a text, if this process sealed it.
    #[must_use]
    pub fn open(&self, text: &str) -> Option<Lease> {
        let bytes: [u8; 44] = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let number = |at: usize| bytes[at..at + 8].try_into().map(u64::from_le_bytes).unwrap_or_default();
        if self.0.hash_one(&bytes[..36]) != number(36) && !planted(Bug::ForeignLeaseTaken) {
            return None;
        }
        let cache = u32::from_le_bytes(bytes[..4].try_into().ok()?);
        Some(Lease {
            cache,
            row: RowHash(number(4)),
            seq: Seq(number(12)),
            at: Tick(number(20)),
            number: LeaseNumber(number(28)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Lease, Sealer};
    use crate::{
        clock::Tick,
        coherence::{LeaseNumber, RowHash, Seq},
    };

    #[test]
    fn a_lease_is_known_by_its_own_process_only() {
        let (here, there) = (Sealer::default(), Sealer::default());
        let lease = Lease {
            cache: 3,
            row: RowHash(u64::MAX),
            seq: Seq(9),
            at: Tick(u64::MAX - 1),
            number: LeaseNumber(5),
        };
        let text = here.seal(&lease);
        assert_eq!(here.open(&text), Some(lease));
        assert_eq!(there.open(&text), None);
        let mut forged = text.clone().into_bytes();
        forged[0] = if forged[0] == b'A' { b'B' } else { b'A' };
        assert_eq!(here.open(std::str::from_utf8(&forged).unwrap()), None);
        for bad in ["", "AAAA", "not base64!", &text[1..]] {
            assert_eq!(here.open(bad), None, "{bad}");
        }
    }
}
