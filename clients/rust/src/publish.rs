//! What is published: the request, and what became of it.

use std::time::{Duration, SystemTime};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hyper::{Method, StatusCode, header::RETRY_AFTER};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    BoxError, Codec, Key,
    answer::Response,
    codec::to_cbor,
    exchange::{Ask, Unavailable},
    key::escape,
};

/// A sidecar that isn't hung has answered within this time: it waits 5 s for its source.
const PATIENCE: Duration = Duration::from_secs(6);

/// What is so from now on: first what clears, then what deletes, then the values, each in its order. At most 1 000 keys and
/// values in all.
///
/// ```
/// use std::time::Duration;
/// use freshet_client::{Bytes, Key, Publication};
///
/// let publication = Publication::new()
///     .put("eur-usd", &1.08, Duration::from_secs(60))
///     .put_with(Key::of(["eur", "try"]), &vec![0, 255], Duration::from_secs(60), &Bytes("image/x-dot".into()))
///     .delete("usd-chf");
/// ```
#[derive(Debug, Default)]
#[must_use = "nothing is published before `Client::publish`"]
pub struct Publication {
    request: Request,
    /// The first value that couldn't be encoded.
    unencodable: Option<BoxError>,
}

/// The source has all of what was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Whether this pod's reads see it, or something newer. Otherwise its sidecar hasn't read it within 5 s. Reads in other
    /// pods see it when their sidecars have read it.
    pub applied: bool,
    /// Since when it is so, by this pod's clock.
    pub start: SystemTime,
    /// The name under which the sidecar publishes now.
    pub publisher: String,
    /// The number of the last message among all of this publisher's.
    pub sequence: u64,
}

/// Something wasn't published, or nobody knows whether it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A value can't be encoded. Nothing was published.
    #[error("a value can't be encoded")]
    Unencodable(#[source] BoxError),
    /// The request was a mistake, and nothing was published: the cache isn't published (`not-published`), or its source can't
    /// be written to (`not-publishable`), a value is too large, a key is none.
    #[error("it can't be published: {0}")]
    Mistake(PublishProblem),
    /// The source doesn't take it. Nothing was published, or a part: the problem's detail says which.
    #[error("the source doesn't take what is published: {0}")]
    Refused(PublishProblem),
    /// Nothing was published, for now: nobody listens (`connect`), or the sidecar has no connection to the source
    /// (`publish-unavailable`). It can be tried again, after the problem's `retry_after`.
    #[error("nothing can be published now: {0}")]
    Unavailable(PublishProblem),
    /// It may have been published, or may be yet: the source hasn't answered the sidecar in time (`publish-unknown`), or the
    /// sidecar hasn't answered at all (`timeout`, `closed`, `garbled`). Publish what holds by then, rather than the same
    /// again: that would win over what others have published meanwhile.
    #[error("nobody knows whether it was published: {0}")]
    Unknown(PublishProblem),
}

/// Why something wasn't published.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{problem}{}", detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default())]
pub struct PublishProblem {
    /// In a word: the last one of a problem's type, or a client's own such as `connect`.
    pub problem: String,
    /// In a sentence of the sidecar's.
    pub detail: Option<String>,
    /// After which time it may be tried again, where the sidecar has said so.
    pub retry_after: Option<Duration>,
}

#[derive(Debug, Default, Serialize)]
struct Request {
    clear: bool,
    delete: Vec<Key>,
    put: Vec<Item>,
}

#[derive(Debug, Serialize)]
struct Item {
    key: Key,
    ttl: u64,
    #[serde(flatten)]
    value: Value,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Value {
    /// JSON stands there as it was written; whoever looks at the source can read it.
    Json {
        value: Box<RawValue>,
    },
    Bytes {
        r#type: String,
        base64: String,
    },
}

#[derive(Deserialize)]
struct Said {
    applied: bool,
    start: u64,
    publisher: String,
    sequence: u64,
}

impl Publication {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a key this value, as [CBOR](crate::Cbor), for `ttl`: at least a millisecond, and never longer than the cache's own. Of two
    /// values for one key the last one counts.
    pub fn put<T: Serialize + ?Sized>(self, key: impl Into<Key>, value: &T, ttl: Duration) -> Self {
        self.encoded(key.into(), to_cbor(value), "application/cbor".to_owned(), ttl)
    }

    /// [`Publication::put`] by another codec.
    pub fn put_with<T, C: Codec<T>>(self, key: impl Into<Key>, value: &T, ttl: Duration, codec: &C) -> Self {
        self.encoded(key.into(), codec.encode(value), codec.content_type().into_owned(), ttl)
    }

    fn encoded(
        mut self,
        key: Key,
        bytes: Result<Vec<u8>, BoxError>,
        content_type: String,
        ttl: Duration,
    ) -> Self {
        let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        match bytes {
            Ok(bytes) => self.request.put.push(Item { key, ttl, value: Value::of(content_type, &bytes) }),
            Err(error) => {
                self.unencodable.get_or_insert(error);
            }
        }
        self
    }

    /// Leaves a key without a value.
    pub fn delete(mut self, key: impl Into<Key>) -> Self {
        self.request.delete.push(key.into());
        self
    }

    /// Leaves every key of the cache without one, before all else.
    pub fn clear(mut self) -> Self {
        self.request.clear = true;
        self
    }

    pub(crate) fn ask(self, cache: &str) -> Result<Ask, PublishError> {
        if let Some(error) = self.unencodable {
            return Err(PublishError::Unencodable(error));
        }
        let body =
            serde_json::to_vec(&self.request).map_err(|error| PublishError::Unencodable(error.into()))?;
        Ok(Ask {
            method: Method::POST,
            path: format!("/v1/{}/_publish", escape(cache)),
            headers: vec![("content-type", "application/json".to_owned())],
            body: body.into(),
            wait: PATIENCE,
            pausable: false,
            once: true,
        })
    }
}

impl Value {
    fn of(content_type: String, bytes: &[u8]) -> Self {
        // What a codec calls JSON and isn't is published as it is.
        let json = (content_type == "application/json").then(|| serde_json::from_slice(bytes).ok()).flatten();
        json.map_or_else(
            || Self::Bytes { r#type: content_type, base64: BASE64_STANDARD.encode(bytes) },
            |value| Self::Json { value },
        )
    }
}

impl PublishProblem {
    fn of(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), ..Self::default() }
    }
}

impl From<Unavailable> for PublishError {
    fn from(why: Unavailable) -> Self {
        let problem = PublishProblem::of(why.as_str());
        match why {
            Unavailable::Connect => Self::Unavailable(problem),
            Unavailable::Header => Self::Mistake(problem),
            Unavailable::Timeout | Unavailable::Closed | Unavailable::Garbled | Unavailable::Paused => {
                Self::Unknown(problem)
            }
        }
    }
}

impl Response {
    /// What became of what was to be published.
    pub(crate) fn published(&self) -> Result<Published, PublishError> {
        let garbled = || PublishError::Unknown(PublishProblem::of("garbled"));
        if matches!(self.status, StatusCode::OK | StatusCode::ACCEPTED) {
            let said: Said = serde_json::from_slice(&self.body).map_err(|_| garbled())?;
            let start = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(said.start));
            return Ok(Published {
                applied: said.applied,
                start: start.ok_or_else(garbled)?,
                publisher: said.publisher,
                sequence: said.sequence,
            });
        }
        let problem = PublishProblem {
            problem: self.problem().ok_or_else(garbled)?,
            detail: self.detail(),
            retry_after: self
                .text(RETRY_AFTER.as_str())
                .and_then(|text| text.parse().ok())
                .map(Duration::from_secs),
        };
        Err(match self.status {
            StatusCode::BAD_GATEWAY => PublishError::Refused(problem),
            StatusCode::SERVICE_UNAVAILABLE => PublishError::Unavailable(problem),
            status if status.is_client_error() => PublishError::Mistake(problem),
            _ => PublishError::Unknown(problem),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::{Publication, PublishError};
    use crate::{BoxError, Bytes, Codec, Json, Key};

    fn body(publication: Publication) -> Value {
        serde_json::from_slice(&publication.ask("c").unwrap().body).unwrap()
    }

    const TTL: Duration = Duration::from_millis(1500);

    #[test]
    fn keys_are_segments_and_json_is_json() {
        let said = Publication::new()
            .put(Key::of(["a/b", "50%"]), "x", TTL)
            .put_with("j", &json!({"n": 1}), TTL, &Json)
            .put_with("b", &vec![0, 255], TTL, &Bytes("image/x-dot".into()))
            .delete("_d")
            .clear();
        let expected = json!({
            "clear": true,
            "delete": [["_d"]],
            "put": [
                {"key": ["a/b", "50%"], "ttl": 1500, "type": "application/cbor", "base64": "YXg="},
                {"key": ["j"], "ttl": 1500, "value": {"n": 1}},
                {"key": ["b"], "ttl": 1500, "type": "image/x-dot", "base64": "AP8="},
            ],
        });
        assert_eq!(body(said), expected);
    }

    #[test]
    fn what_only_calls_itself_json_cant_say_more_than_its_value() {
        let bytes = Bytes("application/json".into());
        let said = Publication::new().put_with("a", &br#"1},{"key":"b","value":2"#.to_vec(), TTL, &bytes);
        let put = &body(said)["put"];
        assert_eq!((put.as_array().unwrap().len(), &put[0]["type"]), (1, &json!("application/json")));
    }

    #[test]
    fn what_cant_be_encoded_isnt_sent() {
        struct Never;
        impl Codec<u8> for Never {
            fn content_type(&self) -> std::borrow::Cow<'static, str> {
                "x/y".into()
            }
            fn encode(&self, _: &u8) -> Result<Vec<u8>, BoxError> {
                Err("never".into())
            }
            fn decode(&self, _: &[u8]) -> Result<u8, BoxError> {
                Err("never".into())
            }
        }
        let said = Publication::new().put("a", &1, TTL).put_with("b", &1, TTL, &Never).put("c", &1, TTL);
        assert!(matches!(said.ask("c"), Err(PublishError::Unencodable(_))));
    }
}
