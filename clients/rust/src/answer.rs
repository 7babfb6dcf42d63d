//! What the sidecar says, and what became of a read.

use std::time::Duration;

use hyper::{
    HeaderMap, StatusCode,
    header::{AGE, CONTENT_TYPE},
};
use serde_json::Value;

/// Where a value came from, or why it didn't come from the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The cache answered.
    Hit,
    /// Nothing is cached.
    Miss,
    /// The sidecar can't vouch for its values now.
    Stale,
    /// The sidecar couldn't be asked.
    Unavailable,
    /// The request was a mistake; the detail names the problem.
    Refused,
}

/// What became of a value that was sent, or of one that was to be dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored, or dropped.
    Done,
    /// A change came in between: it isn't stored.
    Fenced,
    /// The sidecar couldn't be asked.
    Unavailable,
    /// It was a mistake: a problem of the sidecar's, or `unencodable` or `header`.
    Refused(String),
}

/// A value and where it came from, for logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// The value; `None` if there is no such row.
    pub value: Option<T>,
    /// Where it came from.
    pub status: Status,
    /// Why, as `Cache-Status` has it; of [`Status::Unavailable`]: `connect`, `timeout`, `closed`, `garbled`, `paused` or
    /// a problem; of [`Status::Refused`]: the problem.
    pub detail: Option<String>,
    /// Whether the cache answered: with a value, or with the knowledge that there is no such row.
    pub found: bool,
    /// Seconds the cached value has left; negative if it is served stale.
    pub ttl: Option<i64>,
    /// Since when the cached value is stored, in whole seconds.
    pub age: Option<Duration>,
    /// How far of the database's log the cached value reflects at least: the next read's `min_position`.
    pub position: Option<String>,
    /// On a miss, what a value read from now on is put with.
    pub lease: Option<String>,
    /// On a miss, who is to load: `you` or `other`.
    pub fill: Option<String>,
    /// What became of the loaded value; `None` if it wasn't sent.
    pub stored: Option<Outcome>,
    /// The media type of what is cached, as it came.
    pub content_type: Option<String>,
}

/// What came over the wire.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: bytes::Bytes,
}

impl<T> Answer<T> {
    pub(crate) fn nothing(status: Status, detail: impl Into<String>) -> Self {
        Self {
            value: None,
            status,
            detail: Some(detail.into()),
            found: false,
            ttl: None,
            age: None,
            position: None,
            lease: None,
            fill: None,
            stored: None,
            content_type: None,
        }
    }

    /// The same with another value.
    pub(crate) fn with<U>(self, value: Option<U>) -> Answer<U> {
        let Self { value: _, status, detail, found, ttl, age, position, lease, fill, stored, content_type } =
            self;
        Answer { value, status, detail, found, ttl, age, position, lease, fill, stored, content_type }
    }
}

impl Response {
    /// Reads the answer to a GET.
    pub(crate) fn answer(self) -> Answer<bytes::Bytes> {
        let status = cache_status(self.text("cache-status").unwrap_or_default());
        let Some(status) = status.filter(|_| matches!(self.status.as_u16(), 200 | 404)) else {
            return match self.problem() {
                Some(problem) if self.status.is_client_error() => Answer::nothing(Status::Refused, problem),
                problem => {
                    Answer::nothing(Status::Unavailable, problem.unwrap_or_else(|| "garbled".to_owned()))
                }
            };
        };
        let parameter = |name| status.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let owned = |name: &str| self.text(name).map(str::to_owned);
        let (hit, whole) = (parameter("hit").is_some(), self.status == StatusCode::OK);
        Answer {
            status: match parameter("fwd") {
                _ if hit => Status::Hit,
                Some("stale") => Status::Stale,
                _ => Status::Miss,
            },
            detail: parameter("detail").map(str::to_owned),
            found: hit || whole,
            ttl: parameter("ttl").and_then(|text| text.parse().ok()),
            age: self.text(AGE.as_str()).and_then(|text| text.parse().ok()).map(Duration::from_secs),
            position: owned("freshet-position"),
            lease: owned("freshet-lease"),
            fill: owned("freshet-fill"),
            stored: None,
            content_type: owned(CONTENT_TYPE.as_str()),
            value: whole.then(|| self.body.clone()),
        }
    }

    /// What became of a PUT or DELETE, or of the one fill of a batch.
    pub(crate) fn outcome(&self) -> Outcome {
        let batch: Option<Value> =
            (self.status == StatusCode::OK).then(|| serde_json::from_slice(&self.body).ok()).flatten();
        let fill = batch.as_ref().map(|batch| &batch["put"][0]);
        if self.status == StatusCode::NO_CONTENT || fill.is_some_and(|fill| fill["status"] == 204) {
            return Outcome::Done;
        }
        match fill.map_or_else(|| self.problem(), |fill| last_word(&fill["problem"])) {
            Some(problem) if problem == "fenced" => Outcome::Fenced,
            problem => Outcome::Refused(problem.unwrap_or_else(|| format!("http-{}", self.status.as_u16()))),
        }
    }

    /// The last word of a problem's type, if it is a problem.
    pub(crate) fn problem(&self) -> Option<String> {
        self.text(CONTENT_TYPE.as_str()).filter(|kind| kind.starts_with("application/problem+json"))?;
        last_word(&serde_json::from_slice(&self.body).ok()?)
    }

    /// A problem's detail, if it is a problem and has one.
    pub(crate) fn detail(&self) -> Option<String> {
        let problem: Value = serde_json::from_slice(&self.body).ok()?;
        problem["detail"].as_str().map(str::to_owned)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

fn last_word(problem: &Value) -> Option<String> {
    Some(problem["type"].as_str()?.rsplit('/').next()?.to_owned())
}

/// The parameters of our member of a `Cache-Status` (RFC 9211).
fn cache_status(text: &str) -> Option<Vec<(&str, &str)>> {
    text.split(',').find_map(|member| {
        let (name, parameters) = member.split_once(';').unwrap_or((member, ""));
        (name.trim() == "freshet").then(|| parameters.split(';').map(parameter).collect())
    })
}

fn parameter(text: &str) -> (&str, &str) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.trim(), value.trim().trim_matches('"'))
}
