//! What is asked to be published, as JSON.

use std::{borrow::Cow, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use freshet_crds::quantity;
use hyper::StatusCode;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{
    api::problem::Problem,
    codec::{Codec, Media},
    coding::{Coding, DecodeError},
    key::MAX_KEY,
    publishing::{Body, Says},
};

/// Most keys and values of a request in all.
pub(super) const MOST: usize = 1000;
/// Longest media type, in bytes.
const MAX_TYPE: usize = 255;

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked<'a> {
    /// Whether no key has a value any more, before all else.
    #[serde(default)]
    clear: bool,
    /// Keys that have none any more.
    #[serde(default, borrow)]
    delete: Vec<Segments<'a>>,
    /// Values that keys have.
    #[serde(default, borrow)]
    put: Vec<Item<'a>>,
}

/// A key: its segments, or the only one.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a key is a text, or a list of texts")]
enum Segments<'a> {
    One(#[serde(borrow)] Cow<'a, str>),
    Many(#[serde(borrow)] Vec<Cow<'a, str>>),
}

/// A key's value.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item<'a> {
    #[serde(borrow)]
    key: Segments<'a>,
    /// JSON, published as it is written here.
    #[serde(default, borrow, deserialize_with = "even_null")]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    /// Any bytes.
    #[serde(borrow)]
    base64: Option<Cow<'a, str>>,
    #[serde(rename = "type", borrow)]
    content_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    encoding: Option<Cow<'a, str>>,
    #[serde(borrow)]
    ttl: Option<Ttl<'a>>,
}

/// How long a value is good.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a ttl is milliseconds, or a text such as 1m30s")]
enum Ttl<'a> {
    Millis(u64),
    Text(#[serde(borrow)] Cow<'a, str>),
}

/// A `null` is a value, too.
fn even_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'a> Asked<'a> {
    /// Reads a request's body.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Problem> {
        let asked: Self = serde_json::from_slice(body).map_err(|error| bad(format!("the body: {error}")))?;
        let found = asked.delete.len() + asked.put.len();
        if found > MOST {
            return Err(too_large(format!("it has {found} keys and values, of at most {MOST} in all"))
                .with("limit", MOST));
        }
        if found == 0 && !asked.clear {
            return Err(bad("it says nothing: give one of `put`, `delete` and `clear: true`"));
        }
        Ok(asked)
    }

    /// What it says of a cache whose values have at most `limit` bytes: what clears, then what deletes, then the values.
    pub(super) fn says(self, cache: &str, limit: u64) -> Result<Vec<Says>, Problem> {
        let cache: Arc<str> = cache.into();
        let of = || Arc::clone(&cache);
        let mut says = Vec::with_capacity(1 + self.delete.len() + self.put.len());
        if self.clear {
            says.push(Says::Clear { cache: of() });
        }
        for (i, key) in self.delete.into_iter().enumerate() {
            let key = key.segments().map_err(|why| bad(format!("delete[{i}]: {why}")))?;
            says.push(Says::Delete { cache: of(), key });
        }
        for (i, item) in self.put.into_iter().enumerate() {
            says.push(item.says(of(), limit).map_err(|fault| fault.of(i, limit))?);
        }
        Ok(says)
    }
}

/// What is wrong with a value.
enum Fault {
    Said(String),
    TooLarge,
}

impl Fault {
    fn of(self, i: usize, limit: u64) -> Problem {
        match self {
            Self::Said(why) => bad(format!("put[{i}]: {why}")),
            Self::TooLarge => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "value-too-large",
                "The value is too large",
                format!("put[{i}]: a value has at most {limit} bytes (spec.sidecar.maxValue)"),
            )
            .with("limit", limit),
        }
    }
}

impl<T: Into<String>> From<T> for Fault {
    fn from(why: T) -> Self {
        Self::Said(why.into())
    }
}

impl Segments<'_> {
    fn segments(self) -> Result<Vec<String>, String> {
        let segments = match self {
            Self::One(one) => vec![one.into_owned()],
            Self::Many(many) => many.into_iter().map(Cow::into_owned).collect(),
        };
        if segments.is_empty() || segments.iter().any(|segment| matches!(segment.as_str(), "" | "." | "..")) {
            return Err("a key has at least one segment, and none is empty, `.` or `..`".to_owned());
        }
        if segments.iter().map(|segment| segment.len() + 1).sum::<usize>() > MAX_KEY + 1 {
            return Err(format!("a key has at most {MAX_KEY} bytes"));
        }
        Ok(segments)
    }
}

impl Item<'_> {
    fn says(self, cache: Arc<str>, limit: u64) -> Result<Says, Fault> {
        let ttl = self.ttl.as_ref().and_then(Ttl::duration).ok_or(
            "a value needs a `ttl`, for how long it is good: milliseconds, at least 1, or a text such as 1m30s",
        )?;
        let is_json = self.content_type.as_ref().is_none_or(|given| is_json(given));
        let body = match (self.value, self.text, self.base64) {
            (Some(_), None, None) if !is_json => {
                return Err("`value` is JSON: give what has another `type` as `text` or `base64`".into());
            }
            (Some(json), None, None) => Body::Json(Bytes::copy_from_slice(json.get().as_bytes())),
            (None, Some(text), None) => Body::Text(text.into_owned()),
            (None, None, Some(text)) => {
                let bytes = BASE64_STANDARD.decode(text.as_bytes());
                Body::Binary(bytes.map_err(|error| format!("`base64` isn't: {error}"))?.into())
            }
            _ => return Err("it has one of `value`, `text` and `base64`".into()),
        };
        let bytes = body.bytes();
        if bytes.len() as u64 > limit {
            return Err(Fault::TooLarge);
        }
        let coding = match (self.encoding, &body) {
            (None, _) => None,
            (Some(name), Body::Binary(_)) => Some(coding(&name, &bytes, limit)?),
            (Some(_), _) => return Err("`encoding` goes with `base64`: compressed bytes are no text".into()),
        };
        let is_visible = |b: u8| matches!(b, b' '..=b'~');
        let fits = |text: &str| (1..=MAX_TYPE).contains(&text.len()) && text.bytes().all(is_visible);
        if self.content_type.as_ref().is_some_and(|given| !fits(given)) {
            return Err(format!(
                "`type` is a media type: at most {MAX_TYPE} characters of visible ASCII and blanks"
            )
            .into());
        }
        let content_type = self.content_type.map(Cow::into_owned);
        Ok(Says::Value { cache, key: self.key.segments()?, body, content_type, coding, ttl })
    }
}

impl Ttl<'_> {
    fn duration(&self) -> Option<Duration> {
        let ttl = match self {
            Self::Millis(ms) => Duration::from_millis(*ms),
            Self::Text(text) => quantity::duration(text)?,
        };
        (ttl >= Duration::from_millis(1)).then_some(ttl)
    }
}

/// How bytes are compressed: so that each who reads them can.
fn coding(name: &str, bytes: &[u8], limit: u64) -> Result<Coding, Fault> {
    let coding = Coding::named(name).ok_or_else(|| format!("`encoding` is one of {}", Coding::NAMES))?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    match coding.decode(bytes, most) {
        Ok(_) => Ok(coding),
        Err(DecodeError::TooLarge) => Err(Fault::TooLarge),
        Err(DecodeError::Malformed) => {
            Err(format!("`encoding` says {name}, and the bytes can't be decoded so").into())
        }
    }
}

fn is_json(content_type: &str) -> bool {
    Media::of(content_type.as_bytes()).is_some_and(|media| media.codec == Codec::Json)
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::bad_request("publish", "What is to be published isn't understood", detail)
}

pub(super) fn too_large(detail: impl Into<String>) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "publish-too-large",
        "This is too much for one request",
        detail,
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Asked, MOST};
    use crate::publishing::{Body, Says};

    fn says(body: &str) -> Result<Vec<Says>, String> {
        let says = Asked::parse(body.as_bytes()).and_then(|asked| asked.says("c", 10));
        says.map_err(|problem| problem.to_json()["detail"].as_str().unwrap().to_owned())
    }

    #[test]
    fn what_clears_comes_first_and_values_last() {
        let body = r#"{"put":[{"key":["a","b/c"],"value":{"x":1 },"ttl":5},{"key":"d","text":"ä","ttl":"1m30s","type":"text/html"}],
                       "delete":["e",["f"]],"clear":true}"#;
        let cache = || "c".into();
        let key = |segments: &[&str]| segments.iter().map(|s| (*s).to_owned()).collect();
        let expected = [
            Says::Clear { cache: cache() },
            Says::Delete { cache: cache(), key: key(&["e"]) },
            Says::Delete { cache: cache(), key: key(&["f"]) },
            Says::Value {
                cache: cache(),
                key: key(&["a", "b/c"]),
                body: Body::Json(r#"{"x":1 }"#.into()),
                content_type: None,
                coding: None,
                ttl: Duration::from_millis(5),
            },
            Says::Value {
                cache: cache(),
                key: key(&["d"]),
                body: Body::Text("ä".into()),
                content_type: Some("text/html".into()),
                coding: None,
                ttl: Duration::from_secs(90),
            },
        ];
        assert_eq!(says(body).unwrap(), expected);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let put = |item: &str| format!(r#"{{"put":[{{"key":"a","value":1,"ttl":5}},{item}]}}"#);
        for (body, why) in [
            ("{}".to_owned(), "it says nothing"),
            ("{\"clear\":false}".to_owned(), "it says nothing"),
            ("{\"clea\":true}".to_owned(), "unknown field `clea`"),
            ("{\"delete\":[7]}".to_owned(), "a key is a text, or a list of texts"),
            ("{\"delete\":[\"a\",[]]}".to_owned(), "delete[1]: a key has at least one segment"),
            ("{\"delete\":[\"..\"]}".to_owned(), "delete[0]: a key has at least one segment"),
            (format!("{{\"delete\":[\"{}\"]}}", "x".repeat(1025)), "delete[0]: a key has at most 1024 bytes"),
            (put(r#"{"key":"b","value":1}"#), "put[1]: a value needs a `ttl`"),
            (put(r#"{"key":"b","value":1,"ttl":0}"#), "put[1]: a value needs a `ttl`"),
            (put(r#"{"key":"b","value":1,"ttl":"soon"}"#), "put[1]: a value needs a `ttl`"),
            (put(r#"{"key":"b","value":1,"ttl":-1}"#), "a ttl is milliseconds"),
            (put(r#"{"key":"b","ttl":5}"#), "put[1]: it has one of"),
            (put(r#"{"key":"b","value":1,"text":"x","ttl":5}"#), "put[1]: it has one of"),
            (put(r#"{"key":"b","value":1,"type":"text/plain","ttl":5}"#), "put[1]: `value` is JSON"),
            (put(r#"{"key":"b","base64":"?","ttl":5}"#), "put[1]: `base64` isn't"),
            (
                put(r#"{"key":"b","text":"x","encoding":"gzip","ttl":5}"#),
                "put[1]: `encoding` goes with `base64`",
            ),
            (put(r#"{"key":"b","base64":"eA==","encoding":"lzw","ttl":5}"#), "put[1]: `encoding` is one of"),
            (put(r#"{"key":"b","base64":"eA==","encoding":"gzip","ttl":5}"#), "put[1]: `encoding` says gzip"),
            (put(r#"{"key":"b","text":"x","type":"ä","ttl":5}"#), "put[1]: `type` is a media type"),
            (put(r#"{"key":"b","text":"12345678901","ttl":5}"#), "put[1]: a value has at most 10 bytes"),
            (put(r#"{"key":"b","text":"x","ttl":5,"age":1}"#), "unknown field `age`"),
            (
                format!("{{\"delete\":[{}]}}", vec!["\"a\""; MOST + 1].join(",")),
                "it has 1001 keys and values",
            ),
        ] {
            let found = says(&body).unwrap_err();
            assert!(found.contains(why), "{body}: {found}");
        }
        assert_eq!(says(&put(r#"{"key":"b","value":null,"ttl":1}"#)).unwrap().len(), 2);
    }
}
