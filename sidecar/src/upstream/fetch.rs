//! A fetch: one answer, with the redirects that lead to it and the pages that it has, within the upstream's limits.

use std::time::Duration;

use bytes::Bytes;
use hyper::{
    HeaderMap, StatusCode, Uri,
    header::{
        ACCEPT, CONTENT_TYPE, ETAG, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION,
    },
};
use tokio::{
    sync::SemaphorePermit,
    time::{Instant, sleep, timeout_at},
};
use url::{Position, Url};

use super::{
    Upstream,
    client::{self, Answer, Client, Http, Room},
    failure::Failure,
    life::{self, Keep, Life, Says, Terms},
    limiter::Urgency,
    pages,
};
use crate::{
    clock::{Now, Tick},
    mounts::Mounts,
};

/// How many redirects are followed.
const REDIRECTS: u32 = 5;

/// What an upstream gives to ask whether its answer is still the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// Its `ETag`.
    pub etag: Option<Bytes>,
    /// Its `Last-Modified`.
    pub last_modified: Option<Bytes>,
}

/// What is asked of an upstream.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Path and query behind the upstream's own path.
    pub rest: Box<str>,
    /// What the application wants to be answered with.
    pub accept: Option<Bytes>,
    /// Those of the answer that is stored.
    pub validators: Validators,
    /// Whether somebody waits for it.
    pub urgency: Urgency,
}

/// What an upstream answered.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The status: never 304, which is [`Change::None`].
    pub status: StatusCode,
    /// Its media type, empty if it names none.
    pub content_type: Bytes,
    /// Its body.
    pub body: Bytes,
    /// Whether it is kept.
    pub keep: Keep,
    /// What it says of its life.
    pub says: Says,
    /// What that comes to.
    pub life: Life,
    /// With what it can be asked about again.
    pub validators: Validators,
}

/// What an upstream says of an answer that is stored.
#[derive(Clone, Debug)]
pub enum Change {
    /// It is another one, or there was none.
    New(Fetched),
    /// It is the same.
    None {
        /// The head that says so.
        head: HeaderMap,
        /// How old the answer was then.
        age: Duration,
        /// When that was.
        at: Now,
    },
}

// === impl Validators ===

impl Validators {
    fn of(head: &HeaderMap) -> Self {
        let text = |name| head.get(name).map(|value: &HeaderValue| Bytes::copy_from_slice(value.as_bytes()));
        Self { etag: text(ETAG), last_modified: text(LAST_MODIFIED) }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }

    /// Those of a 304, where it has any.
    #[must_use]
    pub fn renewed(&self, head: &HeaderMap) -> Self {
        let new = Self::of(head);
        Self {
            etag: new.etag.or_else(|| self.etag.clone()),
            last_modified: new.last_modified.or_else(|| self.last_modified.clone()),
        }
    }

    /// Whether a 304 is about the answer that these are of.
    fn are_meant(&self, head: &HeaderMap) -> bool {
        let opaque = |etag: &[u8]| etag.strip_prefix(b"W/").unwrap_or(etag).to_vec();
        match (&self.etag, head.get(ETAG)) {
            (Some(sent), Some(named)) => opaque(sent) == opaque(named.as_bytes()),
            _ => !self.is_empty(),
        }
    }
}

// === impl Fetched ===

impl Fetched {
    pub(super) fn new(answer: Answer, at: Now, terms: &Terms) -> Self {
        let Answer { status, head, body, delay } = answer;
        let says = Says::read(&head, at.wall_ms);
        Self {
            status,
            content_type: head
                .get(CONTENT_TYPE)
                .map(|value| Bytes::copy_from_slice(value.as_bytes()))
                .unwrap_or_default(),
            body,
            keep: life::keep(status, &head),
            life: Life::of(&says, life::age(&head, delay), at.tick, terms, rand::random()),
            validators: Validators::of(&head),
            says,
        }
    }
}

/// Asks an upstream; `most` is the largest answer in bytes.
pub async fn fetch(
    upstream: &Upstream,
    mounts: &Mounts,
    room: &Room,
    wish: &Wish,
    most: u64,
) -> Result<Change, Failure> {
    let spec = &upstream.spec;
    let _slot = slot(upstream, room, wish.urgency).await?;
    let unfit = |error: &dyn std::fmt::Display| Failure::Failed(format!("the path can't be sent: {error}"));
    let base = format!("{}/{}", spec.url, wish.rest);
    // Redirects and links are read against it; the request itself goes out as it came.
    let place = Url::parse(&base).map_err(|error| unfit(&error))?;
    let uri: Uri = base.parse().map_err(|error| unfit(&error))?;
    let mut headers = HeaderMap::new();
    let header = |bytes: &Bytes| HeaderValue::from_maybe_shared(bytes.clone()).ok();
    headers.extend(wish.accept.as_ref().and_then(header).map(|accept| (ACCEPT, accept)));
    headers.extend(Client::credentials(spec, mounts)?);
    let mut validated = !wish.validators.is_empty() && spec.max_pages.is_none();
    if validated {
        let validators =
            [(IF_NONE_MATCH, &wish.validators.etag), (IF_MODIFIED_SINCE, &wish.validators.last_modified)];
        for (name, validator) in validators {
            headers.extend(validator.as_ref().and_then(header).map(|value| (name, value)));
        }
    }
    let http = upstream.client.http(spec, mounts)?;
    let mut fetch = Fetch { upstream, room, http, urgency: wish.urgency, headers, left: most, asked: 0 };
    loop {
        let (answer, place, led) = fetch.follow(place.clone(), uri.clone()).await?;
        if answer.status != StatusCode::NOT_MODIFIED {
            return fetch.pages(answer, place, led).await.map(Change::New);
        }
        if validated && wish.validators.are_meant(&answer.head) {
            let age = life::age(&answer.head, answer.delay);
            return Ok(Change::None { head: answer.head, age, at: Now::read() });
        }
        if !validated {
            return Err(Failure::Failed("it answers 304 to a request without a condition".into()));
        }
        // It is about another answer than ours: once more, for the whole of it.
        validated = false;
        fetch.headers.remove(IF_NONE_MATCH);
        fetch.headers.remove(IF_MODIFIED_SINCE);
    }
}

/// One of the upstream's connections, and a turn among all upstreams'. Who fetches for nobody stands back rather than
/// fails where there is none in time.
async fn slot<'a>(upstream: &'a Upstream, room: &'a Room, urgency: Urgency) -> Result<Slot<'a>, Failure> {
    let wait = upstream.spec.timeout;
    // In this order: who waits for a slow upstream keeps no turn from the others.
    let acquired = async { (upstream.slots.acquire().await.ok(), room.turn().await) };
    timeout_at(Instant::now() + wait, acquired).await.map_err(|_| match urgency {
        Urgency::Awaited => Failure::Late("no connection to the upstream became free", wait),
        Urgency::Background => Failure::Limited(Tick::now(), "all connections are in use"),
    })
}

type Slot<'a> = (Option<SemaphorePermit<'a>>, Option<SemaphorePermit<'a>>);

struct Fetch<'a> {
    upstream: &'a Upstream,
    room: &'a Room,
    http: Http,
    urgency: Urgency,
    headers: HeaderMap,
    /// How many bytes may still come.
    left: u64,
    /// How many requests were sent.
    asked: u32,
}

/// What the redirects that led to an answer say of it.
#[derive(Default)]
struct Led {
    /// The earliest end that one of them names.
    life: Option<Life>,
    /// Whether one of them isn't to be stored.
    forbidden: bool,
}

impl Fetch<'_> {
    /// Asks `uri`, which is at `place`, and follows where that leads.
    async fn follow(&mut self, mut place: Url, mut uri: Uri) -> Result<(Answer, Url, Led), Failure> {
        let mut led = Led::default();
        for _ in 0..=REDIRECTS {
            let answer = self.ask(&uri).await?;
            let leads = matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308);
            let Some(reference) = answer.head.get(LOCATION).filter(|_| leads) else {
                return Ok((answer, place, led));
            };
            led.add(&answer, &self.upstream.terms);
            let reference = String::from_utf8_lossy(reference.as_bytes());
            place = pages::follow(&place, &reference).map_err(|elsewhere| {
                Failure::Redirect(format!("it answers with a redirect, and {elsewhere}"))
            })?;
            uri = uri_of(&place)?;
        }
        Err(Failure::Redirect(format!("it answers with more than {REDIRECTS} redirects in a row")))
    }

    /// All pages of an answer as one, where there are pages.
    async fn pages(&mut self, first: Answer, mut place: Url, led: Led) -> Result<Fetched, Failure> {
        let terms = &self.upstream.terms;
        let mut next = pages::next(&first.head);
        let mut whole = led.apply(Fetched::new(first, Now::read(), terms));
        let Some(most) = self.upstream.spec.max_pages.filter(|_| whole.status == StatusCode::OK) else {
            return Ok(whole);
        };
        self.received(&whole.body);
        let mut bodies = vec![std::mem::take(&mut whole.body)];
        while let Some(reference) = next {
            if bodies.len() >= most as usize {
                return Err(Failure::TooLarge(format!(
                    "its answer has more than {most} pages, which maxPages allows"
                )));
            }
            place = pages::follow(&place, &reference).map_err(|elsewhere| {
                Failure::Redirect(format!("its Link names the next page, and {elsewhere}"))
            })?;
            let (answer, at, led) = self.follow(place.clone(), uri_of(&place)?).await?;
            place = at;
            if answer.status != StatusCode::OK {
                let page = bodies.len() + 1;
                return Err(Failure::Failed(format!("it answers {} for page {page}", answer.status)));
            }
            next = pages::next(&answer.head);
            let page = led.apply(Fetched::new(answer, Now::read(), terms));
            self.received(&page.body);
            whole.life = whole.life.and(page.life);
            whole.keep = whole.keep.and(page.keep);
            bodies.push(page.body);
        }
        whole.body =
            pages::merge(&bodies).map_err(|no_array| Failure::Failed(format!("of a page, {no_array}")))?;
        // That one page hasn't changed says nothing of the others, nor of how many there are.
        whole.validators = Validators::default();
        Ok(whole)
    }

    fn received(&mut self, body: &Bytes) {
        self.left = self.left.saturating_sub(body.len() as u64);
    }

    /// Asks, and once more where a connection that was kept open has just been closed.
    async fn ask(&mut self, uri: &Uri) -> Result<Answer, Failure> {
        let spec = &self.upstream.spec;
        let mut again = false;
        loop {
            self.token().await?;
            let asked = client::ask(&self.http, spec, uri, &self.headers, self.left, self.room).await;
            match asked {
                Err(Failure::Closed(_)) if !again => again = true,
                Err(failure) => return Err(failure),
                Ok(answer) => {
                    let now = Now::read();
                    let mut limiter = self.upstream.limiter();
                    if limiter.hear(answer.status, &answer.head, now.tick, now.wall_ms) {
                        let until = limiter.held(now.tick).unwrap_or(now.tick);
                        return Err(Failure::Limited(until, "the upstream takes no more"));
                    }
                    return Ok(answer);
                }
            }
        }
    }

    /// Takes a token. What was begun, with pages or redirects, waits for one.
    async fn token(&mut self) -> Result<(), Failure> {
        loop {
            let now = Tick::now();
            let (taken, held) = {
                let mut limiter = self.upstream.limiter();
                (limiter.take(self.upstream.spec.rate, self.urgency, now), limiter.held(now).is_some())
            };
            let Err(until) = taken else {
                self.asked += 1;
                self.upstream.note_requests(self.asked);
                return Ok(());
            };
            let wait = until.since(now);
            if held {
                return Err(Failure::Limited(until, "the upstream takes no more"));
            }
            if self.asked > 0 {
                self.upstream.note_requests(self.asked + 1);
            }
            if self.asked == 0 || wait > self.upstream.spec.timeout {
                return Err(Failure::Limited(until, "the binding's rate is used up"));
            }
            sleep(wait).await;
        }
    }
}

// === impl Led ===

impl Led {
    fn add(&mut self, redirect: &Answer, terms: &Terms) {
        let says = Says::read(&redirect.head, Now::read().wall_ms);
        self.forbidden |= life::forbids(&redirect.head);
        if says.lifetime.is_some() || says.no_cache {
            let life = Life::of(
                &says,
                life::age(&redirect.head, redirect.delay),
                Now::read().tick,
                terms,
                rand::random(),
            );
            self.life = Some(self.life.map_or(life, |other| other.and(life)));
        }
    }

    fn apply(self, mut fetched: Fetched) -> Fetched {
        if let Some(life) = self.life {
            fetched.life =
                Life { received: fetched.life.received, age: fetched.life.age, ..fetched.life.and(life) };
        }
        if self.forbidden {
            fetched.keep = fetched.keep.and(Keep::No);
        }
        fetched
    }
}

/// What is asked for at a place.
fn uri_of(place: &Url) -> Result<Uri, Failure> {
    place[..Position::AfterQuery]
        .parse()
        .map_err(|error| Failure::Redirect(format!("it names a place that can't be asked for: {error}")))
}
