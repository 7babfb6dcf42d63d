//! Who publishes, and whether all that they published has come: each numbers its messages, from 1 and without a gap.
//!
//! A transport may lose messages without a word, and a publisher may fail to hand one over: the next number shows both, and
//! until it comes, that not even a beat does. Nothing here does I/O or reads a clock.

use std::{collections::HashMap, time::Duration};

use crate::{
    clock::Tick,
    planted::{Bug, planted},
    publication::{Publication, What},
};

/// Publishers that are known at once, at most. What one that was forgotten says next counts as its first word.
pub const PUBLISHERS: usize = 1 << 14;

/// How long nothing may come of a publisher, which beats once a second, before it is taken for lost.
pub const SILENCE: Duration = Duration::from_secs(5);

/// The last number of each publisher.
#[derive(Debug, Default)]
pub struct Publishers {
    last: HashMap<u128, Last>,
}

/// What was heard last of a publisher.
#[derive(Clone, Copy, Debug)]
struct Last {
    number: u64,
    at: Tick,
    /// Whether its silence was told of.
    is_silent: bool,
}

/// What a message's number shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing is missing before it; it may have been heard before.
    InOrder,
    /// The publisher said something before that nobody here has heard: what it was about may be outdated.
    Joined,
    /// Messages are missing.
    Missed,
}

// === impl Publishers ===

impl Publishers {
    /// Learns the last number from a message that came before the first one that will be read.
    pub fn recall(&mut self, said: &Publication<'_>, now: Tick) {
        if said.is_numbered {
            self.set(said, now);
        }
    }

    /// Counts a message.
    pub fn note(&mut self, said: &Publication<'_>, now: Tick) -> Heard {
        if !said.is_numbered {
            return Heard::InOrder;
        }
        let sequence = said.stamp.sequence;
        let heard = match self.last.get(&said.stamp.publisher).map(|last| last.number) {
            None if sequence == 1 || planted(Bug::StrangerTrusted) => Heard::InOrder,
            None => Heard::Joined,
            Some(last) if sequence <= last => return Heard::InOrder,
            Some(last) if sequence == last.saturating_add(1) => Heard::InOrder,
            Some(_) => Heard::Missed,
        };
        self.set(said, now);
        heard
    }

    /// Whether a publisher has fallen silent without a bye, where messages may be lost without a word: each is told of once.
    pub fn silenced(&mut self, now: Tick) -> bool {
        let mut silenced = false;
        for last in self.last.values_mut().filter(|last| !last.is_silent && now.since(last.at) > SILENCE) {
            last.is_silent = true;
            silenced = true;
        }
        silenced
    }

    /// Forgets all numbers: what comes next is read from elsewhere.
    pub fn reset(&mut self) {
        self.last.clear();
    }

    fn set(&mut self, said: &Publication<'_>, at: Tick) {
        let publisher = said.stamp.publisher;
        if matches!(said.what, What::Bye) {
            self.last.remove(&publisher);
            return;
        }
        if self.last.len() >= PUBLISHERS && !self.last.contains_key(&publisher) {
            // Whoever is forgotten joins anew.
            self.last.clear();
        }
        let known = self.last.get(&publisher).map_or(0, |last| last.number);
        let number = said.stamp.sequence.max(known);
        self.last.insert(publisher, Last { number, at, is_silent: false });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Heard, PUBLISHERS, Publishers, SILENCE};
    use crate::{
        clock::Tick,
        publication::{Publication, Stamp, What},
    };

    const NOW: Tick = Tick(100_000);

    fn said(publisher: u128, sequence: u64, what: What<'static>) -> Publication<'static> {
        let stamp = Stamp { start_ms: 5, publisher, sequence };
        Publication { cache: None, what, stamp, is_numbered: publisher > 0 }
    }

    #[test]
    fn a_gap_in_a_publishers_numbers_is_told_once() {
        let mut publishers = Publishers::default();
        let mut note = |publisher, sequence| publishers.note(&said(publisher, sequence, What::Clear), NOW);
        assert_eq!([1, 2, 3].map(|n| note(7, n)), [Heard::InOrder; 3]);
        assert_eq!([note(8, 1), note(7, 4), note(8, 2)], [Heard::InOrder; 3], "each has its own");
        assert_eq!([note(7, 6), note(7, 7), note(7, 5)], [Heard::Missed, Heard::InOrder, Heard::InOrder]);
        assert_eq!([note(0, 0), note(0, 0)], [Heard::InOrder; 2], "one that doesn't number them");
    }

    #[test]
    fn one_that_was_there_before_joins_unless_its_last_number_was_looked_back_at() {
        let mut publishers = Publishers::default();
        publishers.recall(&said(7, 41, What::Beat), NOW);
        assert_eq!(publishers.note(&said(7, 42, What::Clear), NOW), Heard::InOrder);
        assert_eq!(publishers.note(&said(8, 42, What::Clear), NOW), Heard::Joined);
        assert_eq!(publishers.note(&said(8, 43, What::Bye), NOW), Heard::InOrder);
        assert_eq!(
            publishers.note(&said(8, 44, What::Clear), NOW),
            Heard::Joined,
            "it is a stranger after its bye"
        );
        publishers.reset();
        assert_eq!(publishers.note(&said(7, 43, What::Clear), NOW), Heard::Joined);
    }

    #[test]
    fn no_more_are_known_than_there_is_room_for() {
        let mut publishers = Publishers::default();
        for publisher in 1..=2 * PUBLISHERS as u128 {
            publishers.note(&said(publisher, 1, What::Clear), NOW);
        }
        assert!(publishers.last.len() <= PUBLISHERS);
    }

    #[test]
    fn one_that_falls_silent_is_told_of_once_unless_it_has_said_bye() {
        let mut publishers = Publishers::default();
        let after = |time| NOW + time;
        publishers.note(&said(7, 1, What::Clear), NOW);
        publishers.note(&said(8, 1, What::Clear), NOW);
        publishers.note(&said(8, 2, What::Bye), NOW);
        assert!(!publishers.silenced(after(SILENCE)));
        publishers.note(&said(7, 2, What::Beat), after(SILENCE));
        assert!(!publishers.silenced(after(SILENCE * 2)));
        let long = after(SILENCE * 2 + Duration::from_millis(1));
        assert_eq!([publishers.silenced(long), publishers.silenced(long)], [true, false]);
        assert_eq!(publishers.note(&said(7, 3, What::Clear), long), Heard::InOrder, "nothing was lost");
        assert!(!publishers.silenced(long));
        let late = long + SILENCE * 2;
        assert!(publishers.silenced(late));
        assert_eq!(publishers.note(&said(7, 5, What::Beat), late), Heard::Missed, "though it was told of");
    }
}
