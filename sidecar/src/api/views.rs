//! The API of views.

use std::time::Duration;

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, Response, StatusCode, Uri,
    header::{self, HeaderName, HeaderValue},
};
use serde_json::json;

use super::{
    Api, accept,
    body::Held,
    directives::{self, ReadDirectives},
    problem::Problem,
    reply::{Content, Reply, value},
    routes::{POSITION, bad_query, hit_status, sources},
    waiting,
};
use crate::{
    catalog::Catalog,
    clock::Tick,
    engine::Unshown,
    entry::quoted,
    freshness::Reason,
    views::{
        View,
        board::Incomplete,
        ranking::Ranked,
        rows::{Freshness, RowView, Top},
        service::read,
    },
};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What a view is in, unless it is asked for in CBOR.
const JSON: &[u8] = b"application/json";

/// How many keys a problem's sentence names; all are in its member `missing`.
const NAMED: usize = 3;

/// Answers a request of the view of this name.
pub(super) async fn answer(
    api: &Api,
    catalog: Option<&Catalog>,
    method: &Method,
    uri: &Uri,
    name: &str,
    headers: &HeaderMap,
) -> Result<Reply, Problem> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Problem::method("GET, HEAD"));
    }
    let n = wanted(uri)?;
    let Some(catalog) = catalog else { return Err(off(Reason::NoBinding)) };
    if catalog.views_off.contains(name) {
        return Err(off(Reason::BindingTooNew));
    }
    let within = |limit: usize| match n {
        None => Ok(limit),
        Some(n) if n <= limit => Ok(n),
        Some(_) => Err(bad_size(format!("the view's limit is {limit}"))),
    };
    if let Some(view) = catalog.row_views.get(name) {
        let n = within(view.spec.limit)?;
        let directives = ReadDirectives::parse(headers, Some(&sources(catalog)))?;
        let top = waiting::top(&api.engine, catalog, view, &directives).await;
        let Top { ranked, freshness } = top.map_err(|why| unshown(view, why))?;
        return Ok(reply(&ranked, n, freshness, headers));
    }
    let view = catalog.views.get(name).ok_or_else(|| unknown(name, catalog))?;
    let (n, now) = (within(view.spec.limit)?, Tick::now());
    let board = read(&api.upstreams, view, now).await.map_err(|incomplete| partial(view, &incomplete))?;
    let ranked = board.top(view).map_err(|incomplete| partial(view, &incomplete))?;
    let (standing, now) = (board.standing(), Tick::now());
    let freshness =
        Freshness { age: standing.age(now), ttl: standing.ttl(now), detail: standing.stale, position: None };
    Ok(reply(ranked, n, freshness, headers))
}

/// How many items are asked for, if that is said.
fn wanted(uri: &Uri) -> Result<Option<usize>, Problem> {
    let Some(query) = uri.query() else { return Ok(None) };
    let mut n = None;
    for (name, text) in form_urlencoded::parse(query.as_bytes()) {
        if name != "n" {
            return Err(bad_query("a view takes `n` alone, how many items are wanted"));
        }
        let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse().unwrap_or(usize::MAX);
        if !is_number || number == 0 || n.replace(number).is_some() {
            return Err(bad_size("`n` is one number, at least 1".to_owned()));
        }
    }
    match n {
        None => Err(bad_query("a view takes `n` alone, how many items are wanted")),
        n => Ok(n),
    }
}

fn reply(ranked: &Ranked, n: usize, freshness: Freshness, request: &HeaderMap) -> Reply {
    let (pieces, digest) = ranked.first(n);
    let (mut etag, mut content_type, mut pieces) =
        (quoted(digest), Bytes::from_static(JSON), Vec::from(pieces));
    if let Some(converted) = accept::converted(request, JSON, || pieces.concat().into()) {
        (etag, content_type, pieces) = (converted.etag, converted.content_type, vec![converted.body]);
    }
    let mut reply = if directives::none_match(request, &[&etag]).is_some() {
        let mut reply = Response::new(Content::from(Bytes::new()));
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
        reply
    } else {
        let mut reply = Response::new(Content::pieces(pieces, Held::default()));
        reply.headers_mut().insert(header::CONTENT_TYPE, value(content_type));
        reply
    };
    let headers = reply.headers_mut();
    headers.insert(header::ETAG, value(etag));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(header::AGE, HeaderValue::from(freshness.age));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CACHE_STATUS, value(hit_status(freshness.ttl, freshness.detail).into()));
    if let Some(position) = freshness.position {
        headers.insert(POSITION, value(position));
    }
    reply
}

fn bad_size(detail: String) -> Problem {
    Problem::bad_request("view-size", "So many items can't be asked for", detail)
}

fn unknown(name: &str, catalog: &Catalog) -> Problem {
    let mut views: Vec<_> = catalog.views.keys().chain(catalog.row_views.keys()).cloned().collect();
    views.sort_unstable();
    let name: String = name.chars().take(64).collect();
    let has = match views.as_slice() {
        [] => "it has none".to_owned(),
        views => format!("it has: {}", views.join(", ")),
    };
    let detail = format!("the binding `{}` has no view `{name}`; {has}", catalog.binding);
    Problem::new(StatusCode::NOT_FOUND, "unknown-view", "There is no such view", detail).with("views", views)
}

fn incomplete(detail: String, seconds: u64) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "view-incomplete", "The view isn't whole", detail)
        .with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
}

/// Nothing is known of the view.
fn off(reason: Reason) -> Problem {
    let detail = match reason {
        Reason::BindingTooNew => {
            "only a newer version of the sidecar knows all of the view's definition: it is off"
        }
        _ => "there is no binding yet",
    };
    incomplete(detail.to_owned(), 10).with("missing", json!([]))
}

/// Nothing of a view over rows is shown.
fn unshown(view: &RowView, why: Unshown) -> Problem {
    let (cache, seconds) = (&view.spec.cache, why.retry_after().as_secs());
    let detail = match why {
        Unshown::Incomplete(why) => format!("not all rows of `{cache}` are there: {why}"),
        Unshown::Stale(reason) => {
            format!("nothing vouches for the rows of `{cache}` now: its source is {}", reason.as_str())
        }
        Unshown::TooStale => {
            format!("the rows of `{cache}` aren't known to be as fresh as Freshet-Max-Staleness asks")
        }
        Unshown::Position => format!(
            "what Freshet-Min-Position names hasn't been applied to the rows of `{cache}` yet: `Prefer: wait` waits for it"
        ),
        Unshown::Changing => format!("a large transaction is changing the rows of `{cache}`"),
        Unshown::PositionUnknown => {
            format!(
                "nobody knows whether what Freshet-Min-Position names has been applied to the rows of `{cache}`"
            )
        }
    };
    incomplete(detail, seconds).with("missing", json!([]))
}

/// How long who asks is told to wait where there is no room: nothing but another binding, or smaller answers, changes that.
const NO_ROOM: Duration = Duration::from_secs(30);

/// Something of it is missing.
fn partial(view: &View, what: &Incomplete) -> Problem {
    let now = Tick::now();
    let least = what.no_room.map_or(Duration::ZERO, |_| NO_ROOM);
    let wait = view.upstream.open_from(now).max(what.next).since(now).max(least);
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    let missing = &what.missing;
    let detail = match (what.no_room, missing.as_slice()) {
        (Some(most), _) => format!(
            "all answers are there, but views hold at most {most} bytes, a quarter of the binding's memory, and what was ranked \
             doesn't fit: raise memory, or lower the view's limit"
        ),
        (None, []) => "its items could not be ranked".to_owned(),
        (None, missing) => {
            let named =
                missing.iter().take(NAMED).map(|missing| format!("`{}`: {}", missing.key, missing.why));
            let named = named.collect::<Vec<_>>().join("; ");
            let more = missing.len().saturating_sub(NAMED);
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            format!(
                "{} of {} keys of `{}` are missing: {named}{more}",
                missing.len(),
                view.spec.keys.len(),
                view.spec.cache
            )
        }
    };
    let missing: Vec<_> = missing.iter().map(|m| json!({"key": m.key, "why": m.why})).collect();
    incomplete(detail, u64::try_from(seconds).unwrap_or(u64::MAX)).with("missing", missing)
}
