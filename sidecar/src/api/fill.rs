//! Fills: what a request or a batch's item says of a value, judged and stored.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use freshet_crds::OnChange;
use hyper::{
    StatusCode,
    header::{self, HeaderValue},
};

use super::{
    body, depends,
    directives::{self, FillDirectives},
    problem::Problem,
    rows,
};
use crate::{
    catalog::{Cache, Catalog},
    clock::Now,
    coding::{Coding, DecodeError},
    dependencies::On,
    engine::{BadLease, Engine, Fill, ROW_TYPE, ROW_TYPE_IN_CBOR, Terms},
    entry::{Coded, Value},
    key::Key,
    lease::Lease,
};

/// What a path names.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) cache: &'a Arc<Cache>,
    pub(super) key: &'a Key,
}

/// What is said of a value.
pub(super) struct Said<'a> {
    pub(super) lease: Option<&'a str>,
    pub(super) directives: FillDirectives,
    pub(super) content_type: Option<&'a [u8]>,
    pub(super) coding: Option<Coding>,
    /// What the value depends on, besides what its cache does.
    pub(super) depends: Option<Vec<&'a str>>,
    /// How many that may be.
    pub(super) most: usize,
}

/// What can be filled, once its value is there.
pub(super) struct Awaited {
    lease: Lease,
    directives: FillDirectives,
    content_type: Bytes,
    on: Vec<On>,
    coding: Option<Coding>,
    /// Whether it is a row in CBOR, which is stored in JSON.
    is_cbor_row: bool,
}

impl Awaited {
    /// What can be said of a fill before its value is there.
    pub(super) fn of(
        engine: &Engine,
        Place { catalog, cache, key }: Place<'_>,
        said: Said<'_>,
    ) -> Result<Self, Problem> {
        let Said { lease, directives, content_type, coding, depends, most } = said;
        let Some(token) = lease else {
            return Err(Problem::new(
                StatusCode::PRECONDITION_REQUIRED,
                "lease-required",
                "A lease is required",
                "a value is filled with the Freshet-Lease that a miss answered: GET first, then read, then PUT",
            ));
        };
        let lease = engine.lease(cache, key, token).map_err(bad_lease)?;
        let on = depends::resolve(engine, catalog, cache, depends.as_deref(), most)?;
        let is = |wanted| content_type.is_some_and(|given| directives::is_media_type(given, wanted));
        let (is_row, is_cbor_row) = (is(ROW_TYPE), is(ROW_TYPE_IN_CBOR));
        let holds_rows = !directives.absent && cache.spec.on_change == OnChange::Hydrate;
        let content_type = if directives.absent || cache.spec.on_change != OnChange::Hydrate {
            Bytes::copy_from_slice(content_type.unwrap_or(b"application/octet-stream"))
        } else if is_row || is_cbor_row {
            // As hydration writes it: an ETag covers the type, and has to be the same in all pods.
            Bytes::from_static(ROW_TYPE.as_bytes())
        } else {
            let detail =
                format!("this cache holds rows: its values are of type {ROW_TYPE}, or {ROW_TYPE_IN_CBOR}");
            return Err(unsupported_type(detail));
        };
        if coding.is_some() && cache.spec.on_change == OnChange::Hydrate {
            return Err(unsupported_coding(
                "this cache holds rows, as they are: send them without a Content-Encoding",
            ));
        }
        Ok(Self { lease, directives, content_type, on, coding, is_cbor_row: holds_rows && is_cbor_row })
    }

    /// Stores the value, unless a change or another value came in between.
    pub(super) fn store(
        self,
        engine: &Engine,
        Place { catalog, cache, key }: Place<'_>,
        body: Bytes,
    ) -> Result<(), Problem> {
        let Self { lease, mut directives, content_type, mut on, coding, is_cbor_row } = self;
        let body = if is_cbor_row { rows::in_json(&body)? } else { body };
        if is_cbor_row && body.len() as u64 > catalog.sidecar.max_value {
            return Err(body::too_large(catalog.sidecar.max_value));
        }
        if directives.absent && !body.is_empty() {
            return Err(Problem::bad_request(
                "absent-body",
                "An absence has no value",
                "Freshet-Absent: ?1 goes with an empty body",
            ));
        }
        let position = directives.position(&cache.feed.spec.name);
        let coded = match coding.filter(|_| !directives.absent) {
            Some(coding) => Some(Box::new(coded(coding, &content_type, &body, catalog.sidecar.max_value)?)),
            None => None,
        };
        let absent = directives.absent;
        let row = if absent { rows::Row::default() } else { rows::take(engine, cache, key, body)? };
        on.extend(row.on);
        let value = Value { body: row.body, content_type, absent, coded };
        let (max_age, age) = (directives.max_age, directives.age);
        let terms = Terms { max_age, age, position, on, names: row.names };
        let fill = Fill { lease, value, terms };
        engine.fill(catalog, cache, key, fill, Now::read()).map_err(|_| fenced())
    }
}

/// Counts a fill that was refused for what was said of it. Fenced ones the engine counts.
pub(super) fn count_refused(cache: &Cache, problem: &Problem) {
    if problem.status() != StatusCode::CONFLICT {
        cache.stats.fills_refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// Decodes a value, to know that it can be.
fn coded(coding: Coding, content_type: &[u8], body: &[u8], limit: u64) -> Result<Coded, Problem> {
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let plain = coding.decode(body, most).map_err(|error| match error {
        DecodeError::TooLarge => body::too_large(limit),
        DecodeError::Malformed => Problem::bad_request(
            "encoding",
            "The value isn't in its encoding",
            format!(
                "Content-Encoding says `{}`, and the body can't be decoded so: nothing was stored",
                coding.as_str()
            ),
        ),
    })?;
    Ok(Coded::new(coding, content_type, body, &plain))
}

pub(super) fn unsupported_coding(detail: impl Into<String>) -> Problem {
    let taken = HeaderValue::from_static(Coding::NAMES);
    unsupported_type(detail).with_header(header::ACCEPT_ENCODING, taken)
}

pub(super) fn unsupported_type(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "The media type isn't taken", detail)
}

fn fenced() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "fenced",
        "A change or another value came in between",
        "the value may be older than a change that was applied, or than a value that was stored, since its lease: nothing was stored, use it once and forget it",
    )
}

fn bad_lease(error: BadLease) -> Problem {
    let detail = match error {
        BadLease::Foreign => {
            "this sidecar never gave that lease: it is of another pod, or from before a restart"
        }
        BadLease::OtherKey => "the lease was given for another key",
    };
    Problem::bad_request("lease", "Not a lease for this", detail)
}
