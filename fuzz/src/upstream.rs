//! What an upstream answers, and what is asked of it.
//!
//! An input is a request's path and query, then lines of `Name: value`, an empty line, and a body.

use std::time::Duration;

use bytes::Bytes;
use hyper::{
    HeaderMap, StatusCode, Uri,
    header::{HeaderName, HeaderValue},
};
use url::{Position, Url};

use freshet_sidecar::{
    clock::Tick,
    upstream::{
        life::{self, Life, Says, Terms},
        limiter::Limiter,
        pages,
        rest::Rest,
    },
};

use crate::Bound;

const FACTOR: usize = 1024;
/// Some instant, by the wall clock.
const WALL_MS: u64 = 1_700_000_000_000;
const RECEIVED: Tick = Tick(1_000_000);
const TERMS: Terms = Terms {
    ttl: Duration::from_mins(10),
    jitter: 10_000,
    stale_while_revalidate: Duration::from_secs(30),
    stale_if_error: Duration::from_hours(1),
};

/// Reads all of it.
pub(crate) fn run(input: &[u8]) {
    let end = input.windows(2).position(|pair| pair == b"\n\n").unwrap_or(input.len());
    let (top, body) = (&input[..end], input.get(end + 2..).unwrap_or_default());
    let mut lines = top.split(|byte| *byte == b'\n');
    let rest = lines.next().unwrap_or_default();
    let mut head = HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii())) {
            head.append(name, value);
        }
    }
    let bound = Bound::of(FACTOR, input);
    asked(&String::from_utf8_lossy(rest));
    lives(&head);
    limits(&head);
    listed(&head, body);
    drop(bound);
}

/// What is asked for goes out as it came, below the upstream's own path.
fn asked(text: &str) {
    let Ok(rest) = Rest::parse(text) else { return };
    assert_eq!(rest.as_str(), text);
    let uri: Uri = format!("http://a/base/{text}").parse().expect("what is taken can be asked for");
    assert_eq!(uri.path_and_query().map(ToString::to_string), Some(format!("/base/{text}")));
    let read = Url::parse(&format!("http://a/base/{text}")).expect("what is taken has a place");
    assert!(read.path().starts_with("/base/") && read.fragment().is_none(), "{read}");
}

/// No life is longer than the binding lets it.
fn lives(head: &HeaderMap) {
    let says = Says::read(head, WALL_MS);
    assert_eq!(says.renewed(&HeaderMap::new(), WALL_MS), says);
    let life = Life::of(&says, life::age(head, Duration::ZERO), RECEIVED, &TERMS, u64::MAX);
    assert!(life.fresh <= RECEIVED + TERMS.ttl && life.fresh >= RECEIVED);
    assert!(life.while_revalidate <= life.fresh + TERMS.stale_while_revalidate);
    assert!(life.if_error <= life.fresh + TERMS.stale_if_error);
    let _ = life::keep(StatusCode::OK, head);
}

/// Nobody is kept back for more than a day.
fn limits(head: &HeaderMap) {
    for status in [StatusCode::OK, StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS] {
        let mut limiter = Limiter::default();
        let refused = limiter.hear(status, head, RECEIVED, WALL_MS);
        assert!(refused || status != StatusCode::TOO_MANY_REQUESTS);
        assert!(limiter.held(RECEIVED + Duration::from_hours(24)).is_none());
    }
}

/// The next page is at the same place, and what is merged is an array.
fn listed(head: &HeaderMap, body: &[u8]) {
    let base = Url::parse("https://a.example/x/y?z").expect("it is a URL");
    if let Some(place) = pages::next(head).and_then(|reference| pages::follow(&base, &reference).ok()) {
        assert!(place[..Position::BeforePath] == base[..Position::BeforePath], "{place}");
    }
    let body = Bytes::copy_from_slice(body);
    if let Ok(merged) = pages::merge(&[body.clone(), body]) {
        let elements: Vec<serde::de::IgnoredAny> = serde_json::from_slice(&merged).expect("it is an array");
        assert_eq!(elements.len() % 2, 0);
    }
}

/// Heads and bodies, good ones and traps.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [
        "repos/a/b?c=d%2Fe\nCache-Control: public, max-age=60, s-maxage=60\nAge: 5\nETag: W/\"a\"\n\n[1, {\"a\": 1.0}]",
        "a/..;x/%2e%2E/b\nCache-Control: no-cache=\"a, b\", stale-if-error=9, must-revalidate\n\n[]",
        "a%2Fb\\c\nExpires: Tue, 14 Nov 2023 22:14:20 GMT\nDate: Tuesday, 14-Nov-23 22:13:20 GMT\n\n{}",
        "a?b=../..\nLink: <https://a.example/x?page=2>; rel=\"next\", <?page=9>; rel=last\nVary: Accept, *\n\n[[[",
        "a\nLink: <//b.example/>; title=\"a, <b>; rel=next\"; rel=\"last next\"\n\n[\"\\u0000\"]",
        "a\nRetry-After: Tue, 14 Nov 2023 22:13:50 GMT\nX-RateLimit-Remaining: 0\nX-RateLimit-Reset: 1700000060",
        "a\nRetry-After: 99999999999999999999\nRateLimit: \"default\";r=0;t=30, \"b\";r=3;t=90",
        "a\nRateLimit-Remaining: 0\nRateLimit-Reset: 18446744073709551615\nAge: -1",
        "a\nCache-Control: max-age=\"60, private\nExpires: 0\nLink: <https://u:p@a.example/>;rel=next",
    ]
    .map(|seed| seed.as_bytes().to_vec())
    .into()
}
