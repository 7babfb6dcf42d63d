//! Reads through: serves what is stored, fetches what isn't, and keeps what is in use.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    runtime::Handle,
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
};

use super::{
    Flight, MOST_FETCHES, Upstream,
    allowance::Allowance,
    client::Room,
    departure::{Departure, Landed, Landing},
    failure::Failure,
    fetch::Wish,
    judge::{Forward, SERVER_ERROR, Verdict, Wants, judge, may_serve_on_error, name},
    limiter::Urgency,
    pins::Put,
    rest::Rest,
    served::{Refused, Served},
};
use crate::{catalog::Catalog, clock::Tick, engine::Engine, entry::Entry, mounts::Mounts};

/// How long after a failed fetch of an answer the next one in the background begins at the earliest.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// What upstream caches have in common: the store, the Secrets, the thread.
#[derive(Debug)]
pub struct Service {
    engine: Arc<Engine>,
    mounts: Mounts,
    runtime: Handle,
    room: Room,
    /// One for each reader who may wait.
    readers: Semaphore,
    /// What views hold of upstreams' answers.
    allowance: Allowance,
    /// Told when a place for a fetch for which nobody waits may be free.
    pub(super) landed: Notify,
}

/// For whom something is fetched.
pub(super) enum Asker {
    /// For a reader, who waits for it; `join` if a fetch that began before will do.
    Reader {
        /// Whether it will.
        join: bool,
    },
    /// For nobody who waits, in one of the places that there are for this.
    Nobody {
        /// Given back when the fetch has ended.
        _place: OwnedSemaphorePermit,
    },
}

// === impl Service ===

impl Service {
    /// A service whose fetches run on `runtime`, and of whose readers three quarters of `connections` may wait at once: the
    /// others are left to the other caches.
    #[must_use]
    pub fn new(engine: Arc<Engine>, mounts: Mounts, runtime: Handle, connections: usize) -> Self {
        let readers = Semaphore::new((connections * 3 / 4).max(1));
        Self {
            engine,
            mounts,
            runtime,
            room: Room::default(),
            readers,
            allowance: Allowance::default(),
            landed: Notify::new(),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What runs what must not delay the API's answers.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// What views hold.
    #[must_use]
    pub fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    /// What is stored of a key, or held because a view needs it; first what answers this `Accept`.
    pub(super) fn stored(
        &self,
        upstream: &Upstream,
        key: &str,
        accept: Option<&Bytes>,
    ) -> Option<Arc<Entry>> {
        let answers = |entry: &Arc<Entry>| entry.origin.as_ref().is_some_and(|origin| origin.answers(accept));
        match self.engine.answer(upstream.id, key) {
            Some(entry) if answers(&entry) => Some(entry),
            stored => upstream.pins.entry(key).filter(answers).or(stored),
        }
    }

    pub(super) fn mounts(&self) -> &Mounts {
        &self.mounts
    }

    pub(super) fn room(&self) -> &Room {
        &self.room
    }

    /// Answers a request.
    pub async fn read(
        self: &Arc<Self>,
        catalog: &Catalog,
        upstream: &Arc<Upstream>,
        rest: Rest<'_>,
        wants: &Wants,
    ) -> Result<Served, Refused> {
        let stats = &upstream.stats;
        let now = Tick::now();
        let stored = self.stored(upstream, rest.as_str(), wants.accept.as_ref());
        let origin = stored.as_deref().and_then(|entry| entry.origin.as_deref());
        let forward = match (judge(origin, wants, now), &stored, origin) {
            (Verdict::Serve, Some(entry), Some(origin)) => {
                stats.hits.fetch_add(1, Ordering::Relaxed);
                origin.note_asked();
                return Ok(Served::hit(entry, origin, now, None));
            }
            (Verdict::ServeStale(detail), Some(entry), Some(origin)) => {
                stats.stale_hits.fetch_add(1, Ordering::Relaxed);
                origin.note_asked();
                let may_try = origin.failed().is_none_or(|(at, _)| now.since(at) >= PAUSE);
                if let Some(place) = upstream.place(now).filter(|_| may_try) {
                    self.begin_in_background(catalog, upstream, rest.as_str(), wants.accept.as_ref(), place);
                }
                return Ok(Served::hit(entry, origin, now, Some(detail)));
            }
            (Verdict::Fetch(forward), _, _) => forward,
            // What is served is stored.
            _ => Forward::UriMiss,
        };
        stats.misses.fetch_add(1, Ordering::Relaxed);
        if wants.only_if_cached {
            return Err(Refused::NotCached(forward));
        }
        let (landing, collapsed) = self.fetch(catalog, upstream, rest.as_str(), wants).await;
        let now = Tick::now();
        let on_error = || {
            let (entry, origin) = (stored.as_ref()?, origin?);
            may_serve_on_error(origin, wants, now).then_some((entry, origin))
        };
        match landing {
            Ok(landed)
                if landed.status.is_server_error()
                    && let Some((entry, origin)) = on_error() =>
            {
                stats.stale_hits.fetch_add(1, Ordering::Relaxed);
                Ok(Served::hit(entry, origin, now, Some(name(SERVER_ERROR))))
            }
            Ok(landed) => Ok(Served::fetched(&landed, forward, collapsed, now)),
            Err(failure) => match on_error() {
                Some((entry, origin)) => {
                    stats.stale_hits.fetch_add(1, Ordering::Relaxed);
                    Ok(Served::hit(entry, origin, now, Some(failure.as_str())))
                }
                None => Err(Refused::Failed(forward, failure)),
            },
        }
    }

    /// Drops what is stored of a key, and keeps fetches that are under way from storing it anew.
    pub fn delete(&self, upstream: &Upstream, rest: Rest<'_>) {
        self.void(upstream, rest.as_str());
        // Whoever asks may have found the cache before it was defined anew.
        let current =
            self.engine.catalog().and_then(|catalog| catalog.upstreams.get(&upstream.spec.name).cloned());
        if let Some(current) = current.filter(|current| current.id != upstream.id) {
            self.void(&current, rest.as_str());
        }
    }

    fn void(&self, upstream: &Upstream, key: &str) {
        let mut flights = upstream.flights();
        flights.void(key);
        self.put(upstream, key, Put::Deleted);
        drop(flights);
    }

    /// Changes what is stored of a key, under the lock of the upstream's flights: nothing else does.
    pub(super) fn put(&self, upstream: &Upstream, key: &str, put: Put) {
        upstream.pins.change(key, put, (&self.allowance, self.memory()), Tick::now(), |entry| match entry {
            Some(entry) => self.engine.keep_answer(upstream.id, key, entry),
            None => self.engine.drop_answer(upstream.id, key),
        });
    }

    /// Pins these keys of an upstream and no others: what is stored of those that weren't before is held from now on.
    pub(crate) fn pin(&self, upstream: &Upstream, keys: &BTreeSet<&str>, now: Tick) {
        for key in upstream.pins.pin(keys) {
            let flights = upstream.flights();
            let stored = self.engine.answer(upstream.id, &key);
            if let Some(entry) = stored.filter(|entry| entry.expires > now)
                && let Some(origin) = entry.origin.as_deref()
            {
                let due = origin.life.due(upstream.spec.refresh, rand::random(), PAUSE);
                upstream.pins.adopt(&key, Arc::clone(&entry), due, (&self.allowance, self.memory()), now);
            }
            drop(flights);
        }
    }

    /// The binding's `memory` in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.engine.catalog().map_or(0, |catalog| catalog.memory)
    }

    /// The answer of a fetch that is under way, or of a new one; whether it was under way.
    async fn fetch(
        self: &Arc<Self>,
        catalog: &Catalog,
        upstream: &Arc<Upstream>,
        key: &str,
        wants: &Wants,
    ) -> (Landing, bool) {
        let Ok(_reader) = self.readers.try_acquire() else {
            let until = Tick::now() + PAUSE;
            return (Err(Failure::Limited(until, "too many readers wait for upstreams")), false);
        };
        let accept = wants.accept.as_ref();
        let mut again = false;
        loop {
            // Who takes only what the upstream says now can't take what was asked before.
            let asker = Asker::Reader { join: !wants.reload };
            let (flight, joined) = match self.join_or_begin(catalog, upstream, key, accept, asker) {
                Ok(flight) => flight,
                Err(landing) => return (landing, false),
            };
            match landed(flight).await {
                // Perhaps one for which nobody waited, and that stood back: one reader's is next, which the others join.
                Err(Failure::Limited(..)) if joined && !again => again = true,
                landing => return (landing, joined),
            }
        }
    }

    /// Fetches for nobody who waits, unless somebody does already. `place`: one of the upstream's for this.
    pub(crate) fn begin_in_background(
        self: &Arc<Self>,
        catalog: &Catalog,
        upstream: &Arc<Upstream>,
        key: &str,
        accept: Option<&Bytes>,
        place: OwnedSemaphorePermit,
    ) {
        let asker = Asker::Nobody { _place: place };
        if let Ok((_, false)) = self.join_or_begin(catalog, upstream, key, accept, asker) {
            upstream.fetches.in_background.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A fetch to wait for and whether it was under way, or what has landed in the meantime.
    fn join_or_begin(
        self: &Arc<Self>,
        catalog: &Catalog,
        upstream: &Arc<Upstream>,
        key: &str,
        accept: Option<&Bytes>,
        asker: Asker,
    ) -> Result<(Flight, bool), Landing> {
        let join = !matches!(asker, Asker::Reader { join: false });
        let is_reader = matches!(asker, Asker::Reader { .. });
        let mut flights = upstream.flights();
        if let Some(flight) = flights.join(key, accept).filter(|_| join) {
            return Ok((flight.clone(), true));
        }
        // Under the lock: what has just landed is seen here, or its fetch was joined.
        let stored = self.stored(upstream, key, accept);
        let origin = stored.as_deref().and_then(|entry| entry.origin.as_deref());
        if let (Some(entry), Some(origin)) = (&stored, origin)
            && join
            && origin.answers(accept)
            && origin.life.is_fresh(Tick::now())
            && is_reader
        {
            return Err(Ok(Arc::new(Landed::of(entry, origin, false))));
        }
        if flights.running() >= MOST_FETCHES {
            let until = Tick::now() + PAUSE;
            return Err(Err(Failure::Limited(until, "too many fetches are under way")));
        }
        let (told, flight) = watch::channel(None);
        let number = flights.begin(key, accept.cloned(), flight.clone());
        drop(flights);
        let meant = origin.filter(|origin| origin.answers(accept));
        let wish = Wish {
            rest: key.into(),
            accept: accept.cloned(),
            validators: meant.map(|origin| origin.validators.clone()).unwrap_or_default(),
            urgency: if is_reader { Urgency::Awaited } else { Urgency::Background },
        };
        let most = upstream.spec.max_bytes.unwrap_or(catalog.sidecar.max_value);
        let departure = Departure {
            service: Arc::clone(self),
            upstream: Arc::clone(upstream),
            number,
            key: key.into(),
            has_landed: false,
            asker,
        };
        let is_meant = meant.is_some();
        let stored = stored.filter(|_| is_meant);
        self.runtime.spawn(async move {
            told.send_replace(Some(departure.fly(wish, stored, most).await));
        });
        Ok((flight, false))
    }
}

/// What becomes of a fetch. A fetcher that ends unexpectedly has ended, too.
async fn landed(mut flight: Flight) -> Landing {
    match flight.wait_for(Option::is_some).await {
        Ok(landing) => {
            landing.clone().unwrap_or_else(|| Err(Failure::Failed("it has ended without an answer".into())))
        }
        Err(_) => Err(Failure::Failed("it has ended without an answer".into())),
    }
}
