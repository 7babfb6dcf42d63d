//! The validated form of a cache that reads a REST service through.

use std::time::Duration;

use super::CaSpec;
use crate::{SecretKeyRef, path_pattern::PathPattern, upstream_url::UpstreamUrl};

/// The least of `refresh`.
pub const LEAST_REFRESH: Duration = Duration::from_secs(1);
pub(crate) const REFRESH_FORM: &str = "refresh is a duration such as 5m, at least 1s and at most 366d: what is asked for more often than that is cached";
pub(crate) const MAX_BYTES_FORM: &str = "maxBytes is a size in bytes such as 1Mi, at least 1 and at most 1Gi";
pub(crate) const AUTH_HEADER_FORM: &str = "header is the name of a header for credentials such as Authorization or X-Api-Key: letters, digits and dashes, \
                                           and none that requests have of themselves";

/// What requests have of themselves, in lower case.
const OWN_HEADERS: [&str; 17] = [
    "accept",
    "accept-encoding",
    "cache-control",
    "connection",
    "content-length",
    "expect",
    "host",
    "if-modified-since",
    "if-none-match",
    "keep-alive",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// One cache that reads a REST service through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSpec {
    /// The cache's name.
    pub name: String,
    /// What its values are below.
    pub url: UpstreamUrl,
    /// The longest time for which a value is fresh, and the time for which it is where the upstream says nothing.
    pub ttl: Duration,
    /// The greatest part of `ttl` by which that is shortened by lot, in thousandths of a percent.
    pub ttl_jitter: u32,
    /// The part of `memory` that is this cache's own, in thousandths of a percent; `None`: it shares with the others what
    /// is left.
    pub share: Option<u32>,
    /// How often values in use are fetched anew; `None`: only when they are asked for.
    pub refresh: Option<Duration>,
    /// How long after its life a value is served when the upstream fails; zero: not at all.
    pub stale_if_error: Duration,
    /// How long after its life a value is served while it is fetched anew; zero: not at all.
    pub stale_while_revalidate: Duration,
    /// The paths that may be asked for; none: all.
    pub allow: Vec<PathPattern>,
    /// The credentials that requests carry.
    pub auth: Option<AuthSpec>,
    /// The authorities that the upstream's certificate must come from; without it those that browsers trust.
    pub ca: Option<CaSpec>,
    /// How many requests may be sent; `None`: as many as are needed.
    pub rate: Option<RateSpec>,
    /// The most pages that are merged into one value; `None`: answers have no pages.
    pub max_pages: Option<u32>,
    /// The largest answer in bytes, all pages together; `None`: `sidecar.maxValue`.
    pub max_bytes: Option<u64>,
    /// How long one answer may take.
    pub timeout: Duration,
}

/// Credentials for an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthSpec {
    /// Where their text is.
    pub secret: SecretKeyRef,
    /// The header that carries them, in lower case.
    pub header: Box<str>,
}

/// A bucket of tokens, one for each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateSpec {
    /// How many tokens come in each `per`; at least one.
    pub requests: u32,
    /// In how long; more than zero.
    pub per: Duration,
    /// How many tokens there are at most; at least one.
    pub burst: u32,
}

/// Whether a header can carry credentials.
pub(super) fn is_auth_header(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str())
}

/// The CEL rule of the same.
pub(crate) fn auth_header_rule(this: &str) -> String {
    format!("{this}.matches('^[A-Za-z0-9-]+$') && !{this}.matches('^(?i:{})$')", OWN_HEADERS.join("|"))
}
