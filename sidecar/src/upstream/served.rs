//! What the application is answered.

use bytes::Bytes;
use hyper::StatusCode;

use super::{Origin, departure::Landed, failure::Failure, judge::Forward};
use crate::{
    clock::Tick,
    entry::{Entry, etag},
};

/// An answer to the application.
#[derive(Debug)]
pub struct Served {
    /// The status.
    pub status: StatusCode,
    /// The media type, empty if there is none.
    pub content_type: Bytes,
    /// The body.
    pub body: Bytes,
    /// Our entity tag of it.
    pub etag: Bytes,
    /// Whole seconds since the upstream made it.
    pub age: u64,
    /// Whether it is stored, so that it can be asked for again.
    pub stored: bool,
    /// How it was come by, as `Cache-Status` has it.
    pub cache_status: String,
}

/// Why there is no answer to the application.
#[derive(Debug)]
pub enum Refused {
    /// Nothing is stored that the request takes, and it takes nothing else.
    NotCached(Forward),
    /// Nothing is stored that could be served, and the upstream has failed.
    Failed(Forward, Failure),
}

// === impl Served ===

impl Served {
    /// The answer from what is stored.
    pub(super) fn hit(entry: &Entry, origin: &Origin, now: Tick, detail: Option<&str>) -> Self {
        let mut cache_status = format!("freshet; hit; ttl={}", origin.life.ttl(now));
        if let Some(detail) = detail {
            cache_status.push_str("; detail=");
            cache_status.push_str(detail);
        }
        Self {
            status: origin.status(),
            content_type: entry.content_type.clone(),
            body: entry.body.clone(),
            etag: entry.etag.clone(),
            age: origin.life.age(now).as_secs(),
            stored: true,
            cache_status,
        }
    }

    /// The answer from what has just been fetched.
    pub(super) fn fetched(landed: &Landed, forward: Forward, collapsed: bool, now: Tick) -> Self {
        let status = if landed.revalidated { 304 } else { landed.status.as_u16() };
        let mut cache_status = format!("freshet; fwd={}; fwd-status={status}", forward.as_str());
        if landed.stored {
            cache_status.extend(["; stored; ttl=", &landed.life.ttl(now).to_string()]);
        }
        if collapsed {
            cache_status.push_str("; collapsed");
        }
        Self {
            status: landed.status,
            content_type: landed.content_type.clone(),
            body: landed.body.clone(),
            etag: etag(&landed.content_type, &landed.body),
            age: landed.life.age(now).as_secs(),
            stored: landed.stored,
            cache_status,
        }
    }
}
