//! The places for fetches for which nobody waits: so many at once, and half of them at most for keys that hang.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many of the requests to an upstream may be ones for which nobody waits.
const ALL: usize = 4;
/// How many of these may be for keys whose last fetch has taken too long: with all of them taken by such keys, those that
/// are answered at once would wait until the others' time is up, over and over.
const FOR_HUNG: usize = ALL / 2;

/// The places of an upstream.
#[derive(Debug)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    for_hung: Arc<Semaphore>,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _one: OwnedSemaphorePermit,
    /// It is good for a key that hangs, too.
    hung: Option<OwnedSemaphorePermit>,
}

// === impl Places ===

impl Default for Places {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(ALL)), for_hung: Arc::new(Semaphore::new(FOR_HUNG)) }
    }
}

impl Places {
    /// A place, if one is free.
    pub(super) fn take(&self) -> Option<Place> {
        let one = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Place { _one: one, hung: Arc::clone(&self.for_hung).try_acquire_owned().ok() })
    }
}

// === impl Place ===

impl Place {
    /// Whether it is good for a key that hangs.
    pub(crate) fn takes_hung(&self) -> bool {
        self.hung.is_some()
    }

    /// The place of a key; `hung` if its last fetch has taken too long, for which it may be no good.
    pub(crate) fn of(self, hung: bool) -> Option<Self> {
        match (hung, self.hung.is_some()) {
            (true, taken) => taken.then_some(self),
            (false, _) => Some(Self { hung: None, ..self }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Places;

    #[test]
    fn half_of_the_places_are_left_to_keys_that_do_not_hang() {
        let places = Places::default();
        let take = |hung| places.take()?.of(hung);
        let hung = [take(true), take(true)];
        assert!(hung.iter().all(Option::is_some) && take(true).is_none());
        assert!(!places.take().unwrap().takes_hung());
        let others = [take(false), take(false)];
        assert!(others.iter().all(Option::is_some) && take(false).is_none());
        drop(others);
        assert!(take(true).is_none());
        drop(hung);
        let others = [take(false), take(false), take(false)];
        assert!(others.iter().all(Option::is_some) && take(true).is_some(), "they take none of the others'");
    }
}
