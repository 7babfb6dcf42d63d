//! A batch as JSON: what is asked, parsed, and what is answered, in pieces that don't copy large values.

use std::{borrow::Cow, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::{BufMut as _, Bytes, BytesMut};
use hyper::{StatusCode, header::HeaderValue};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::{
    api::{
        body,
        directives::{self, FillDirectives, is_media_type},
        fill::unsupported_type,
        problem::Problem,
    },
    codec::{Codec, Media},
};

/// Most keys and fills of a batch in all.
pub(super) const MOST: usize = 1000;

/// A larger value isn't copied into the answer.
const COPIED: usize = 4 << 10;

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked<'a> {
    /// Keys to read, spelled as a path spells them.
    #[serde(default, borrow)]
    pub(super) get: Vec<Cow<'a, str>>,
    /// Values to fill.
    #[serde(default, borrow)]
    pub(super) put: Vec<Item<'a>>,
    /// Whether values in CBOR are wanted as JSON, where JSON can say them.
    #[serde(default)]
    pub(super) convert: bool,
}

/// One value to fill.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Item<'a> {
    #[serde(borrow)]
    pub(super) key: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) lease: Option<Cow<'a, str>>,
    /// JSON, stored as it is written here.
    #[serde(default, borrow, deserialize_with = "even_null")]
    value: Option<&'a RawValue>,
    /// Any bytes.
    #[serde(borrow)]
    base64: Option<Cow<'a, str>>,
    /// That there is no such row.
    #[serde(default)]
    absent: bool,
    #[serde(rename = "type", borrow)]
    content_type: Option<Cow<'a, str>>,
    /// Seconds.
    max_age: Option<u64>,
    /// How many of them are gone.
    #[serde(default)]
    age: u64,
    #[serde(borrow)]
    position: Option<Cow<'a, str>>,
    #[serde(borrow)]
    depends: Option<Vec<Cow<'a, str>>>,
}

/// A `null` is a value, too.
fn even_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'a> Asked<'a> {
    /// Reads a request's body.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Problem> {
        let asked: Self = serde_json::from_slice(body).map_err(|error| {
            Problem::bad_request("batch", "The batch isn't understood", format!("the body: {error}"))
        })?;
        let found = asked.get.len() + asked.put.len();
        if found > MOST {
            return Err(too_large(format!("it has {found} keys and fills, of at most {MOST} in all"))
                .with("limit", MOST));
        }
        Ok(asked)
    }
}

impl Item<'_> {
    /// Its value.
    pub(super) fn body(&self, limit: u64) -> Result<Bytes, Problem> {
        let body = match (self.value, &self.base64, self.absent) {
            (Some(value), None, false) => {
                if self.content_type.as_ref().is_some_and(|given| !is_json(given.as_bytes())) {
                    return Err(bad_fill("`value` is JSON: give bytes of another type as `base64`"));
                }
                Bytes::copy_from_slice(value.get().as_bytes())
            }
            (None, Some(text), false) => {
                let bytes = BASE64_STANDARD.decode(text.as_bytes());
                // What is stored is counted by its length, so that is what it has to occupy.
                bytes.map_err(|error| bad_fill(format!("`base64` isn't: {error}")))?.into_boxed_slice().into()
            }
            (None, None, true) => Bytes::new(),
            _ => return Err(bad_fill("a fill has one of `value`, `base64` and `absent: true`")),
        };
        if body.len() as u64 > limit { Err(body::too_large(limit)) } else { Ok(body) }
    }

    /// The type of its value.
    pub(super) fn content_type(&self) -> Result<Option<&[u8]>, Problem> {
        let Some(given) = &self.content_type else {
            return Ok(self.value.map(|_| &b"application/json"[..]));
        };
        if HeaderValue::from_str(given).is_err() {
            return Err(bad_fill("`type` is a media type, as in Content-Type"));
        }
        Ok(Some(given.as_bytes()))
    }

    /// What its value depends on, as the items of Freshet-Depends.
    pub(super) fn depends(&self) -> Option<Vec<&str>> {
        self.depends.as_ref().map(|items| items.iter().map(AsRef::as_ref).collect())
    }

    /// What a fill's headers would say.
    pub(super) fn directives(&self, sources: &[&str]) -> Result<FillDirectives, Problem> {
        let seconds = |age: u64| Duration::from_secs(age.min(u32::MAX.into()));
        let position = self.position.as_deref();
        FillDirectives::new(self.max_age.map(seconds), seconds(self.age), self.absent, position, sources)
    }
}

fn bad_fill(detail: impl Into<String>) -> Problem {
    Problem::bad_request("batch", "The fill isn't understood", detail)
}

pub(super) fn too_large(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "batch-too-large", "The batch is too large", detail)
}

/// Whether a media type's values are JSON.
fn is_json(content_type: &[u8]) -> bool {
    Media::of(content_type).is_some_and(|media| media.codec == Codec::Json)
}

/// How a value is written into an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is.
    Json,
    /// As a text.
    Base64,
}

impl Form {
    /// Of a value of this type: JSON is inlined, if it is any.
    pub(super) fn of(content_type: &[u8], body: &[u8]) -> Self {
        let whole = || serde_json::from_slice::<&RawValue>(body).is_ok();
        if is_json(content_type) && whole() { Self::Json } else { Self::Base64 }
    }

    /// How many bytes of the answer a value of this length is, and how many of them are copied.
    pub(super) fn size(self, length: usize) -> (usize, usize) {
        match self {
            Self::Json if length > COPIED => (length, 0),
            Self::Json => (length, length),
            Self::Base64 => (length.div_ceil(3) * 4, length.div_ceil(3) * 4),
        }
    }
}

/// JSON that is being written.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pieces: Vec<Bytes>,
    last: BytesMut,
}

impl Writer {
    /// Writes what is JSON's own.
    pub(super) fn raw(&mut self, text: &str) {
        self.last.put_slice(text.as_bytes());
    }

    /// Writes a value.
    pub(super) fn json(&mut self, value: impl Serialize) {
        // Texts and numbers can be written, and a buffer takes them.
        let _ = serde_json::to_writer((&mut self.last).writer(), &value);
    }

    /// Writes a member behind others.
    pub(super) fn member(&mut self, name: &str, value: impl Serialize) {
        self.raw(",\"");
        self.raw(name);
        self.raw("\":");
        self.json(value);
    }

    /// Writes a cached value as a member behind others.
    pub(super) fn body(&mut self, form: Form, body: Bytes) {
        match form {
            Form::Json => {
                self.raw(",\"value\":");
                if form.size(body.len()).1 > 0 || body.is_empty() {
                    self.last.put_slice(&body);
                } else {
                    self.pieces.push(self.last.split().freeze());
                    self.pieces.push(body);
                }
            }
            Form::Base64 => self.member("base64", BASE64_STANDARD.encode(body)),
        }
    }

    /// What was written.
    pub(super) fn finish(mut self) -> Vec<Bytes> {
        self.pieces.push(self.last.freeze());
        self.pieces
    }
}

/// A header's text as JSON has it.
pub(super) fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Refuses what isn't sent as JSON.
pub(super) fn expect_json(headers: &hyper::HeaderMap) -> Result<(), Problem> {
    match directives::header(headers, "content-type")? {
        Some(given) if is_media_type(given.as_bytes(), "application/json") => Ok(()),
        _ => Err(unsupported_type("a batch is sent as Content-Type: application/json")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, Form, Writer, is_json};

    #[test]
    fn json_is_told_by_its_type_and_by_itself() {
        for (given, is) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/vnd.freshet.row+json", true),
            ("application/vnd.freshet.row+JSON;v=1", true),
            ("application/jsonl", false),
            ("text/plain; a=+json", false),
            ("json", false),
            ("", false),
        ] {
            assert_eq!(is_json(given.as_bytes()), is, "{given}");
        }
        for (body, form) in [
            (&b"{\"a\":1} "[..], Form::Json),
            (b"null", Form::Json),
            (b"{\"a\":1}x", Form::Base64),
            (b"", Form::Base64),
            (b"\"\xff\"", Form::Base64),
        ] {
            assert_eq!(Form::of(b"application/json", body), form, "{body:?}");
        }
        assert_eq!(Form::of(b"text/plain", b"1"), Form::Base64);
    }

    #[test]
    fn what_is_written_is_json_whatever_is_copied() {
        let mut writer = Writer::default();
        writer.raw("{\"a\":0");
        let large = bytes::Bytes::from(format!("\"{}\"", "x".repeat(10_000)));
        let at = large.as_ptr();
        for body in [large, "[1 ,2]".into()] {
            assert_eq!(Form::of(b"application/json", &body), Form::Json);
            writer.body(Form::Json, body);
        }
        writer.body(Form::Base64, "any".into());
        writer.raw("}");
        let pieces = writer.finish();
        assert_eq!(pieces[1].as_ptr(), at, "it is the very bytes");
        let text = String::from_utf8(pieces.concat()).unwrap();
        assert!(text.ends_with(",\"value\":[1 ,2],\"base64\":\"YW55\"}"), "{text}");
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }

    #[test]
    fn a_null_is_a_value() {
        let asked = Asked::parse(br#"{"put":[{"key":"1","value": null},{"key":"2"}]}"#).unwrap();
        assert_eq!(asked.put[0].body(4).unwrap(), "null");
        assert!(asked.put[0].body(3).is_err());
        assert!(asked.put[1].body(4).is_err());
    }
}
