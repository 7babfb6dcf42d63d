//! Views: the top of what an upstream cache's keys hold.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicBool, Ordering},
};

use freshet_e2e::process::{Reply, Request, RestServer, Sidecar, http::Response, until};

use crate::{
    shop::{SOON, executable},
    upstream::retry_after,
};

mod failing;
mod holding;
mod ordering;
mod pacing;
mod racing;
mod reloading;
mod requests;

/// A manifest of one upstream cache, `api`, and views over it: each is a name, keys, and further YAML.
fn manifest(url: &str, more: &str, views: &[(&str, &str, &str)], spec: &str) -> String {
    let mut text = format!(
        "apiVersion: freshet.dev/v1alpha1
kind: CacheBinding
metadata: {{name: shop}}
spec:
  caches:
  - {{name: api, ttlJitter: 0%, upstream: {{url: '{url}'{more}}}}}
{spec}"
    );
    for (i, (name, keys, more)) in views.iter().enumerate() {
        let head = if i == 0 { "\n  views:" } else { "" };
        write!(text, "{head}\n  - {{name: {name}, cache: api, keys: [{keys}]{more}}}").unwrap();
    }
    text
}

/// A REST service and a sidecar that has views over it.
pub(crate) struct Gallery {
    pub(crate) rest: RestServer,
    pub(crate) sidecar: Sidecar,
}

impl Gallery {
    /// `more` is further YAML of the upstream.
    pub(crate) fn open(
        more: &str,
        views: &[(&str, &str, &str)],
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::with(more, views, "", handler)
    }

    /// `spec` is further YAML of the spec.
    fn with(
        more: &str,
        views: &[(&str, &str, &str)],
        spec: &str,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        crate::openapi::watch();
        let rest = RestServer::start(handler).unwrap();
        let text = manifest(&rest.url(), more, views, spec);
        let sidecar = Sidecar::builder(executable(), &text).start().unwrap();
        Self { rest, sidecar }
    }

    fn rebind(&self, more: &str, views: &[(&str, &str, &str)], spec: &str) {
        self.sidecar.rebind(&manifest(&self.rest.url(), more, views, spec)).unwrap();
    }

    fn view(&self, name: &str) -> Response {
        self.view_with(name, &[])
    }

    fn view_with(&self, name: &str, headers: &[(&str, &str)]) -> Response {
        self.sidecar.request("GET", &format!("/v1/views/{name}"), headers, b"").unwrap()
    }

    /// What the cache itself answers.
    fn get(&self, key: &str, headers: &[(&str, &str)]) -> Response {
        self.sidecar.request("GET", &format!("/v1/api/{key}"), headers, b"").unwrap()
    }

    fn delete(&self, key: &str) {
        let answer = self.sidecar.request("DELETE", &format!("/v1/api/{key}"), &[], b"").unwrap();
        assert_eq!(answer.status, 204, "{answer:?}");
    }

    /// Waits until a view is whole.
    pub(crate) fn until_whole(&self, name: &str) -> Response {
        until(&format!("{name} is whole"), SOON, || {
            let answer = self.view(name);
            anyhow::ensure!(answer.status == 200, "{answer:?}");
            Ok(answer)
        })
        .unwrap()
    }

    /// Waits until a view is this.
    fn until_view(&self, name: &str, expected: &str) {
        until(&format!("{name} is {expected}"), SOON, || {
            let answer = self.view(name);
            anyhow::ensure!(answer.text() == expected, "{answer:?}");
            Ok(())
        })
        .unwrap();
    }

    /// Waits until a key is missing in a view for this reason.
    pub(crate) fn until_missing(&self, name: &str, key: &str, says: &str) {
        until(&format!("{key} is missing: {says}"), SOON, || {
            let answer = self.view(name);
            let found = missing(&answer);
            anyhow::ensure!(found.iter().any(|(k, why)| k == key && why.contains(says)), "{answer:?}");
            Ok(())
        })
        .unwrap();
    }

    /// How often the service was asked for a path.
    fn asked(&self, target: &str) -> usize {
        self.rest.requests().iter().filter(|request| request.target == target).count()
    }
}

/// The keys that a view lacks, and why.
fn missing(answer: &Response) -> Vec<(String, String)> {
    if answer.status != 503 {
        return Vec::new();
    }
    let problem = answer.json().unwrap();
    assert_eq!(problem["type"], "https://freshet.dev/problems/view-incomplete", "{answer:?}");
    assert!(retry_after(answer) >= 1, "{answer:?}");
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    problem["missing"].as_array().unwrap().iter().map(|m| (text(&m["key"]), text(&m["why"]))).collect()
}

/// Set when it goes, so that nobody waits for ever for one who has failed.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// An answer that lives for an hour.
fn lasting(body: impl Into<Vec<u8>>) -> Reply {
    Reply::json(body).header("Cache-Control", "max-age=3600")
}
