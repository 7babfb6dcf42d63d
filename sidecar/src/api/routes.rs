//! The paths of the application's API and what each answers.

use std::sync::Arc;

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Uri,
    body::Incoming,
    header::{self, HeaderName, HeaderValue},
};
use tokio::sync::watch;

use super::{
    Api, accept, batch,
    body::{Room, too_large},
    connection::{Patience, Phase},
    depends,
    directives::{self, FillDirectives, ReadDirectives},
    events,
    fill::{Awaited, Place, Said, count_refused},
    problem::Problem,
    publish,
    reply::{Content, Reply, empty, value},
    rows, upstream, views, waiting,
};
use crate::{
    catalog::{Cache, Catalog},
    clock::Tick,
    engine::{Answer, Engine, Hit, Miss},
    freshness::Reason,
    key::Key,
    status,
};

/// What all of this is, in OpenAPI 3.1.
const OPENAPI: &[u8] = include_bytes!("../../openapi.json");

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
pub(super) const POSITION: HeaderName = HeaderName::from_static("freshet-position");

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
    if path == "/v1/events" {
        return events::answer(engine, &api.streams, patience, stop, request);
    }
    let document = match path {
        "/v1/status" => Some(Bytes::from(status::report(engine, binding, Tick::now()).to_string())),
        "/openapi.json" => Some(Bytes::from_static(OPENAPI)),
        _ => None,
    };
    if let Some(document) = document {
        no_query(&uri)?;
        return match *request.method() {
            Method::GET | Method::HEAD => Ok(json(document)),
            _ => Err(Problem::method("GET, HEAD")),
        };
    }
    let Some(path) = path.strip_prefix("/v1/") else { return Err(Problem::no_such_path(path)) };
    let Some((name, key)) = path.split_once('/') else { return Err(Problem::no_such_path(uri.path())) };
    if name == "views" {
        patience.enter(Phase::Working);
        let (catalog, method, headers) = (engine.catalog(), request.method(), request.headers());
        return views::answer(api, catalog.as_deref(), method, &uri, key, headers).await;
    }
    if name == "_tags" {
        no_query(&uri)?;
        return void_tag(engine, request.method(), key);
    }
    if name.starts_with('_')
        || (key.starts_with('_') && !matches!(key, "_batch" | "_publish") && !key.starts_with("_by/"))
    {
        return Err(Problem::reserved());
    }
    let catalog = engine.catalog();
    if let Some(catalog) = &catalog
        && let Some(cache) = catalog.upstreams.get(name)
    {
        if key == "_publish" {
            no_query(&uri)?;
            return Err(publish::of_upstream(request.method(), name));
        }
        if key.starts_with('_') {
            return Err(Problem::reserved());
        }
        patience.enter(Phase::Working);
        let (method, headers) = (request.method(), request.headers());
        return upstream::answer(&api.upstreams, catalog, cache, method, &uri, headers).await;
    }
    let served = match &catalog {
        None => Err(Reason::NoBinding),
        Some(catalog) if catalog.off.contains(name) => Err(Reason::BindingTooNew),
        Some(catalog) => {
            let cache = catalog.caches.get(name).ok_or_else(|| unknown_cache(name, catalog))?;
            Ok((&**catalog, cache))
        }
    };
    if key == "_batch" {
        no_query(&uri)?;
        return batch::answer(api, served, patience, request).await;
    }
    if key == "_publish" {
        no_query(&uri)?;
        return publish::answer(api, served, patience, request).await;
    }
    let (catalog, cache) = match served {
        Ok(served) => served,
        // What kind of cache it will be isn't known: perhaps one that takes queries.
        Err(reason) => return not_served(request, reason),
    };
    no_query(&uri)?;
    let key = rows::key(cache, key)?;
    if matches!(*request.method(), Method::PUT | Method::DELETE) {
        unconditional(request.headers())?;
    }
    if *request.method() != Method::PUT {
        // Its body, if it has one, is nobody's: a reader who waits isn't sending it slowly.
        patience.enter(Phase::Working);
    }
    match *request.method() {
        Method::GET => read(engine, catalog, cache, &key, request.headers(), true).await,
        Method::HEAD => read(engine, catalog, cache, &key, request.headers(), false).await,
        Method::PUT => {
            let place = Place { catalog, cache, key: &key };
            fill(engine, place, room, patience, request).await
        }
        Method::DELETE => {
            engine.delete(cache, &key, Tick::now());
            Ok(empty(StatusCode::NO_CONTENT))
        }
        _ => Err(Problem::method("GET, HEAD, PUT, DELETE")),
    }
}

/// Only what upstreams are asked has queries.
fn no_query(uri: &Uri) -> Result<(), Problem> {
    if uri.query().is_none() {
        return Ok(());
    }
    Err(bad_query("the path alone names a value: encode a `?` in a key as %3F"))
}

/// A query, or a part of one, that the path doesn't take.
pub(super) fn bad_query(detail: &str) -> Problem {
    Problem::bad_request("query", "Queries are not taken", detail)
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
    let tag = depends::tag(raw).map_err(|error| Problem::key(&error))?;
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

pub(super) fn not_cached() -> Problem {
    Problem::new(
        StatusCode::GATEWAY_TIMEOUT,
        "not-cached",
        "Nothing is cached",
        "the request takes cached values only, and there is none to serve",
    )
}

/// The answer where there is nothing to serve.
fn missed(miss: Miss, only_if_cached: bool) -> Result<Reply, Problem> {
    if only_if_cached {
        return Err(not_cached().with_header(CACHE_STATUS, value(miss_status(&miss).into())));
    }
    Ok(miss_reply(miss))
}

async fn fill(
    engine: &Engine,
    place: Place<'_>,
    room: &Room,
    patience: &Patience,
    request: &mut Request<Incoming>,
) -> Result<Reply, Problem> {
    let stored = async {
        let headers = request.headers();
        let said = Said {
            lease: directives::header(headers, "freshet-lease")?,
            directives: FillDirectives::parse(headers, &sources(place.catalog))?,
            content_type: headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes),
            coding: directives::content_coding(headers)?,
            depends: depends::header(headers)?,
            most: depends::IN_HEADER,
        };
        let awaited = Awaited::of(engine, place, said)?;
        let limit = place.catalog.sidecar.max_value;
        let received = room.receive(request.body_mut(), limit, too_large, patience).await?;
        awaited.store(engine, place, received.bytes.clone())
    };
    stored.await.inspect_err(|problem| count_refused(place.cache, problem))?;
    Ok(empty(StatusCode::NO_CONTENT))
}

fn hit_reply(hit: Hit, request: &HeaderMap) -> Reply {
    let Hit { entry, age, ttl, detail, position } = hit;
    let status = hit_status(ttl, detail);
    let varies = !entry.absent && accept::varies(&entry.content_type);
    let converted =
        varies.then(|| accept::converted(request, &entry.content_type, || entry.plain())).flatten();
    let coded = entry.coded.as_deref();
    let sent = coded.filter(|coded| converted.is_none() && directives::accepts(request, coded.coding));
    let mut etag = sent.map_or(&entry.etag, |coded| &coded.etag);
    let mut etags = [etag, &entry.etag, coded.map_or(etag, |coded| &coded.etag)];
    if let Some(converted) = &converted {
        etag = &converted.etag;
        etags = [etag; 3];
    }
    let mut reply = if entry.absent {
        empty(StatusCode::NOT_FOUND)
    } else if let Some(matched) = directives::none_match(request, &etags) {
        etag = matched;
        empty(StatusCode::NOT_MODIFIED)
    } else {
        let (content_type, body) = match &converted {
            Some(converted) => (&converted.content_type, converted.body.clone()),
            None if sent.is_some() => (&entry.content_type, entry.body.clone()),
            None => (&entry.content_type, entry.plain()),
        };
        let mut reply = Response::new(Content::from(body));
        let headers = reply.headers_mut();
        headers.insert(header::CONTENT_TYPE, value(content_type.clone()));
        if let Some(coded) = sent {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coded.coding.as_str()));
        }
        reply
    };
    let headers = reply.headers_mut();
    if !entry.absent {
        headers.insert(header::ETAG, value(etag.clone()));
    }
    let vary = match (varies, coded.is_some()) {
        (true, true) => Some("Accept, Accept-Encoding"),
        (true, false) => Some("Accept"),
        (false, true) => Some("Accept-Encoding"),
        (false, false) => None,
    };
    if let Some(vary) = vary {
        headers.insert(header::VARY, HeaderValue::from_static(vary));
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
    let status = value(miss_status(&miss).into());
    let mut reply = empty(StatusCode::NOT_FOUND);
    let headers = reply.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CACHE_STATUS, status);
    if let Some(grant) = miss.lease {
        headers.insert("freshet-lease", value(grant.token.into()));
        headers.insert("freshet-fill", HeaderValue::from_static(grant.fill.as_str()));
    }
    reply
}

/// What Cache-Status says of a hit.
pub(super) fn hit_status(ttl: i64, detail: Option<&str>) -> String {
    let mut status = format!("freshet; hit; ttl={ttl}");
    push_detail(&mut status, detail);
    status
}

/// What Cache-Status says of a miss.
pub(super) fn miss_status(miss: &Miss) -> String {
    let mut status = String::from(if miss.stale { "freshet; fwd=stale" } else { "freshet; fwd=miss" });
    push_detail(&mut status, miss.detail);
    status
}

fn push_detail(status: &mut String, detail: Option<&str>) {
    if let Some(detail) = detail {
        status.push_str("; detail=");
        status.push_str(detail);
    }
}

/// The answers where nothing can be cached.
fn not_served(request: &Request<Incoming>, reason: Reason) -> Result<Reply, Problem> {
    match *request.method() {
        Method::GET | Method::HEAD => {
            let directives = ReadDirectives::parse(request.headers(), None)?;
            let miss = Miss { stale: true, detail: Some(reason.as_str()), lease: None, pending: None };
            missed(miss, directives.only_if_cached)
        }
        Method::DELETE => Ok(empty(StatusCode::NO_CONTENT)),
        Method::PUT => Err(no_lease(reason)),
        _ => Err(Problem::method("GET, HEAD, PUT, DELETE")),
    }
}

/// Why no lease can be one of this sidecar's.
pub(super) fn no_lease(reason: Reason) -> Problem {
    let detail = match reason {
        Reason::BindingTooNew => "this cache is off: no lease is given for it",
        _ => "without a binding no lease is given",
    };
    Problem::bad_request("lease", "Not a lease of this sidecar", detail)
}

fn json(document: Bytes) -> Reply {
    let mut reply = Response::new(Content::from(document));
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// Refuses what is to happen under another condition than a lease's.
fn unconditional(headers: &HeaderMap) -> Result<(), Problem> {
    let conditions = [header::IF_MATCH, header::IF_NONE_MATCH, header::IF_UNMODIFIED_SINCE];
    let Some(given) = conditions.into_iter().find(|name| headers.contains_key(name)) else { return Ok(()) };
    Err(Problem::bad_request(
        "precondition",
        "Conditions are for reads",
        format!(
            "nothing was done, because `{given}` would not be looked at: a fill's condition is its lease"
        ),
    ))
}

/// The key that a path spells.
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

pub(super) fn sources(catalog: &Catalog) -> Vec<&str> {
    catalog.feeds.iter().map(|(feed, _)| feed.spec.name.as_str()).collect()
}
