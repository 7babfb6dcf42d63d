//! Transactions that have been read, until the books are settled and they count.

use std::collections::VecDeque;

use crate::{
    accounts::UNSETTLED,
    bounds::{Memory, room},
    change::{Change, End, Mark, Transaction},
    position::{Commit, Gtid},
};

/// What was read of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Its end.
    Whole(Commit),
    /// A statement about a table. In MariaDB's and MySQL's logs it is a transaction of its own that no end follows: more
    /// may come of it.
    Statement(Gtid),
}

/// They, in the order in which they were read.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    seen: VecDeque<Seen>,
    /// Whether there was no room for the oldest.
    forgot: bool,
}

impl Seen {
    /// What a change tells.
    pub(super) fn of(change: &Change<'_>) -> Option<Self> {
        match change {
            Change::Transaction(Transaction { end: Some(End { commit, .. }), .. }) => commit.map(Self::Whole),
            Change::Table { mark: Mark { gtid: Some(gtid), .. }, .. } => Some(Self::Statement(*gtid)),
            _ => None,
        }
    }
}

impl Unsettled {
    /// Keeps one.
    pub(super) fn push(&mut self, seen: Seen) {
        if self.seen.len() == room(Memory::Unsettled, UNSETTLED) {
            // Whoever asks for it is told that it hasn't been reached.
            self.seen.pop_front();
            self.forgot = true;
        }
        self.seen.push_back(seen);
    }

    /// Hands them on; whether that is all that came.
    pub(super) fn take(&mut self) -> (VecDeque<Seen>, bool) {
        let Self { seen, forgot } = std::mem::take(self);
        (seen, !forgot)
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.seen.len()
    }
}
