//! `/livez`, `/readyz` and `/metrics`.

use std::sync::Arc;

use hyper::{Method, Request, StatusCode, body::Incoming};
use tokio::sync::watch;

use crate::{
    ca::Serving,
    metrics::Metrics,
    serve::{Answer, answer, text},
};

/// What the answers depend on.
#[derive(Clone)]
pub struct Health {
    /// The webhook's certificate: without one that the API server trusts, all pods that ask would be refused.
    pub serving: watch::Receiver<Serving>,
    /// Whether the bindings have been listed: without them it would answer slowly.
    pub listed: watch::Receiver<bool>,
    /// Whether the process is ending.
    pub stopping: watch::Receiver<bool>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
}

// === impl Health ===

impl Health {
    /// Answers a request.
    #[must_use]
    pub fn answer(&self, request: &Request<Incoming>) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        }
        match request.uri().path() {
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" => match self.not_ready().as_slice() {
                [] => text(StatusCode::OK, "ok\n"),
                blockers => text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", blockers.join("\n"))),
            },
            "/metrics" => match self.metrics.encode() {
                Ok(metrics) => answer(
                    StatusCode::OK,
                    "application/openmetrics-text; version=1.0.0; charset=utf-8",
                    metrics,
                ),
                Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "can't write the metrics\n"),
            },
            _ => text(StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics\n"),
        }
    }

    fn not_ready(&self) -> Vec<&'static str> {
        let blockers = [
            (
                !self.serving.borrow().trusted,
                "the webhook has no certificate that is in the caBundle: can the CA's Secret and the webhook \
                 configuration be read, and is there a replica with the Lease, which writes the caBundle?",
            ),
            (!*self.listed.borrow(), "the bindings are not listed yet: is the CRD installed?"),
            (*self.stopping.borrow(), "stopping"),
        ];
        blockers.into_iter().filter(|(blocks, _)| *blocks).map(|(_, blocker)| blocker).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_that_the_api_server_does_not_trust_is_not_ready() {
        let serving = watch::Sender::new(Serving::default());
        let health = Health {
            serving: serving.subscribe(),
            listed: watch::Sender::new(true).subscribe(),
            stopping: watch::Sender::new(false).subscribe(),
            metrics: Arc::new(Metrics::new("1.2.3")),
        };
        assert!(health.not_ready().iter().any(|blocker| blocker.contains("caBundle")));
        serving.send_modify(|serving| serving.trusted = true);
        assert!(health.not_ready().is_empty(), "{:?}", health.not_ready());
    }
}
