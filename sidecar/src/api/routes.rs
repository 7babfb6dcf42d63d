//! The paths of the application's API and what each answers.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use freshet_crds::OnChange;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderName, HeaderValue},
};
use tokio::sync::watch;

use super::{
    Api,
    body::{Received, Room},
    connection::{Patience, Phase},
    depends,
    directives::{self, FillDirectives, ReadDirectives},
    events,
    problem::Problem,
    reply::{Content, Reply, empty, value},
    waiting,
};
use crate::{
    catalog::{Cache, Catalog},
    clock::{Now, Tick},
    engine::{Answer, BadLease, Engine, Fill, Hit, Miss, ROW_TYPE},
    entry::Value,
    freshness::Reason,
    key::{Key, KeyError},
    loaders::Loading,
    status,
};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const POSITION: HeaderName = HeaderName::from_static("freshet-position");

/// Answers one request.
pub(crate) async fn answer(
    api: &Api,
    patience: &Arc<Patience>,
    stop: &watch::Receiver<bool>,
    request: &mut Request<Incoming>,
) -> Reply {
    match route(api, patience, stop, request).await {
        Ok(reply) => reply,
        Err(problem) => problem.response(),
    }
}

async fn route(
    api: &Api,
    patience: &Arc<Patience>,
    stop: &watch::Receiver<bool>,
    request: &mut Request<Incoming>,
) -> Result<Reply, Problem> {
    let Api { engine, binding, room, .. } = api;
    let uri = request.uri().clone();
    let path = uri.path();
    let Some(path) = path.strip_prefix("/v1/") else { return Err(Problem::no_such_path(path)) };
    if path == "events" {
        return events::answer(engine, &api.streams, patience, stop, request);
    }
    if uri.query().is_some() {
        return Err(Problem::bad_request(
            "query",
            "Queries are not taken",
            "the path alone names a value: encode a `?` in a key as %3F",
        ));
    }
    if path == "status" {
        return match *request.method() {
            Method::GET | Method::HEAD => Ok(status_reply(engine, binding)),
            _ => Err(Problem::method("GET, HEAD")),
        };
    }
    let Some((name, key)) = path.split_once('/') else { return Err(Problem::no_such_path(uri.path())) };
    if name == "_tags" {
        return void_tag(engine, request.method(), key);
    }
    if name.starts_with('_') || key.starts_with('_') {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "reserved",
            "The path is reserved",
            "segments that begin with `_` are the API's own: encode the underscore of a key as %5F",
        ));
    }
    let Some(catalog) = engine.catalog() else {
        return not_served(request, Reason::NoBinding, "without a binding no lease is given");
    };
    if catalog.off.contains(name) {
        return not_served(request, Reason::BindingTooNew, "this cache is off: no lease is given for it");
    }
    let Some(cache) = catalog.caches.get(name) else { return Err(unknown_cache(name, &catalog)) };
    let key =
        cache.with_shape(|shape| Key::from_path(key, shape.forms.as_deref())).map_err(|e| bad_key(&e))?;
    if *request.method() != Method::PUT {
        // Its body, if it has one, is nobody's: a reader who waits isn't sending it slowly.
        patience.enter(Phase::Working);
    }
    match *request.method() {
        Method::GET => read(engine, &catalog, cache, &key, request.headers(), true).await,
        Method::HEAD => read(engine, &catalog, cache, &key, request.headers(), false).await,
        Method::PUT => {
            let place = Place { catalog: &catalog, cache, key: &key };
            fill(engine, place, room, patience, request).await
        }
        Method::DELETE => {
            engine.delete(cache, &key, Tick::now());
            Ok(empty(StatusCode::NO_CONTENT))
        }
        _ => Err(Problem::method("GET, HEAD, PUT, DELETE")),
    }
}

/// Voids what depends on a tag.
fn void_tag(engine: &Engine, method: &Method, raw: &str) -> Result<Reply, Problem> {
    if *method != Method::POST {
        return Err(Problem::method("POST"));
    }
    if raw.contains('/') {
        return Err(Problem::bad_request(
            "key-syntax",
            "The tag is malformed",
            "a tag is one segment: encode a slash in it as %2F",
        ));
    }
    let tag = depends::tag(raw).map_err(|error| bad_key(&error))?;
    engine.void_tag(&tag, Tick::now());
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn read(
    engine: &Engine,
    catalog: &Catalog,
    cache: &Arc<Cache>,
    key: &Key,
    headers: &HeaderMap,
    lease: bool,
) -> Result<Reply, Problem> {
    let directives = ReadDirectives::parse(headers, Some(&sources(catalog)))?;
    let wanted = directives.wanted(&cache.feed.spec.name, lease);
    match waiting::get(engine, catalog, cache, key, wanted, directives.wait).await {
        Answer::Hit(hit) => Ok(hit_reply(hit, headers)),
        Answer::Miss(miss) => missed(miss, directives.only_if_cached),
    }
}

/// The answer where there is nothing to serve.
fn missed(miss: Miss, only_if_cached: bool) -> Result<Reply, Problem> {
    if only_if_cached {
        return Err(Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "not-cached",
            "Nothing is cached",
            "the request takes cached values only, and there is none to serve",
        )
        .with_header(CACHE_STATUS, miss_status(&miss)));
    }
    Ok(miss_reply(miss))
}

/// What a path names.
struct Place<'a> {
    catalog: &'a Catalog,
    cache: &'a Arc<Cache>,
    key: &'a Key,
}

async fn fill(
    engine: &Engine,
    place: Place<'_>,
    room: &Room,
    patience: &Patience,
    request: &mut Request<Incoming>,
) -> Result<Reply, Problem> {
    let taken = take(engine, &place, room, patience, request).await;
    let Place { catalog, cache, key } = place;
    let (fill, _received) = taken.inspect_err(|_| {
        cache.stats.fills_refused.fetch_add(1, Ordering::Relaxed);
    })?;
    engine.fill(catalog, cache, key, fill, Now::read()).map_err(|_| {
        Problem::new(
            StatusCode::CONFLICT,
            "fenced",
            "A change or another value came in between",
            "the value may be older than a change that was applied, or than a value that was stored, since its lease: nothing was stored, use it once and forget it",
        )
    })?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// What a request fills, and the room it takes until it is stored.
async fn take(
    engine: &Engine,
    Place { catalog, cache, key }: &Place<'_>,
    room: &Room,
    patience: &Patience,
    request: &mut Request<Incoming>,
) -> Result<(Fill, Received), Problem> {
    let headers = request.headers();
    let Some(token) = directives::header(headers, "freshet-lease")? else {
        return Err(Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "lease-required",
            "A lease is required",
            "a value is filled with the Freshet-Lease that a miss answered: GET first, then read, then PUT",
        ));
    };
    let lease = engine.lease(cache, key, token).map_err(bad_lease)?;
    let mut fill = FillDirectives::parse(headers, &sources(catalog))?;
    let items = depends::header(headers)?;
    let on = depends::resolve(engine, catalog, cache, items.as_deref(), depends::IN_HEADER)?;
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let content_type = if fill.absent || cache.spec.on_change != OnChange::Hydrate {
        Bytes::copy_from_slice(content_type.unwrap_or(b"application/octet-stream"))
    } else if content_type.is_some_and(|given| directives::is_media_type(given, ROW_TYPE)) {
        // As hydration writes it: an ETag covers the type, and has to be the same in all pods.
        Bytes::from_static(ROW_TYPE.as_bytes())
    } else {
        return Err(unsupported_type(format!("this cache holds rows: its values are of type {ROW_TYPE}")));
    };
    if headers.get(header::CONTENT_ENCODING).is_some_and(|v| v != "identity") {
        return Err(unsupported_type("values are stored as they are: send them without a Content-Encoding"));
    }
    let received = room.receive(request.body_mut(), catalog.sidecar.max_value, patience).await?;
    let body = received.bytes.clone();
    if fill.absent && !body.is_empty() {
        return Err(Problem::bad_request(
            "absent-body",
            "An absence has no value",
            "Freshet-Absent: ?1 goes with an empty body",
        ));
    }
    let value = Value { body, content_type, absent: fill.absent };
    let position = fill.position(&cache.feed.spec.name);
    Ok((Fill { lease, value, max_age: fill.max_age, age: fill.age, position, on }, received))
}

fn hit_reply(hit: Hit, request: &HeaderMap) -> Reply {
    let Hit { entry, age, ttl, detail, position } = hit;
    let mut status = format!("freshet; hit; ttl={ttl}");
    push_detail(&mut status, detail);
    let mut reply = if entry.absent {
        empty(StatusCode::NOT_FOUND)
    } else if directives::none_match(request, &entry.etag) {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        let mut reply = Response::new(Content::from(entry.body.clone()));
        reply.headers_mut().insert(header::CONTENT_TYPE, value(entry.content_type.clone()));
        reply
    };
    let headers = reply.headers_mut();
    if !entry.absent {
        headers.insert(header::ETAG, value(entry.etag.clone()));
    }
    headers.insert(header::AGE, HeaderValue::from(age));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CACHE_STATUS, value(status.into()));
    if let Some(position) = position {
        headers.insert(POSITION, value(position));
    }
    reply
}

fn miss_reply(miss: Miss) -> Reply {
    let status = miss_status(&miss);
    let mut reply = empty(StatusCode::NOT_FOUND);
    let headers = reply.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CACHE_STATUS, status);
    if let Some(grant) = miss.lease {
        headers.insert("freshet-lease", value(grant.token.into()));
        headers.insert(
            "freshet-fill",
            HeaderValue::from_static(match grant.fill {
                Loading::You => "you",
                Loading::Other(_) => "other",
            }),
        );
    }
    reply
}

fn miss_status(miss: &Miss) -> HeaderValue {
    let mut status = String::from(if miss.stale { "freshet; fwd=stale" } else { "freshet; fwd=miss" });
    push_detail(&mut status, miss.detail);
    value(status.into())
}

fn push_detail(status: &mut String, detail: Option<&str>) {
    if let Some(detail) = detail {
        status.push_str("; detail=");
        status.push_str(detail);
    }
}

/// The answers where nothing can be cached.
fn not_served(request: &Request<Incoming>, reason: Reason, no_lease: &str) -> Result<Reply, Problem> {
    match *request.method() {
        Method::GET | Method::HEAD => {
            let directives = ReadDirectives::parse(request.headers(), None)?;
            let miss = Miss { stale: true, detail: Some(reason.as_str()), lease: None, pending: None };
            missed(miss, directives.only_if_cached)
        }
        Method::DELETE => Ok(empty(StatusCode::NO_CONTENT)),
        Method::PUT => Err(Problem::bad_request("lease", "Not a lease of this sidecar", no_lease)),
        _ => Err(Problem::method("GET, HEAD, PUT, DELETE")),
    }
}

fn status_reply(engine: &Engine, binding: &status::BindingWatch) -> Reply {
    let mut reply =
        Response::new(Content::from(Bytes::from(status::report(engine, binding, Tick::now()).to_string())));
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

pub(super) fn unknown_cache(name: &str, catalog: &Catalog) -> Problem {
    let mut caches: Vec<_> = catalog.caches.keys().cloned().collect();
    caches.sort_unstable();
    let name: String = name.chars().take(64).collect();
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown-cache",
        "There is no such cache",
        format!("the binding `{}` has no cache `{name}`; it has: {}", catalog.binding, caches.join(", ")),
    )
    .with("caches", caches)
}

fn bad_key(error: &KeyError) -> Problem {
    let (slug, title) = match error {
        KeyError::TooLong => ("key-too-long", "The key is too long"),
        KeyError::Segment | KeyError::Encoding => ("key-syntax", "The key is malformed"),
        KeyError::Columns { .. } | KeyError::Form { .. } => {
            ("key-form", "The key isn't one that changes would name")
        }
    };
    Problem::bad_request(slug, title, error.to_string())
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

fn unsupported_type(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "The media type isn't taken", detail)
}

fn sources(catalog: &Catalog) -> Vec<&str> {
    catalog.feeds.iter().map(|(feed, _)| feed.spec.name.as_str()).collect()
}
