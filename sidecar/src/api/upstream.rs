//! The API of caches that read a REST service through.

use std::sync::Arc;

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, Response, StatusCode, Uri,
    header::{self, HeaderName, HeaderValue},
};

use super::{
    accept,
    directives::{self, ReadDirectives},
    problem::Problem,
    reply::{Content, Reply, empty, value},
    routes::not_cached,
};
use crate::{
    catalog::Catalog,
    clock::Tick,
    upstream::{
        Upstream,
        failure::Failure,
        judge::Forward,
        rest::{BadRest, Rest},
        served::{Refused, Served},
        service::Service,
    },
};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Answers a request of an upstream cache. `uri` is the request's, as it came.
pub(super) async fn answer(
    service: &Arc<Service>,
    catalog: &Catalog,
    upstream: &Arc<Upstream>,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Reply, Problem> {
    if !matches!(*method, Method::GET | Method::HEAD | Method::DELETE) {
        return Err(Problem::method("GET, HEAD, DELETE"));
    }
    // Its prefix is what led here.
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    let rest = target.strip_prefix("/v1/").and_then(|path| Some(path.split_once('/')?.1)).unwrap_or_default();
    let rest = Rest::parse(rest).map_err(bad_rest)?;
    if !rest.is_allowed(&upstream.spec.allow) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "not-allowed",
            "The path isn't one that may be asked for",
            format!(
                "the binding lets these be asked of `{}`: {}",
                upstream.spec.name,
                upstream.spec.allow.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            ),
        ));
    }
    if *method == Method::DELETE {
        service.delete(upstream, rest);
        return Ok(empty(StatusCode::NO_CONTENT));
    }
    let wants = ReadDirectives::parse(headers, None)?.of_upstream(accept(headers));
    match service.read(catalog, upstream, rest, &wants).await {
        Ok(served) => Ok(reply(served, headers)),
        Err(Refused::NotCached(forward)) => {
            Err(not_cached().with_header(CACHE_STATUS, status(forward, None)))
        }
        Err(Refused::Failed(forward, failure)) => Err(failed(&failure, forward)),
    }
}

/// The text of `Accept`, which the upstream is sent; all types are what no `Accept` means, too.
fn accept(headers: &HeaderMap) -> Option<Bytes> {
    let lines: Vec<_> = headers.get_all(header::ACCEPT).iter().map(HeaderValue::as_bytes).collect();
    let text = lines.join(&b", "[..]);
    (!text.is_empty() && text != b"*/*").then(|| text.into())
}

fn reply(served: Served, request: &HeaderMap) -> Reply {
    let Served { status, mut content_type, mut body, mut etag, age, stored, cache_status } = served;
    let has_tag = status == StatusCode::OK;
    let varies = has_tag && accept::varies(&content_type);
    let converted = varies.then(|| accept::converted(request, &content_type, || body.clone())).flatten();
    if let Some(converted) = converted {
        (content_type, body, etag) = (converted.content_type, converted.body, converted.etag);
    }
    let is_known = has_tag && directives::none_match(request, &[&etag]).is_some();
    let mut reply = Response::new(Content::from(if is_known { Bytes::new() } else { body }));
    *reply.status_mut() = if is_known { StatusCode::NOT_MODIFIED } else { status };
    let headers = reply.headers_mut();
    if !content_type.is_empty() && !is_known {
        headers.insert(header::CONTENT_TYPE, value(content_type));
    }
    if has_tag {
        headers.insert(header::ETAG, value(etag));
    }
    if varies {
        headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    }
    headers.insert(header::AGE, HeaderValue::from(age));
    let kept = if stored { "no-cache" } else { "no-store" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    headers.insert(CACHE_STATUS, value(cache_status.into()));
    reply
}

fn status(forward: Forward, detail: Option<&str>) -> HeaderValue {
    let mut status = format!("freshet; fwd={}", forward.as_str());
    if let Some(detail) = detail {
        status.push_str("; detail=");
        status.push_str(detail);
    }
    value(status.into())
}

fn failed(failure: &Failure, forward: Forward) -> Problem {
    let (gateway, text) = (StatusCode::BAD_GATEWAY, failure.to_string());
    let problem = match failure {
        Failure::Failed(_) | Failure::Closed(_) => {
            Problem::new(gateway, "upstream-failed", "The upstream has failed", text)
        }
        Failure::Late(..) => {
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "upstream-timeout", "The upstream takes too long", text)
        }
        Failure::TooLarge(_) => {
            Problem::new(gateway, "upstream-too-large", "The upstream's answer is too large", text)
        }
        Failure::Redirect(_) => {
            Problem::new(gateway, "upstream-redirect", "The upstream leads elsewhere", text)
        }
        Failure::Limited(..) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "upstream-limited",
            "The upstream is sent no more requests for now",
            text,
        ),
    };
    let problem = problem.with_header(CACHE_STATUS, status(forward, Some(failure.as_str())));
    match failure {
        Failure::Limited(until, _) => {
            let seconds = until.since(Tick::now()).as_millis().div_ceil(1000).max(1);
            problem.with_header(
                header::RETRY_AFTER,
                HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)),
            )
        }
        _ => problem,
    }
}

fn bad_rest(error: BadRest) -> Problem {
    let (slug, title) = match error {
        BadRest::TooLong => ("key-too-long", "The key is too long"),
        _ => ("key-syntax", "The key is malformed"),
    };
    Problem::bad_request(slug, title, error.to_string())
}
