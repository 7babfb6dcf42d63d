//! Caches that read a REST service through.

use freshet_e2e::process::{Reply, Request, RestServer, Sidecar, SidecarBuilder, http::Response};

use crate::shop::executable;

mod ages;
mod failing;
mod limits;
mod pages;
mod reading;
mod refreshing;
mod trusting;

/// A manifest of one upstream cache, `api`; `more` is further YAML of the upstream, `cache` of the cache.
pub(crate) fn manifest(url: &str, more: &str, cache: &str) -> String {
    format!(
        "apiVersion: freshet.dev/v1alpha1
kind: CacheBinding
metadata: {{name: shop}}
spec:
  caches:
  - {{name: api, ttlJitter: 0%, {cache}upstream: {{url: '{url}'{more}}}}}"
    )
}

/// A REST service and a sidecar that reads it through.
struct Front {
    rest: RestServer,
    sidecar: Sidecar,
}

impl Front {
    fn open(more: &str, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(more, "", handler)
    }

    fn with(more: &str, cache: &str, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let rest = RestServer::start(handler).unwrap();
        let sidecar = builder(&rest, more, cache).start().unwrap();
        Self { rest, sidecar }
    }

    fn get(&self, rest: &str) -> Response {
        self.get_with(rest, &[])
    }

    fn get_with(&self, rest: &str, headers: &[(&str, &str)]) -> Response {
        self.sidecar.request("GET", &format!("/v1/api/{rest}"), headers, b"").unwrap()
    }

    fn delete(&self, rest: &str) {
        let answer = self.sidecar.request("DELETE", &format!("/v1/api/{rest}"), &[], b"").unwrap();
        assert_eq!(answer.status, 204, "{answer:?}");
    }
}

fn builder(rest: &RestServer, more: &str, cache: &str) -> SidecarBuilder {
    Sidecar::builder(executable(), &manifest(&rest.url(), more, cache))
}

pub(crate) fn retry_after(answer: &Response) -> u64 {
    answer.header("retry-after").unwrap_or_else(|| panic!("{answer:?}")).parse().unwrap()
}

/// The `Cache-Status` without the name and what is left of a life.
pub(crate) fn how(answer: &Response) -> String {
    let status = answer.header("cache-status").unwrap_or_else(|| panic!("no Cache-Status: {answer:?}"));
    let parts = status.split("; ").skip(1).filter(|part| !part.starts_with("ttl="));
    parts.collect::<Vec<_>>().join("; ")
}

/// What is left of a life, by `Cache-Status`.
pub(crate) fn ttl(answer: &Response) -> i64 {
    let status = answer.header("cache-status").unwrap();
    status
        .split("; ")
        .find_map(|part| part.strip_prefix("ttl="))
        .unwrap_or_else(|| panic!("{status}"))
        .parse()
        .unwrap()
}

/// How old it is, in seconds.
pub(crate) fn age(answer: &Response) -> u64 {
    answer.header("age").unwrap_or_else(|| panic!("{answer:?}")).parse().unwrap()
}

/// The last word of a problem's type.
pub(crate) fn problem(answer: &Response) -> String {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    let kind = answer.json().unwrap()["type"].as_str().unwrap().to_owned();
    kind.rsplit_once('/').unwrap().1.to_owned()
}
