//! Leases: what a miss gives to whoever will read the database, and who is loading what.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::{
    clock::Tick,
    coherence::{LeaseNumber, RowHash, Seq},
    planted::{Bug, planted},
};

/// How long the first to miss a key is taken to be loading it.
pub const LOADING_TIME: Duration = Duration::from_secs(10);

/// Keys whose loading is remembered at once. Two keys that share a place only cost a second loader.
const PLACES: usize = 1 << 12;

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

/// Who is to load a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loading {
    /// Whoever asked.
    You,
    /// Somebody else, who is taken to be loading until then.
    Other(Tick),
}

/// Who is loading: one winner per key for [`LOADING_TIME`], known by its lease.
#[derive(Debug)]
pub struct Loaders(Box<[(Lease, Tick)]>);

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

// === impl Loaders ===

impl Default for Loaders {
    fn default() -> Self {
        let nobody = Lease { cache: 0, row: RowHash(0), seq: Seq(0), at: Tick(0), number: LeaseNumber(0) };
        Self(vec![(nobody, Tick(0)); PLACES].into())
    }
}

impl Loaders {
    /// Whether the lease's holder is to load its row: nobody else was told so within [`LOADING_TIME`] whose fill would
    /// still be taken.
    pub fn win(&mut self, lease: Lease, now: Tick, holds: impl Fn(&Lease) -> bool) -> Loading {
        if let Some(until) = self.other(lease.row, now, holds) {
            return Loading::Other(until);
        }
        *self.place(lease.row) = (lease, now + LOADING_TIME);
        Loading::You
    }

    /// Until when somebody is taken to be loading the row, if anybody is.
    pub fn other(&mut self, row: RowHash, now: Tick, holds: impl Fn(&Lease) -> bool) -> Option<Tick> {
        let place = self.place(row);
        let silent = place.1 <= now && !planted(Bug::LoaderNeverReplaced);
        let taken = holds(&place.0) || planted(Bug::FencedLoaderKept);
        (place.0.row == row && !silent && taken).then_some(place.1)
    }

    /// Notes that the row's loading has ended, or that it must begin anew.
    pub fn end(&mut self, row: RowHash) {
        let place = self.place(row);
        if place.0.row == row {
            place.1 = Tick(0);
        }
    }

    /// Notes that the holder of this lease has failed: whoever was told to load after it goes on.
    pub fn give_up(&mut self, lease: &Lease) {
        let place = self.place(lease.row);
        if place.0 == *lease && !planted(Bug::RefusedLoaderKept) {
            place.1 = Tick(0);
        }
    }

    fn place(&mut self, row: RowHash) -> &mut (Lease, Tick) {
        &mut self.0[usize::try_from(row.0 % PLACES as u64).unwrap_or(0)]
    }
}

#[cfg(test)]
mod tests {
    use super::{LOADING_TIME, Lease, Loaders, Loading, Sealer};
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

    #[test]
    fn one_loader_per_row_at_a_time() {
        let mut loaders = Loaders::default();
        let row = RowHash(5);
        let lease = |seq| Lease { cache: 1, row, seq: Seq(seq), at: Tick(0), number: LeaseNumber(seq) };
        assert_eq!(loaders.win(lease(1), Tick(0), |_| true), Loading::You);
        assert!(matches!(loaders.win(lease(1), Tick(9_999), |_| true), Loading::Other(_)));
        assert_eq!(loaders.win(lease(1), Tick(0) + LOADING_TIME, |_| true), Loading::You);
        loaders.end(row);
        assert_eq!(loaders.win(lease(2), Tick(0) + LOADING_TIME, |_| true), Loading::You);
        loaders.give_up(&lease(1));
        assert!(matches!(loaders.win(lease(3), Tick(0) + LOADING_TIME, |_| true), Loading::Other(_)));
        loaders.give_up(&lease(2));
        assert_eq!(loaders.win(lease(3), Tick(0) + LOADING_TIME, |_| true), Loading::You);
    }
}
