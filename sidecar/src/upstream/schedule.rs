//! Which answers are to be fetched anew in the background, and when.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::flights::Number;
use crate::clock::Tick;

/// What is to be fetched anew.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// When.
    pub at: Tick,
    /// The fetch that brought what is stored now: if another has since, this is of no use.
    pub number: Number,
    /// The key.
    pub key: Box<str>,
}

/// Answers in the order in which they are to be fetched anew.
#[derive(Debug, Default)]
pub struct Schedule(BinaryHeap<Reverse<Due>>);

// === impl Schedule ===

impl Schedule {
    /// Adds one.
    pub fn add(&mut self, due: Due) {
        self.0.push(Reverse(due));
    }

    /// Takes the next one that is due.
    pub fn next(&mut self, now: Tick) -> Option<Due> {
        self.0.peek().filter(|due| due.0.at <= now)?;
        self.0.pop().map(|due| due.0)
    }

    /// Forgets those that are of no use, if there are many more than `entries`: of what was evicted or replaced since.
    pub fn tidy(&mut self, entries: u64, is_stored: impl Fn(&Due) -> bool) {
        if self.0.len() as u64 > 64 + entries.saturating_mul(2) {
            self.0.retain(|due| is_stored(&due.0));
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{Due, Number, Schedule, Tick};

    #[test]
    fn what_is_due_comes_in_order_and_what_is_of_no_use_is_forgotten() {
        let mut schedule = Schedule::default();
        let due = |at, key: &str| Due { at: Tick(at), number: Number(at), key: key.into() };
        for (at, key) in [(30, "c"), (10, "a"), (20, "b")] {
            schedule.add(due(at, key));
        }
        assert_eq!(schedule.next(Tick(9)), None);
        assert_eq!(schedule.next(Tick(20)), Some(due(10, "a")));
        assert_eq!(schedule.next(Tick(20)), Some(due(20, "b")));
        assert_eq!(schedule.next(Tick(20)), None);
        for at in 100..200 {
            schedule.add(due(at, "d"));
        }
        schedule.tidy(20, |due| due.at > Tick(150));
        assert_eq!(schedule.len(), 101, "not so many that it matters");
        schedule.tidy(10, |due| due.at > Tick(150));
        assert_eq!((schedule.len(), schedule.is_empty()), (49, false));
    }
}
