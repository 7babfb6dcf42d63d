//! The wire types of `caches[].upstream`: a REST service that a cache reads through.

#![expect(unreachable_pub, reason = "the schema derive repeats each type in a private module")]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{CaFrom, SecretKeyRef};

/// A REST service that a cache reads through: what is asked for and isn't cached is fetched from there.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.caFrom) || self.url.startsWith('https:')")
        .message(crate::upstream_url::CA_NEEDS_TLS)
)]
pub struct Upstream {
    /// `http://host[:port][/path]` or `https://…`, without credentials and query. What follows the cache's name in a
    /// request's path, its query included, follows this path.
    #[schemars(length(max = 1024))]
    #[x_kube(
        validation = Rule::new(crate::upstream_url::url_rule("self")).message(crate::upstream_url::URL_FORM)
    )]
    pub url: String,
    /// How often values that are in use are fetched anew in the background. Default: they are fetched when they are asked
    /// for after their life has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new(crate::quantity::duration_rule(crate::binding::LEAST_REFRESH))
            .message(crate::binding::REFRESH_FORM)
    )]
    pub refresh: Option<String>,
    /// For how long after its life a value is served when the upstream fails, marked as stale. Default: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new(crate::quantity::duration_rule(std::time::Duration::ZERO))
            .message("staleIfError is a duration such as 1h, at most 366d")
    )]
    pub stale_if_error: Option<String>,
    /// For how long after its life a value is served, marked as stale, while it is fetched anew. Default: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new(crate::quantity::duration_rule(std::time::Duration::ZERO))
            .message("staleWhileRevalidate is a duration such as 30s, at most 366d")
    )]
    pub stale_while_revalidate: Option<String>,
    /// The paths below `url` that may be asked for: `*` stands for one segment, `**` at the end for one or more. Default:
    /// all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 256)))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new(crate::path_pattern::patterns_rule("self")).message(crate::path_pattern::PATTERN_FORM)
    )]
    pub allow: Vec<String>,
    /// The credentials that requests carry. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_from: Option<AuthFrom>,
    /// Where the certificates are (PEM) of the authorities that the upstream's certificate must come from. Default: those
    /// that browsers trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_from: Option<CaFrom>,
    /// How many requests each pod may send. Default: as many as are needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// With it, an answer is a JSON array of which a `Link` with `rel=next` names the next page, and all pages are one
    /// value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paginate: Option<Paginate>,
    /// The largest answer, all pages together. Default: `sidecar.maxValue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(
        validation = Rule::new(crate::quantity::size_rule("self", "1", "1Gi")).message(crate::binding::MAX_BYTES_FORM)
    )]
    pub max_bytes: Option<String>,
    /// How long one answer may take, its body included.
    #[serde(default = "default_timeout")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new(crate::quantity::duration_rule(crate::quantity::MOMENT))
            .message("timeout is a duration such as 10s, more than zero and at most 366d")
    )]
    pub timeout: String,
}

/// The credentials that requests to an upstream carry.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AuthFrom {
    /// A key of a Secret in the binding's namespace. Its text is sent as it is: `Bearer …`, `token …`.
    pub secret_key_ref: SecretKeyRef,
    /// The header that it is sent in.
    #[serde(default = "default_header")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(
        validation = Rule::new(crate::binding::auth_header_rule("self")).message(crate::binding::AUTH_HEADER_FORM)
    )]
    pub header: String,
}

/// How many requests each pod may send to an upstream: a bucket of `burst` tokens, into which `requests` come in each
/// `per`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// How many requests.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: u32,
    /// In how long.
    #[serde(default = "default_per")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new(crate::quantity::duration_rule(crate::quantity::MOMENT))
            .message("per is a duration such as 1s, more than zero and at most 366d")
    )]
    pub per: String,
    /// How many at once. Default: `requests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: Option<u32>,
}

/// How the pages of an answer become one value.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Paginate {
    /// The most pages: an answer that has more is refused.
    #[serde(default = "default_max_pages")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_pages: u32,
}

fn default_timeout() -> String {
    "10s".into()
}

fn default_header() -> String {
    "Authorization".into()
}

fn default_per() -> String {
    "1s".into()
}

fn default_max_pages() -> u32 {
    10
}
