//! The mutating webhook: the API server asks about each new pod that has our annotation.
//!
//! ```text
//! API server ──TLS (tls)──► review ──► lookup (waits up to 3 s) ──► injection::decide ──► review
//! ```
//!
//! A pod is never refused: what can't be injected is admitted as it is, with a warning to whoever made it, an Event
//! on its owner and a count.

mod lookup;
mod review;
mod tls;

use std::{sync::Arc, time::Duration};

use freshet_crds::CacheBinding;
use http_body_util::{BodyExt as _, Limited};
use hyper::{Method, Request as HttpRequest, StatusCode, body::Incoming};
use k8s_openapi::api::core::v1::ObjectReference;
use tokio::time::Instant;

pub use lookup::Bindings;
pub use review::{Request, Response, ReviewError};
pub use tls::acceptor;

use crate::{
    events::{Events, Warning},
    injection::{self, Ask, Decision, Defaults, Patch, Skip},
    metrics::Metrics,
    serve::{Answer, answer, text},
};

/// Largest review that is read. An object has at most 1.5 MiB in etcd and some more on the way there.
const BODY: usize = 4 << 20;
/// How long a review may take to arrive, after its head.
const ARRIVAL: Duration = Duration::from_secs(10);

/// What answering needs.
pub struct Webhook {
    /// Where bindings are found.
    pub bindings: Bindings,
    /// What is injected.
    pub defaults: Defaults,
    /// Where Events go.
    pub events: Events,
    /// Where counts go.
    pub metrics: Arc<Metrics>,
}

// === impl Webhook ===

impl Webhook {
    /// Answers a request of the API server.
    pub async fn answer(self: Arc<Self>, request: HttpRequest<Incoming>) -> Answer {
        if request.uri().path() != "/inject" {
            return text(StatusCode::NOT_FOUND, "there is /inject\n");
        }
        if request.method() != Method::POST {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only POST\n");
        }
        let arriving = Limited::new(request.into_body(), BODY).collect();
        let body = match tokio::time::timeout(ARRIVAL, arriving).await {
            Ok(Ok(body)) => body,
            Ok(Err(_)) => {
                return text(StatusCode::PAYLOAD_TOO_LARGE, format!("a review has at most {BODY} bytes\n"));
            }
            Err(_) => {
                let limit = ARRIVAL.as_secs();
                return text(StatusCode::REQUEST_TIMEOUT, format!("a review arrives within {limit} s\n"));
            }
        };
        let start = Instant::now();
        match Request::read(&body.to_bytes()) {
            Ok(request) => {
                let response = self.review(&request).await;
                self.metrics.admission_seconds.observe(start.elapsed().as_secs_f64());
                answer(StatusCode::OK, "application/json", response.write(&request))
            }
            Err(error) => {
                tracing::warn!(%error, "unreadable admission review");
                text(StatusCode::BAD_REQUEST, format!("{error}\n"))
            }
        }
    }

    /// Decides about a pod and reports what is to be reported.
    async fn review(&self, request: &Request) -> Response {
        let decided = self.decide(request).await;
        let (patch, skip) = match decided {
            Ok(patch) => (Some(patch), None),
            Err(skip) => (None, Some(skip)),
        };
        if !request.dry_run {
            self.metrics.injection(skip.as_ref().map(|skip| skip.reason));
        }
        let mut warnings = Vec::new();
        if let Some(skip) = &skip
            && !skip.reason.is_expected()
        {
            tracing::info!(
                namespace = request.namespace,
                pod = request.pod_name(),
                reason = skip.reason.as_str(),
                "not injected"
            );
            warnings.push(format!("no cache is injected ({}): {}", skip.reason, skip.message));
            self.warn(request, skip.reason.as_str(), skip.message.clone());
        }
        if skip.is_none_or(|skip| !skip.reason.is_expected()) {
            for remark in injection::remarks(&request.pod) {
                warnings.push(remark.clone());
                self.warn(request, "UnknownName", remark);
            }
        }
        Response { patch, warnings }
    }

    async fn decide(&self, request: &Request) -> Result<Patch, Skip> {
        // Before anyone waits for a binding that would not help.
        if let Some(skip) = injection::obstacle(&request.pod) {
            return Err(skip);
        }
        let ask = Ask::of(&request.pod).unwrap_or(Ask::Never);
        let binding: CacheBinding = self.bindings.find(&request.namespace, &ask).await?;
        let binding = self.bindings.as_rendered(&request.namespace, binding).await;
        match injection::decide(&request.pod, &binding, &self.defaults) {
            Decision::Inject(patch) => Ok(patch),
            Decision::Skip(skip) => Err(skip),
        }
    }

    /// An Event on the pod's owner, unless nothing is really happening.
    fn warn(&self, request: &Request, reason: &str, message: String) {
        if !request.dry_run {
            let reason = reason.to_owned();
            let about = about(request);
            self.events.warn(Warning { about, reason, action: "Inject", message });
        }
    }
}

/// Whom an Event is about: the pod's controller, or the pod itself, which has no uid yet.
fn about(request: &Request) -> ObjectReference {
    let owners = request.pod.pointer("/metadata/ownerReferences").and_then(serde_json::Value::as_array);
    let mut owners = owners.into_iter().flatten();
    let owner = owners.find(|owner| owner["controller"] == true);
    let text = |key: &str| owner.and_then(|owner| owner[key].as_str()).map(str::to_owned);
    let namespace = Some(request.namespace.clone());
    if owner.is_some() {
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        ObjectReference {
            api_version,
            kind,
            name: text("name"),
            uid: text("uid"),
            namespace,
            ..Default::default()
        }
    } else {
        let (api_version, kind) = (Some("v1".into()), Some("Pod".into()));
        ObjectReference { api_version, kind, name: Some(request.pod_name()), namespace, ..Default::default() }
    }
}

#[cfg(test)]
mod tests;
