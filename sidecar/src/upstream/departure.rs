//! A fetch from its departure to what it has come to: stored, passed on, or failed.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use hyper::{HeaderMap, StatusCode};
use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    Origin, Outcome, Upstream,
    failure::Failure,
    fetch::{Change, Fetched, Wish, fetch},
    flights::Number,
    judge::SERVER_ERROR,
    life::{self, Keep, Life},
    pins::Put,
    schedule::Due,
    service::{Asker, PAUSE, Service},
};
use crate::{
    clock::{Now, Tick},
    entry::{Entry, Value},
};

/// What a fetch has come to.
pub type Landing = Result<Arc<Landed>, Failure>;

/// An answer of the upstream's, as those get it who have waited for it.
#[derive(Debug)]
pub struct Landed {
    /// The status.
    pub status: StatusCode,
    /// The media type, empty if there is none.
    pub content_type: Bytes,
    /// The body.
    pub body: Bytes,
    /// Its life.
    pub life: Life,
    /// Whether it is stored.
    pub stored: bool,
    /// Whether the upstream has only said that what was stored is still so.
    pub revalidated: bool,
}

/// A fetch under way, which ends in any case.
pub(super) struct Departure {
    pub(super) service: Arc<Service>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) number: Number,
    pub(super) key: Box<str>,
    /// Whether it has been taken off the flights.
    pub(super) has_landed: bool,
    /// For whom it is.
    pub(super) asker: Asker,
}

impl Departure {
    /// Fetches, stores and counts.
    pub(super) async fn fly(mut self, wish: Wish, stored: Option<Arc<Entry>>, most: u64) -> Landing {
        let upstream = Arc::clone(&self.upstream);
        let began = Instant::now();
        let service = Arc::clone(&self.service);
        let change = fetch(&upstream, service.mounts(), service.room(), &wish, most).await;
        upstream.fetches.durations.count(began.elapsed());
        let accept = wish.accept.clone();
        let origin = stored.as_deref().and_then(|entry| entry.origin.as_deref());
        let landing = match (change, &stored, origin) {
            (Ok(Change::New(answer)), _, _) => Ok(self.land(answer, accept, None)),
            (Ok(Change::None { head, age, at }), Some(entry), Some(origin)) => {
                let answer = renewed(entry, origin, &head, age, at, &upstream);
                Ok(self.land(answer, accept, Some(entry)))
            }
            (Ok(Change::None { .. }), _, _) => {
                Err(Failure::Failed("it answers 304, and nothing is stored".into()))
            }
            (Err(failure), _, _) => Err(failure),
        };
        self.note(&landing);
        landing
    }

    /// Stores an answer, if it may be; `same` is what was stored if the upstream has said that it is still so.
    fn land(&mut self, answer: Fetched, accept: Option<Bytes>, same: Option<&Arc<Entry>>) -> Arc<Landed> {
        let upstream = &self.upstream;
        let end = answer.life.end(!answer.validators.is_empty(), &upstream.terms);
        let keeps = matches!(answer.keep, Keep::Yes | Keep::ByAccept) && end > answer.life.received;
        let mut landed = Landed {
            status: answer.status,
            content_type: answer.content_type.clone(),
            body: answer.body.clone(),
            life: answer.life,
            stored: false,
            revalidated: same.is_some(),
        };
        let origin = Origin {
            status: answer.status.as_u16(),
            life: answer.life,
            says: answer.says,
            validators: answer.validators,
            accept,
            varies: answer.keep == Keep::ByAccept,
            number: self.number,
            asked: 0.into(),
            failed: 0.into(),
        };
        let value = Value::new(answer.body, answer.content_type);
        let spread = rand::random();
        let refresh = upstream.spec.refresh.and_then(|every| answer.life.refresh(every, spread));
        let due = answer.life.due(upstream.spec.refresh, spread, PAUSE);
        let entry = keeps.then(|| {
            Entry::of_upstream(
                value,
                self.key.len(),
                origin,
                answer.life.received,
                end,
                Arc::clone(&upstream.stats),
            )
        });
        let mut flights = upstream.flights();
        self.has_landed = true;
        let good = flights.land(&self.key, self.number, answer.keep != Keep::Beside);
        if good {
            landed.stored = entry.is_some();
            let put = entry.map_or(Put::NotStored, |entry| Put::Stored(Arc::new(entry), due));
            self.service.put(upstream, &self.key, put);
        }
        drop(flights);
        if landed.stored {
            upstream.stats.stored.fetch_add(1, Ordering::Relaxed);
            if let Some(at) = refresh {
                let mut schedule = upstream.schedule();
                schedule.add(Due { at, number: self.number, key: self.key.clone() });
                schedule.tidy(upstream.stats.entries.load(Ordering::Relaxed), |due| {
                    let entry = self.service.engine().answer(upstream.id, &due.key);
                    entry.and_then(|entry| entry.origin.as_ref().map(|o| o.number)) == Some(due.number)
                });
            }
        } else if !good && answer.keep != Keep::Beside {
            upstream.stats.fenced.fetch_add(1, Ordering::Relaxed);
        }
        Arc::new(landed)
    }

    /// Counts what has become of it, and notes a failure where it is stored what may be served instead.
    fn note(&self, landing: &Landing) {
        let (upstream, now) = (&self.upstream, Tick::now());
        let (outcome, why) = match landing {
            Ok(landed) if landed.status.is_server_error() => {
                (Outcome::ServerError, Some((SERVER_ERROR, format!("it answers {}", landed.status))))
            }
            Ok(landed) if landed.revalidated => (Outcome::Revalidated, None),
            Ok(landed) if landed.stored => (Outcome::Stored, None),
            Ok(_) => (Outcome::Passed, None),
            Err(failure) => (Outcome::Failed(failure.kind()), Some((failure.kind(), failure.to_string()))),
        };
        upstream.fetches.count(outcome);
        let until = match landing {
            Err(Failure::Limited(until, _)) => Some(*until),
            _ => None,
        };
        let passed = match landing {
            // What had to be stored or dropped then has been, unless another fetch knows better.
            Ok(landed) if landed.stored || matches!(landed.status.as_u16(), 200 | 404 | 410) => None,
            Ok(landed) => Some(format!("it answers {}", landed.status)),
            Err(_) => None,
        };
        if let Some(why) = why.as_ref().map(|(_, why)| why.clone()).or(passed) {
            let why = if until.is_some() { why } else { format!("fetching it has failed: {why}") };
            upstream.pins.failed(&self.key, why, until, now);
        }
        if matches!((&self.asker, landing), (Asker::Nobody { .. }, Err(Failure::Limited(..)))) {
            // It stood back for those who wait.
            return;
        }
        let cache = upstream.spec.name.as_str();
        let Some((kind, why)) = why else {
            if upstream.fetches.last_failure().is_some() {
                info!(cache, "the upstream answers again");
                upstream.fetches.note_answer();
            }
            return;
        };
        let stored = self.service.engine().answer(upstream.id, &self.key);
        for entry in stored.into_iter().chain(upstream.pins.entry(&self.key)) {
            if let Some(origin) = entry.origin.as_deref() {
                origin.note_failure(now, kind);
            }
        }
        if upstream.fetches.note_failure(now, why.clone()) {
            warn!(cache, why, "the upstream fails; the same again is only counted");
        }
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        if !self.has_landed {
            self.upstream.flights().land(&self.key, self.number, false);
        }
        if matches!(self.asker, Asker::Nobody { .. }) {
            self.service.landed.notify_one();
        }
    }
}

/// What is stored, with the life that a 304 gives it.
fn renewed(
    entry: &Entry,
    origin: &Origin,
    head: &HeaderMap,
    age: Duration,
    at: Now,
    upstream: &Upstream,
) -> Fetched {
    let says = origin.says.renewed(head, at.wall_ms);
    let keep = match (origin.varies, life::forbids(head)) {
        (_, true) => Keep::No,
        (true, _) => Keep::ByAccept,
        (false, _) => Keep::Yes,
    };
    Fetched {
        status: origin.status(),
        content_type: entry.content_type.clone(),
        body: entry.body.clone(),
        keep,
        says,
        life: Life::of(&says, age, at.tick, &upstream.terms, rand::random()),
        validators: origin.validators.renewed(head),
    }
}

impl Landed {
    /// What is stored, to those who come just as it is.
    pub(super) fn of(entry: &Entry, origin: &Origin, revalidated: bool) -> Self {
        Self {
            status: origin.status(),
            content_type: entry.content_type.clone(),
            body: entry.body.clone(),
            life: origin.life,
            stored: true,
            revalidated,
        }
    }
}
