//! What is stored of an upstream's answers, and which fetches may change it: all of it under the lock of the upstream's
//! flights, and nothing else changes it.
//!
//! Nothing here waits, and time is passed in.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use hyper::HeaderMap;
use tokio::sync::watch;

use super::{
    Flight, MOST_FETCHES, Origin, Upstream,
    allowance::Allowance,
    departure::{Landed, Landing},
    failure::Failure,
    fetch::{Fetched, Validators},
    flights::Number,
    judge::{Verdict, Wants, judge},
    life::{self, Keep, Life},
    pins::Put,
    reading::Hung,
    schedule::Due,
    service::PAUSE,
};
use crate::{
    clock::{Now, Tick},
    engine::Engine,
    entry::{Entry, Value},
    planted::{Bug, planted},
    store::{Shelf, Store},
};

/// Where answers are kept: in the store, and of keys that views need beside it.
#[derive(Debug)]
pub(crate) struct Keeper<'a, S = Store> {
    /// Has the store.
    pub(crate) engine: &'a Engine<S>,
    /// How much views may hold.
    pub(crate) allowance: &'a Allowance,
}

/// For whom something is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// For a reader.
    Reader,
    /// For a reader who was served what has ended.
    Served,
    /// For nobody.
    Nobody,
}

/// A fetch to wait for.
pub(crate) enum Boarding {
    /// One that is under way.
    Joined(Flight),
    /// One that the caller has to make.
    Begun(Ticket),
}

/// A fetch to make: whatever becomes of it, it has to land.
pub(crate) struct Ticket {
    /// Its number.
    pub(crate) number: Number,
    /// Where those who wait for it are told what it has come to.
    pub(crate) told: watch::Sender<Option<Landing>>,
    /// Where they hear it.
    pub(crate) flight: Flight,
    /// What is stored, if the upstream can be asked whether that is still so.
    pub(crate) stored: Option<Arc<Entry>>,
}

// === impl Keeper ===

impl<S> Clone for Keeper<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Keeper<'_, S> {}

impl<S: Shelf> Keeper<'_, S> {
    /// What is stored of a key, or held because a view needs it; first what answers this `Accept`.
    pub(super) fn stored(self, upstream: &Upstream, key: &str, accept: Option<&Bytes>) -> Option<Arc<Entry>> {
        let answers = |entry: &Arc<Entry>| entry.origin.as_ref().is_some_and(|origin| origin.answers(accept));
        match self.engine.answer(upstream.id, key) {
            Some(entry) if answers(&entry) => Some(entry),
            // A later one for an `Accept` says what those get, and isn't pinned.
            stored if accept.is_some() => stored,
            stored => upstream.pins.entry(key).filter(answers).or(stored),
        }
    }

    fn memory(self) -> u64 {
        self.engine.catalog().map_or(0, |catalog| catalog.memory)
    }
}

// === impl Upstream ===

impl Upstream {
    /// A fetch to wait for, or what has landed in the meantime.
    pub(crate) fn board<S: Shelf>(
        &self,
        keeper: Keeper<'_, S>,
        key: &str,
        wants: &Wants,
        whom: For,
        now: Tick,
    ) -> Result<Boarding, Landing> {
        // Who takes only what the upstream says now can't take what was asked before.
        let join = !wants.reload || planted(Bug::ReloadJoins);
        let accept = wants.accept.as_ref();
        let mut flights = self.flights();
        if let Some(flight) = flights.join(key, accept).filter(|_| join) {
            return Ok(Boarding::Joined(flight.clone()));
        }
        // Under the lock: what has just landed is seen here, or its fetch was joined.
        let stored = keeper.stored(self, key, accept);
        let origin = stored.as_deref().and_then(|entry| entry.origin.as_deref());
        if let (Some(entry), Some(origin)) = (&stored, origin)
            && whom != For::Nobody
            && (judge(Some(origin), wants, now) == Verdict::Serve
                || planted(Bug::LandedForAnyone) && origin.answers(accept) && origin.life.is_fresh(now))
        {
            return Err(Ok(Arc::new(Landed::of(entry, origin, false))));
        }
        if flights.running() >= MOST_FETCHES {
            return Err(Err(Failure::Limited(now + PAUSE, "too many fetches are under way")));
        }
        let (told, flight) = watch::channel(None);
        let number = flights.begin(key, accept.cloned(), flight.clone());
        drop(flights);
        let is_meant = origin.is_some_and(|origin| origin.answers(accept));
        Ok(Boarding::Begun(Ticket { number, told, flight, stored: stored.filter(|_| is_meant) }))
    }

    /// Pins these keys and no others: what is stored of those that weren't before is held from now on. `spread`, from 0 to 1, is
    /// how much earlier it is refreshed than it could be.
    pub(crate) fn pin<S: Shelf>(&self, keeper: Keeper<'_, S>, keys: &BTreeSet<&str>, spread: f64, now: Tick) {
        for key in self.pins.pin(keys) {
            let flights = self.flights();
            let stored = keeper.engine.answer(self.id, &key);
            if let Some(entry) = stored.filter(|entry| entry.expires > now)
                && let Some(origin) = entry.origin.as_deref()
            {
                let due = origin.life.due(self.spec.refresh, spread, PAUSE);
                let room = (keeper.allowance, keeper.memory());
                self.pins.adopt(&key, Arc::clone(&entry), due, room, now);
            }
            drop(flights);
        }
    }

    /// Stores an answer, if it may be; `revalidated` if the upstream has said no more than that it is still so. `spread`,
    /// from 0 to 1, is how much earlier it is refreshed than it could be.
    pub(crate) fn land<S: Shelf>(
        &self,
        keeper: Keeper<'_, S>,
        (key, number): (&str, Number),
        answer: Fetched,
        accept: Option<Bytes>,
        revalidated: bool,
        (now, spread): (Tick, f64),
    ) -> Landed {
        let end = answer.life.end(!answer.validators.is_empty(), &self.terms);
        let keeps = matches!(answer.keep, Keep::Yes | Keep::ByAccept) && end > answer.life.received;
        let mut landed = Landed {
            status: answer.status,
            content_type: answer.content_type.clone(),
            body: answer.body.clone(),
            life: answer.life,
            stored: false,
            revalidated,
        };
        let origin = Origin {
            status: answer.status.as_u16(),
            life: answer.life,
            says: answer.says,
            validators: answer.validators,
            accept,
            varies: answer.keep == Keep::ByAccept,
            number,
            asked: 0.into(),
            failed: 0.into(),
        };
        let value = Value::new(answer.body, answer.content_type);
        let due = answer.life.due(self.spec.refresh, spread, PAUSE);
        let refresh = self.spec.refresh.and_then(|every| answer.life.refresh(every, spread));
        let entry = keeps.then(|| {
            let stats = Arc::clone(&self.stats);
            Entry::of_upstream(value, key.len(), origin, answer.life.received, end, stats)
        });
        let mut flights = self.flights();
        let good = flights.land(key, number, answer.keep != Keep::Beside);
        if good {
            landed.stored = entry.is_some();
            let put = entry.map_or(Put::NotStored, |entry| Put::Stored(Arc::new(entry), due));
            self.put(keeper, key, put, now);
        }
        drop(flights);
        if landed.stored {
            self.stats.stored.fetch_add(1, Ordering::Relaxed);
            if let Some(at) = refresh {
                let mut schedule = self.schedule();
                schedule.add(Due { at, number, key: key.into() });
                schedule.tidy(self.stats.entries.load(Ordering::Relaxed), |due| {
                    let entry = keeper.engine.answer(self.id, &due.key);
                    entry.and_then(|entry| entry.origin.as_ref().map(|o| o.number)) == Some(due.number)
                });
            }
        } else if !good && answer.keep != Keep::Beside {
            self.stats.fenced.fetch_add(1, Ordering::Relaxed);
        }
        landed
    }

    /// What an answer without redirects and pages is.
    #[cfg(test)]
    pub(crate) fn fetched(&self, answer: super::client::Answer, at: Now) -> Fetched {
        Fetched::new(answer, at, &self.terms)
    }

    /// Ends a fetch that brings nothing.
    pub(crate) fn crash(&self, key: &str, number: Number) {
        self.flights().land(key, number, false);
    }

    /// Notes with what is kept that fetching it anew has failed, and how.
    pub(crate) fn note_failed<S: Shelf>(&self, keeper: Keeper<'_, S>, key: &str, at: Tick, kind: usize) {
        let stored = keeper.engine.answer(self.id, key);
        for entry in stored.into_iter().chain(self.pins.entry(key)) {
            if let Some(origin) = entry.origin.as_deref() {
                origin.note_failure(at, kind);
            }
        }
    }

    /// Drops what is kept of a key, and keeps fetches that are under way from storing it anew.
    pub(crate) fn void<S: Shelf>(&self, keeper: Keeper<'_, S>, key: &str, now: Tick) {
        let mut flights = self.flights();
        flights.void(key);
        self.put(keeper, key, Put::Deleted, now);
        drop(flights);
    }

    /// The next key that is in use and due to be fetched anew, with the `Accept` to do it with, and whether that has taken too
    /// long before. Should it fail, or not be done, it is due again after a while; should it succeed, that is of no use.
    pub(crate) fn due<S: Shelf>(
        &self,
        engine: &Engine<S>,
        now: Tick,
    ) -> Option<(Box<str>, Option<Bytes>, Hung)> {
        loop {
            let due = self.schedule().next(now)?;
            let entry = engine.answer(self.id, &due.key);
            let origin = entry.as_deref().and_then(|entry| entry.origin.as_deref());
            let Some(origin) = origin.filter(|origin| origin.number == due.number && origin.was_asked())
            else {
                continue;
            };
            let pause =
                (self.spec.refresh.unwrap_or_default() / 10).clamp(PAUSE, super::refresh::LONGEST_PAUSE);
            self.schedule().add(Due { at: now + pause, ..due.clone() });
            return Some((due.key, origin.accept.clone(), Hung(origin.is_hung())));
        }
    }

    /// Changes what is kept of a key, under the lock of the flights: nothing else does.
    fn put<S: Shelf>(&self, keeper: Keeper<'_, S>, key: &str, put: Put, now: Tick) {
        let room = (keeper.allowance, keeper.memory());
        self.pins.change(key, put, room, now, |entry| match entry {
            Some(entry) => keeper.engine.keep_answer(self.id, key, entry),
            None => keeper.engine.drop_answer(self.id, key),
        });
    }

    /// What is stored, with the life that a 304 gives it; `lot` is any number. `None` for what isn't an upstream's.
    pub(crate) fn renewed(
        &self,
        entry: &Entry,
        head: &HeaderMap,
        age: std::time::Duration,
        at: Now,
        lot: u64,
    ) -> Option<Fetched> {
        let origin = entry.origin.as_deref()?;
        let says = origin.says.renewed(head, at.wall_ms);
        let keep = match (origin.varies, life::forbids(head)) {
            (_, true) => Keep::No,
            (true, _) => Keep::ByAccept,
            (false, _) => Keep::Yes,
        };
        Some(Fetched {
            status: origin.status(),
            content_type: entry.content_type.clone(),
            body: entry.body.clone(),
            keep,
            says,
            life: Life::of(&says, age, at.tick, &self.terms, lot),
            validators: origin.validators.renewed(head),
        })
    }
}

impl Ticket {
    /// With what the upstream can be asked whether what is stored is still so.
    pub(crate) fn validators(&self) -> Validators {
        let origin = self.stored.as_deref().and_then(|entry| entry.origin.as_deref());
        origin.map(|origin| origin.validators.clone()).unwrap_or_default()
    }
}
