//! Loaders: who is loading what, so that of many who miss a key one reads the database.

use std::time::Duration;

use crate::{
    bounds::{Memory, room},
    clock::Tick,
    coherence::{LeaseNumber, RowHash, Seq},
    lease::Lease,
    planted::{Bug, planted},
};

/// How long the first to miss a key is taken to be loading it.
pub const LOADING_TIME: Duration = Duration::from_secs(10);

/// Keys whose loading is remembered at once. Two keys that share a place only cost a second loader.
const PLACES: usize = 1 << 12;

/// Who is to load a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loading {
    /// Whoever asked.
    You,
    /// Somebody else, who is taken to be loading until then.
    Other(Tick),
}

impl Loading {
    /// Its name in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::You => "you",
            Self::Other(_) => "other",
        }
    }
}

/// Who is loading: one winner per key for [`LOADING_TIME`], known by its lease.
#[derive(Debug)]
pub struct Loaders(Box<[(Lease, Tick)]>);

// === impl Loaders ===

impl Default for Loaders {
    fn default() -> Self {
        let nobody = Lease { cache: 0, row: RowHash(0), seq: Seq(0), at: Tick(0), number: LeaseNumber(0) };
        Self(vec![(nobody, Tick(0)); room(Memory::Loaders, PLACES)].into())
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
        &mut self.0[usize::try_from(row.0 % room(Memory::Loaders, PLACES) as u64).unwrap_or(0)]
    }

    /// How much is held in each memory.
    #[cfg(test)]
    pub(crate) fn held(&self) -> [(Memory, usize); 1] {
        [(Memory::Loaders, self.0.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::{LOADING_TIME, Lease, Loaders, Loading};
    use crate::{
        clock::Tick,
        coherence::{LeaseNumber, RowHash, Seq},
    };

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
