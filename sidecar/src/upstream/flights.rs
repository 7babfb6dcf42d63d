//! Which fetches of an upstream's answers are under way, who may wait for them, and which of them may still store.
//!
//! A fetch has a number, given when it begins. What it brings is stored unless the key was voided since it began, or
//! what a later one brought has been stored. All of this is known exactly and forgotten with a key's last fetch: memory
//! is bounded by how many are under way, and there is nothing that could collide.

use std::collections::HashMap;

use bytes::Bytes;

use crate::planted::{Bug, planted};

/// The number of a fetch, counted from the cache's definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(pub u64);

/// The fetches under way; `T` is what is given to those who join one.
#[derive(Debug)]
pub struct Flights<T> {
    keys: HashMap<Box<str>, UnderWay<T>>,
    last: Number,
}

#[derive(Debug)]
struct UnderWay<T> {
    running: usize,
    /// Fetches up to this one may not store: the key was voided after they had begun.
    voided: Number,
    /// The last of those under way that has stored.
    stored: Number,
    /// Those whose answer newcomers may wait for, with what they ask the upstream to answer with.
    joinable: Vec<(Number, Option<Bytes>, T)>,
}

// === impl Flights ===

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self { keys: HashMap::new(), last: Number(0) }
    }
}

impl<T> Flights<T> {
    /// The newest fetch under way whose answer is good for whoever asks now.
    #[must_use]
    pub fn join(&self, key: &str, accept: Option<&Bytes>) -> Option<&T> {
        let under_way = self.keys.get(key)?;
        let mut newest_first = under_way.joinable.iter().rev();
        newest_first.find(|(_, asked, _)| asked.as_ref() == accept).map(|(_, _, flight)| flight)
    }

    /// Begins a fetch. [`Flights::land`] has to follow, whatever becomes of it.
    pub fn begin(&mut self, key: &str, accept: Option<Bytes>, flight: T) -> Number {
        self.last.0 += 1;
        let number = self.last;
        let under_way = self.keys.entry(key.into()).or_insert_with(|| UnderWay {
            running: 0,
            voided: Number(0),
            stored: Number(0),
            joinable: Vec::new(),
        });
        under_way.running += 1;
        under_way.joinable.push((number, accept, flight));
        number
    }

    /// Keeps every fetch of a key that has begun from storing, and newcomers from waiting for it.
    pub fn void(&mut self, key: &str) {
        if let Some(under_way) = self.keys.get_mut(key) {
            if !planted(Bug::FlightOutlivesDelete) {
                under_way.voided = self.last;
            }
            if !planted(Bug::DeletedFlightJoined) {
                under_way.joinable.clear();
            }
        }
    }

    /// Ends a fetch; whether it may store. Whoever stores does it before anything else happens here: `storing` if it has
    /// something to store.
    pub fn land(&mut self, key: &str, number: Number, storing: bool) -> bool {
        let Some(under_way) = self.keys.get_mut(key) else { return false };
        let newest = number > under_way.stored || planted(Bug::OlderAnswerStored);
        let good = storing && number > under_way.voided && newest;
        if good {
            under_way.stored = number;
        }
        under_way.joinable.retain(|(other, _, _)| *other != number);
        under_way.running -= 1;
        if under_way.running == 0 {
            self.keys.remove(key);
            // A burst of keys leaves no table behind that nobody needs.
            if self.keys.is_empty() && self.keys.capacity() > 1024 {
                self.keys = HashMap::new();
            }
        }
        good
    }

    /// How many fetches are under way.
    #[must_use]
    pub fn running(&self) -> usize {
        self.keys.values().map(|under_way| under_way.running).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Flights, Number};

    #[test]
    fn newcomers_join_what_began_last_and_was_not_voided() {
        let mut flights = Flights::default();
        let json = Some("application/json".into());
        let first = flights.begin("a", None, 1);
        assert_eq!((flights.join("a", None), flights.join("b", None)), (Some(&1), None));
        assert_eq!(flights.join("a", json.as_ref()), None, "it asked for something else");
        let second = flights.begin("a", None, 2);
        flights.begin("a", json.clone(), 3);
        assert_eq!((flights.join("a", None), flights.join("a", json.as_ref())), (Some(&2), Some(&3)));
        assert!(flights.land("a", second, true));
        assert_eq!(flights.join("a", None), Some(&1));
        assert!(!flights.land("a", first, true), "a later one has stored");
        flights.void("a");
        assert_eq!((flights.join("a", json.as_ref()), flights.running()), (None, 1));
    }

    #[derive(Clone, Copy, Debug)]
    enum Act {
        Begin,
        /// Of those under way, the one at this place lands.
        Land(usize),
        Void,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            3 => Just(Act::Begin),
            3 => (0usize..8).prop_map(Act::Land),
            1 => Just(Act::Void),
        ]
    }

    proptest! {
        /// Whatever order things happen in: what a fetch brings is stored unless one that began later has stored, or the
        /// key was voided since it began.
        #[test]
        fn nothing_older_than_a_void_or_a_later_fetch_is_stored(acts in prop::collection::vec(act(), 1..80)) {
            let mut flights = Flights::default();
            let (mut clock, mut voided, mut stored) = (0u64, 0u64, None::<u64>);
            let mut under_way: Vec<(Number, u64)> = Vec::new();
            for act in acts {
                clock += 1;
                match act {
                    Act::Begin => under_way.push((flights.begin("k", None, ()), clock)),
                    Act::Void => {
                        flights.void("k");
                        (voided, stored) = (clock, None);
                    }
                    Act::Land(at) if at < under_way.len() => {
                        let (number, began) = under_way.remove(at);
                        if flights.land("k", number, true) {
                            prop_assert!(began > voided && stored.is_none_or(|stored| began > stored));
                            stored = Some(began);
                        } else {
                            prop_assert!(began < voided || stored.is_some_and(|stored| began < stored));
                        }
                    }
                    Act::Land(_) => {}
                }
                prop_assert_eq!(flights.running(), under_way.len());
            }
        }
    }
}
