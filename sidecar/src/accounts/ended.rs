//! The transactions that ended last.

use std::collections::{HashSet, VecDeque};

use crate::{
    bounds::{Memory, room},
    change::TransactionId,
};

/// Transactions that are remembered once the books are settled after their end, so that what is replayed of them isn't
/// counted again. Debezium's sink sends at most a batch again, of 2048 events unless set otherwise.
pub(super) const ENDED: usize = 1 << 12;

/// The transactions that ended last.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) order: VecDeque<TransactionId>,
    pub(super) ids: HashSet<TransactionId>,
}

impl Ended {
    pub(super) fn contains(&self, id: TransactionId) -> bool {
        self.ids.contains(&id)
    }

    pub(super) fn push(&mut self, id: TransactionId) {
        if self.ids.insert(id) {
            self.order.push_back(id);
        }
    }

    /// Forgets the oldest, as far as there is no room for them.
    pub(super) fn trim(&mut self) {
        let excess = self.order.len().saturating_sub(room(Memory::Ended, ENDED));
        for oldest in self.order.drain(..excess) {
            self.ids.remove(&oldest);
        }
    }
}
