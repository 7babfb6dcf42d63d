//! The envelope of what applications publish, version 1: `docs/reference/envelope.md`.

use std::{borrow::Cow, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{
    change::{Fault, TableName},
    coding::Coding,
    key::{Key, MAX_KEY},
    publication::{Publication, Published, Stamp, What, publisher},
};

mod parts;
mod rows;
pub(crate) mod write;

/// The field of an entry that has an envelope, and the member of one that has its version.
pub(crate) const ENVELOPE: &[u8] = b"freshet";
const VERSION: u32 = 1;
/// Longest media type, in bytes.
const MAX_TYPE: usize = 255;
/// What bytes are of which nothing is said.
const BYTES: &str = "application/octet-stream";

/// As much of an envelope as any version has.
#[derive(Default, Deserialize)]
struct Head<'a> {
    freshet: u32,
    #[serde(borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    cache: Option<Cow<'a, str>>,
    #[serde(borrow)]
    table: Option<Cow<'a, str>>,
}

/// An envelope.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(rename = "freshet")]
    _version: u32,
    kind: Option<Kind>,
    #[serde(borrow)]
    cache: Option<Cow<'a, str>>,
    #[serde(borrow)]
    table: Option<Cow<'a, str>>,
    op: Option<rows::Operation>,
    oversized: Option<bool>,
    #[serde(borrow, default, deserialize_with = "named")]
    key: Option<Named<'a>>,
    #[serde(borrow, default, deserialize_with = "any")]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    base64: Option<Cow<'a, str>>,
    /// Where the value's bytes are by themselves.
    #[serde(skip)]
    bytes: Option<&'a [u8]>,
    #[serde(borrow, rename = "type")]
    content_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    encoding: Option<Cow<'a, str>>,
    start: Option<u64>,
    ttl: Option<u64>,
    #[serde(borrow)]
    publisher: Option<Cow<'a, str>>,
    sequence: Option<u64>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Value,
    Delete,
    Clear,
    Change,
    Beat,
    Bye,
}

/// What is said to be the key, of a cache or of a row.
enum Named<'a> {
    Json(&'a RawValue),
    Text(Cow<'a, str>),
}

/// An envelope that nobody can read: the table that it names, if it may be about one. It may be about anything of the source.
#[derive(Debug)]
pub(super) struct Unreadable<'a>(pub(super) Option<TableName<'a>>);

/// What an envelope says.
type Said<'a> = Result<Publication<'a>, Unreadable<'a>>;

/// A key: its segments, or the only one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Segments<'a> {
    One(#[serde(borrow)] Cow<'a, str>),
    Many(#[serde(borrow)] Vec<Cow<'a, str>>),
}

/// Reads what was published: an envelope's JSON in the one field, or its members in fields of their own; `None` of what
/// was written by others.
pub(super) fn read(fields: &[(Vec<u8>, Vec<u8>)]) -> Option<Said<'_>> {
    match fields {
        [(name, payload)] if name == ENVELOPE => Some(whole(payload)),
        [(name, version), parts @ ..] if name == ENVELOPE => Some(parts::read(version, parts)),
        _ => None,
    }
}

/// As much of an envelope as nothing else has.
#[derive(Deserialize)]
struct Mark<'a> {
    #[serde(rename = "freshet")]
    _version: u32,
    #[serde(borrow, rename = "kind")]
    _kind: Cow<'a, str>,
}

/// Whether a payload is an envelope, and not what Debezium writes: mostly that is the first thing that one says.
pub(crate) fn is_envelope(payload: &[u8]) -> bool {
    const NAME: &[u8] = b"\"freshet\"";
    let Some(inner) = payload.trim_ascii_start().strip_prefix(b"{") else { return false };
    inner.trim_ascii_start().starts_with(NAME)
        || memchr::memmem::find(inner, NAME).is_some() && serde_json::from_slice::<Mark<'_>>(payload).is_ok()
}

fn whole(payload: &[u8]) -> Said<'_> {
    let Ok(text) = std::str::from_utf8(payload) else { return unreadable(Head::default()) };
    let Ok(head) = serde_json::from_str::<Head<'_>>(text) else { return unreadable(Head::default()) };
    if head.freshet != VERSION {
        return unreadable(head);
    }
    let read = serde_json::from_str::<Envelope<'_>>(text).ok().and_then(Envelope::publication);
    read.map_or_else(|| unreadable(head), Ok)
}

/// As little is void as what can be read of it allows.
fn unreadable(head: Head<'_>) -> Said<'_> {
    let is_of_caches = matches!(head.kind.as_deref(), Some("value" | "delete" | "clear" | "beat" | "bye"));
    match (head.table, head.cache) {
        (Some(table), _) if !is_of_caches => Err(Unreadable(rows::table(&table))),
        (_, cache) if is_of_caches || (cache.is_some() && head.kind.as_deref() != Some("change")) => {
            let what = What::Unreadable(Fault::Publication);
            Ok(Publication { cache, what, stamp: Stamp::default(), is_numbered: false })
        }
        _ => Err(Unreadable(None)),
    }
}

/// JSON of any kind, null included.
fn any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Named<'de>>, D::Error> {
    Ok(Option::<&RawValue>::deserialize(deserializer)?.map(Named::Json))
}

impl<'a> Envelope<'a> {
    fn publication(self) -> Option<Publication<'a>> {
        let kind = self.kind?;
        let is_about_a_cache = matches!(kind, Kind::Value | Kind::Delete | Kind::Clear);
        let (stamp, is_numbered) = (self.stamp(is_about_a_cache)?, self.publisher.is_some());
        let must_be_numbered = matches!(kind, Kind::Beat | Kind::Bye);
        if self.cache.is_some() != is_about_a_cache || (must_be_numbered && !is_numbered) {
            return None;
        }
        let (cache, what) = (self.cache.clone(), self.what(kind)?);
        Some(Publication { cache, what, stamp, is_numbered })
    }

    fn stamp(&self, begins: bool) -> Option<Stamp> {
        let (publisher, sequence) = match (&self.publisher, self.sequence) {
            (Some(name), Some(sequence)) if sequence > 0 => (publisher(name)?, sequence),
            (None, None) => (0, 0),
            _ => return None,
        };
        // What says nothing of a cache began at no time.
        let start_ms = if begins { self.start? } else { self.start.is_none().then_some(0)? };
        Some(Stamp { start_ms, publisher, sequence })
    }

    fn what(self, kind: Kind) -> Option<What<'a>> {
        let is_of_cache = self.table.is_none() && self.op.is_none() && self.oversized.is_none();
        if kind == Kind::Value {
            return self.value().filter(|_| is_of_cache).map(|value| What::Value(Box::new(value)));
        }
        let is_bare = self.value.is_none()
            && self.bytes.is_none()
            && self.text.is_none()
            && self.base64.is_none()
            && self.content_type.is_none()
            && self.encoding.is_none()
            && self.ttl.is_none();
        if kind == Kind::Change {
            return rows::change(&self.table?, self.op?, self.key, self.oversized)
                .filter(|_| is_bare)
                .map(|change| What::Change(Box::new(change)));
        }
        match (kind, self.key) {
            _ if !is_bare || !is_of_cache => None,
            (Kind::Delete, Some(key)) => Some(What::Delete(key.key()?)),
            (Kind::Clear, None) => Some(What::Clear),
            (Kind::Beat, None) => Some(What::Beat),
            (Kind::Bye, None) => Some(What::Bye),
            _ => None,
        }
    }

    fn value(self) -> Option<Published<'a>> {
        let (body, of): (Cow<'a, [u8]>, _) = match (self.value, self.text, self.base64, self.bytes) {
            (Some(json), None, None, None) => (json.get().as_bytes().into(), "application/json"),
            (None, Some(text), None, None) => (bytes(text), "text/plain; charset=utf-8"),
            (None, None, Some(text), None) => (BASE64_STANDARD.decode(&*text).ok()?.into(), BYTES),
            (None, None, None, Some(bytes)) => (bytes.into(), BYTES),
            _ => return None,
        };
        let coding = match self.encoding {
            Some(name) => Some(Coding::named(&name)?),
            None => None,
        };
        let content_type = self.content_type.unwrap_or(Cow::Borrowed(of));
        // It becomes a header as it is.
        let is_type = |text: &str| {
            (1..=MAX_TYPE).contains(&text.len()) && text.bytes().all(|b| matches!(b, b' '..=b'~'))
        };
        if !is_type(&content_type) {
            return None;
        }
        let ttl = self.ttl.filter(|ttl| *ttl > 0).map(Duration::from_millis)?;
        Some(Published { key: self.key?.key()?, body, content_type, coding, ttl })
    }
}

fn bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => text.as_bytes().into(),
        Cow::Owned(text) => text.into_bytes().into(),
    }
}

impl Named<'_> {
    /// A cache's key, as a request's path would name it.
    fn key(self) -> Option<Key> {
        let segments = match self {
            Self::Json(json) => serde_json::from_str(json.get()).ok()?,
            Self::Text(segment) => Segments::One(segment),
        };
        let segments = match segments {
            Segments::One(segment) => vec![segment],
            Segments::Many(segments) => segments,
        };
        let is_one = |segment: &str| !matches!(segment, "" | "." | "..");
        let length: usize = segments.iter().map(|segment| segment.len() + 1).sum();
        let fits = !segments.is_empty() && length <= MAX_KEY + 1 && segments.iter().all(|s| is_one(s));
        fits.then(|| Key::from_columns(segments))
    }
}

#[cfg(test)]
mod tests;
