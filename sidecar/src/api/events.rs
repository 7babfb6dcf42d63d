//! `GET /v1/events`: what becomes void, as Server-Sent Events.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderValue},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};

use super::{
    connection::Patience,
    problem::Problem,
    reply::{Content, Pieces, Reply},
    routes::unknown_cache,
    stopped,
};
use crate::{
    engine::Engine,
    events::{Filter, Lost, Place},
};

/// Most streams of events at once; where there are fewer connections, a quarter of those.
pub(super) const MAX_STREAMS: usize = 256;
/// How long a stream says nothing while nothing happens.
pub(super) const QUIET: Duration = Duration::from_secs(15);
/// How long a browser waits until it comes back, in milliseconds.
const RETRY: u32 = 1000;

/// Room for streams.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    most: usize,
    slots: Arc<Semaphore>,
}

impl Streams {
    /// Room beside so many connections.
    pub(super) fn of(connections: usize) -> Self {
        let most = MAX_STREAMS.min(connections / 4).max(1);
        Self { most, slots: Arc::new(Semaphore::new(most)) }
    }
}

/// One who listens.
struct Reader {
    engine: Arc<Engine>,
    patience: Arc<Patience>,
    stop: watch::Receiver<bool>,
    told: watch::Receiver<u64>,
    filter: Filter,
    place: Place,
    /// What is said before any event.
    greeting: Option<Bytes>,
    _open: Open,
}

/// A stream is counted while it is open.
struct Open {
    engine: Arc<Engine>,
    _slot: OwnedSemaphorePermit,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.engine.events.stats.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers a request for events.
pub(super) fn answer(
    engine: &Arc<Engine>,
    streams: &Streams,
    patience: &Arc<Patience>,
    stop: &watch::Receiver<bool>,
    request: &Request<Incoming>,
) -> Result<Reply, Problem> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Problem::method("GET, HEAD"));
    }
    let filter = Filter(caches(request.uri().query())?);
    check(engine, &filter)?;
    let content = if *request.method() == Method::HEAD {
        Content::Stream(Pieces::none())
    } else {
        let Ok(slot) = Arc::clone(&streams.slots).try_acquire_owned() else {
            return Err(too_many(streams.most));
        };
        engine.events.stats.streams.fetch_add(1, Ordering::Relaxed);
        let open = Open { engine: Arc::clone(engine), _slot: slot };
        let last = request.headers().get("last-event-id").filter(|id| !id.is_empty());
        let last = last.map(|id| id.to_str().unwrap_or_default());
        let reader = Reader::begin(open, patience, stop, filter, last);
        patience.stream();
        Content::Stream(Pieces::unfold(reader, Reader::next))
    };
    let mut reply = Response::new(content);
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}

impl Reader {
    fn begin(
        open: Open,
        patience: &Arc<Patience>,
        stop: &watch::Receiver<bool>,
        filter: Filter,
        last: Option<&str>,
    ) -> Self {
        let engine = Arc::clone(&open.engine);
        let told = engine.events.listen();
        let end = engine.listen_to_all();
        let found = last.map_or(Ok(end), |id| engine.events.place(id));
        let mut greeting = BytesMut::from(format!("retry: {RETRY}\n").as_bytes());
        let mut reader = Self {
            engine,
            patience: Arc::clone(patience),
            stop: stop.clone(),
            told,
            filter,
            place: end,
            greeting: None,
            _open: open,
        };
        match found {
            Ok(place) => {
                reader.place = place;
                greeting.extend_from_slice(reader.engine.events.mark(place).as_bytes());
            }
            Err(why) => greeting.extend_from_slice(&reader.reset(why)),
        }
        reader.greeting = Some(greeting.freeze());
        reader
    }

    /// The next piece; `None` when the sidecar stops, or has one of the caches no more.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        let piece = match self.greeting.take() {
            Some(greeting) => Some(greeting),
            None => self.wait().await,
        };
        // From here on the client has to take it.
        self.patience.hand_over(piece.is_none());
        Some((piece?, self))
    }

    async fn wait(&mut self) -> Option<Bytes> {
        loop {
            if *self.stop.borrow() {
                // However much there is to tell: it is told where the client comes back.
                return None;
            }
            self.told.mark_unchanged();
            let text = match self.engine.events.read(self.place, &self.filter) {
                Ok((text, place)) => {
                    self.place = place;
                    text
                }
                Err(why) => self.reset(why),
            };
            if !text.is_empty() {
                return Some(text);
            }
            check(&self.engine, &self.filter).ok()?;
            let news = async {
                tokio::select! {
                    told = self.told.changed() => told.is_ok(),
                    () = stopped(&mut self.stop) => false,
                }
            };
            match timeout(QUIET, news).await {
                Ok(true) => {}
                Ok(false) => return None,
                // A comment, and its place for one who hears little of what it isn't interested in.
                Err(_) => return Some(format!(":\n{}", self.engine.events.mark(self.place)).into()),
            }
        }
    }

    /// Goes on at the log's end.
    fn reset(&mut self, why: Lost) -> Bytes {
        let catalog = self.engine.catalog();
        let all = || catalog.iter().flat_map(|catalog| catalog.caches.keys().cloned()).collect();
        let caches = if self.filter.0.is_empty() { all() } else { self.filter.0.clone() };
        let (text, place) = self.engine.events.reset(why, &caches);
        self.place = place;
        text
    }
}

/// The caches that a query names.
fn caches(query: Option<&str>) -> Result<BTreeSet<String>, Problem> {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs
        .map(|(name, cache)| match &*name {
            "cache" if !cache.is_empty() => Ok(cache.into_owned()),
            _ => Err(Problem::bad_request(
                "query",
                "The query isn't understood",
                "events are asked for with `cache=<name>`, as often as there are caches, or with nothing for all",
            )),
        })
        .collect()
}

/// Whether the binding has these caches; without a binding nobody knows.
fn check(engine: &Engine, filter: &Filter) -> Result<(), Problem> {
    let Some(catalog) = engine.catalog() else { return Ok(()) };
    let unknown = |name: &&String| !catalog.caches.contains_key(*name) && !catalog.off.contains(*name);
    filter.0.iter().find(unknown).map_or(Ok(()), |name| Err(unknown_cache(name, &catalog)))
}

fn too_many(most: usize) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "too-many-streams",
        "Too many streams of events",
        format!("at most {most} are open at once: one for all caches is enough for a process"),
    )
}
