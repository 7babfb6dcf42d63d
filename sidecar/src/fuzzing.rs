//! Doors for the fuzzer to parsers that nothing else outside needs. No promise is made about them.

use bytes::Bytes;
use hyper::HeaderMap;

use crate::{
    api::batch::{self, Taken},
    api::directives::{
        FillDirectives, ReadDirectives, accepts, content_coding, header, is_media_type, none_match,
    },
    coding::Coding,
    source::reply,
    tail::RawEntry,
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

/// The entries that a reply has, read as each of the replies that are asked for.
#[must_use]
pub fn replies(bytes: &[u8]) -> Vec<RawEntry> {
    let Ok(value) = redis::parse_redis_value(bytes) else { return Vec::new() };
    // Neither reads entries.
    drop((reply::stream_state(value.clone()), reply::identity(&value, &value)));
    let streams = reply::xread(value.clone()).unwrap_or_default();
    let entries = streams.into_iter().flat_map(|(_, entries)| entries);
    entries.chain(reply::entries(value).unwrap_or_default()).collect()
}
