//! Doors for the fuzzer to parsers that nothing else outside needs. No promise is made about them.

use std::sync::Arc;

use bytes::Bytes;
use hyper::HeaderMap;

use crate::{
    api::batch::{self, Taken},
    api::directives::{
        FillDirectives, ReadDirectives, accepts, content_coding, header, is_media_type, none_match,
    },
    api::publish,
    change::Change,
    coding::Coding,
    envelope::{self, StreamRole, write::Apart},
    publication::What,
    publishing::Envelope,
    record::Record,
    source::reply,
};

/// Whether a read and a fill with these headers are refused.
#[must_use]
pub fn directives(headers: &HeaderMap, sources: &[&str]) -> [bool; 2] {
    for etag in headers.values() {
        none_match(headers, &[&Bytes::copy_from_slice(etag.as_bytes())]);
        accepts(headers, Coding::Gzip);
        let _ = content_coding(headers);
        is_media_type(etag.as_bytes(), "text/plain");
    }
    let read =
        ReadDirectives::parse(headers, None).and_then(|_| ReadDirectives::parse(headers, Some(sources)));
    let fill = header(headers, "freshet-lease").and_then(|_| FillDirectives::parse(headers, sources));
    [read.is_err(), fill.is_err()]
}

/// What there is in a batch whose values have at most `limit` bytes; `None` if it is refused.
#[must_use]
pub fn batch(body: &[u8], sources: &[&str], limit: u64) -> Option<Taken> {
    batch::taken(body, sources, limit)
}

/// How many things a request to publish says, and whether each is read from its envelope, in either form, as one; `None` if it
/// is refused.
#[must_use]
pub fn publishing(body: &[u8], limit: u64) -> Option<(usize, bool)> {
    let says = publish::taken(body, limit)?;
    let publisher: Arc<str> = "fuzzer".into();
    let is_read = |fields: &[(Vec<u8>, Vec<u8>)]| match envelope::read(&StreamRole::Routed, fields) {
        Change::Published(said) => said.is_numbered && !matches!(said.what, What::Unreadable(_)),
        _ => false,
    };
    let count = says.len();
    let all = says.into_iter().zip(1..).all(|(says, sequence)| {
        let envelope = Envelope { publisher: Arc::clone(&publisher), sequence, start_ms: 1, says };
        let Some(whole) = envelope::write::whole(&envelope) else { return false };
        let Apart { key, value, headers } = envelope::write::apart(&envelope);
        let bare = [("key", key), ("value", value)].into_iter();
        let bare = bare.filter_map(|(name, part)| Some((name.into(), part?.to_vec())));
        let headers = headers.into_iter().map(|(name, text)| (name.into(), text.into_bytes()));
        is_read(&[(envelope::ENVELOPE.to_vec(), whole)]) && is_read(&headers.chain(bare).collect::<Vec<_>>())
    });
    Some((count, all))
}

/// The entries that a reply has, read as each of the replies that are asked for.
#[must_use]
pub fn replies(bytes: &[u8]) -> Vec<Record> {
    let Ok(value) = redis::parse_redis_value(bytes) else { return Vec::new() };
    // Neither reads entries.
    drop((reply::stream_state(value.clone()), reply::identity(&value, &value)));
    let streams = reply::xread(value.clone(), 1).unwrap_or_default();
    let entries = streams.batches.into_iter().flat_map(|batch| batch.records);
    entries.chain(reply::entries(value).unwrap_or_default()).collect()
}
