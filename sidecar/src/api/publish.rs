//! `POST /v1/{cache}/_publish`: what this pod's application tells every pod's cache.

use std::time::Duration;

use bytes::Bytes;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderValue},
};
use serde_json::json;
use tokio::sync::oneshot;

use super::{
    Api,
    batch::Served,
    body::OUTGOING,
    connection::{Patience, Phase},
    directives::{self, is_media_type},
    fill::unsupported_type,
    problem::Problem,
    reply::{Content, Reply},
};
use crate::{
    clock::Tick,
    publishing::{Order, Outcome, Receipt, Says, hindrance},
};
use wire::{Asked, too_large};

mod wire;

/// How long a request may wait for its outcome, and for what was written to come back.
const PATIENCE: Duration = Duration::from_secs(5);
/// When to come again where nothing can be published now, in seconds.
const AGAIN: &str = "1";

/// Reads all that a request says, for the fuzzer; `None` if it is refused.
pub(crate) fn taken(body: &[u8], limit: u64) -> Option<Vec<Says>> {
    Asked::parse(body).ok()?.says("quotes", limit).ok()
}

/// Answers a request to publish.
pub(super) async fn answer(
    api: &Api,
    served: Served<'_>,
    patience: &Patience,
    request: &mut Request<Incoming>,
) -> Result<Reply, Problem> {
    if *request.method() != Method::POST {
        return Err(Problem::method("POST"));
    }
    expect_json(request.headers())?;
    let (catalog, cache) =
        served.map_err(|reason| unavailable(&format!("nobody knows where to: {}", reason.as_str())))?;
    if !cache.spec.published {
        return Err(not_published(&cache.spec.name));
    }
    if let Some(why) = hindrance(&cache.feed.spec) {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "not-publishable",
            "Nothing can be published to this source",
            format!(
                "through a sidecar nothing can be published to the source `{}`: {why}",
                cache.feed.spec.name
            ),
        ));
    }
    let refuse = |limit| too_large(format!("a request has at most {limit} bytes")).with("limit", limit);
    let received = api.outgoing.receive(request.body_mut(), OUTGOING.into(), refuse, patience).await?;
    let says = Asked::parse(&received.bytes)?.says(&cache.spec.name, catalog.sidecar.max_value)?;
    // It has copies of all that it says.
    drop(received.bytes);
    patience.enter(Phase::Working);
    let until = Tick::now() + PATIENCE;
    let (reply, outcome) = oneshot::channel();
    let order =
        Order { says, skew: catalog.freshness.clock_skew, until, reply, room: Box::new(received.room) };
    cache.feed.publishing.put(order).map_err(|_| unavailable("too many requests wait already"))?;
    // Nobody waits for ever, whatever has become of whoever was to write it.
    let outcome = tokio::time::timeout(PATIENCE * 6, outcome).await;
    let outcome = outcome.ok().and_then(Result::ok);
    let outcome = outcome.unwrap_or_else(|| Outcome::Unknown("whoever wrote it is gone".to_owned()));
    match outcome {
        Outcome::Written(receipt) => Ok(written(receipt, until).await),
        Outcome::Unavailable(why) => Err(unavailable(&why)),
        Outcome::Refused(why) => Err(refused(&format!("nothing of it was written: {why}"))),
        Outcome::Partly(why) => Err(refused(&format!("a part of it was written, or may have been: {why}"))),
        Outcome::Unknown(why) => Err(Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "publish-unknown",
            "Nobody knows whether it was published",
            format!(
                "it is written once more, until the source has answered: publish what holds by then. {why}"
            ),
        )),
    }
}

/// Nothing is published to a cache of answers.
pub(super) fn of_upstream(method: &Method, name: &str) -> Problem {
    if *method == Method::POST { not_published(name) } else { Problem::method("POST") }
}

async fn written(receipt: Receipt, until: Tick) -> Reply {
    let Receipt { publisher, sequence, start_ms, applied } = receipt;
    let back = tokio::time::timeout(until.since(Tick::now()), applied).await;
    let applied = matches!(back, Ok(Ok(())));
    let document =
        json!({"applied": applied, "start": start_ms, "publisher": publisher, "sequence": sequence});
    let mut reply = Response::new(Content::from(Bytes::from(document.to_string())));
    *reply.status_mut() = if applied { StatusCode::OK } else { StatusCode::ACCEPTED };
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

fn expect_json(headers: &hyper::HeaderMap) -> Result<(), Problem> {
    match directives::header(headers, "content-type")? {
        Some(given) if is_media_type(given.as_bytes(), "application/json") => Ok(()),
        _ => Err(unsupported_type(
            "what is published is sent as Content-Type: application/json: give bytes of another type as `base64`",
        )),
    }
}

fn not_published(name: &str) -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "not-published",
        "Nothing is published to this cache",
        format!("the cache `{name}` isn't `published: true`: its values are filled, or come from elsewhere"),
    )
}

fn unavailable(why: &str) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "publish-unavailable",
        "Nothing can be published now",
        format!("nothing of it was written: {why}"),
    )
    .with_header(header::RETRY_AFTER, HeaderValue::from_static(AGAIN))
}

fn refused(why: &str) -> Problem {
    Problem::new(StatusCode::BAD_GATEWAY, "publish-refused", "The source doesn't take it", why)
}
