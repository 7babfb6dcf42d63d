//! `admission.k8s.io/v1` reviews, with the pod as raw JSON.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::injection::Patch;

/// Kubernetes cuts longer warnings.
const WARNING: usize = 256;

/// What the API server asks.
#[derive(Clone, Debug)]
pub struct Request {
    /// To be repeated in the answer.
    pub uid: String,
    /// The namespace that the pod will be in.
    pub namespace: String,
    /// Whether nothing will come of it.
    pub dry_run: bool,
    /// The pod.
    pub pod: Value,
}

/// What it is answered: the pod is always admitted.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// What to add to the pod.
    pub patch: Option<Patch>,
    /// What whoever made the pod should hear.
    pub warnings: Vec<String>,
}

/// Why a review can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// It isn't JSON of the right shape.
    #[error("not an admission.k8s.io/v1 AdmissionReview with a request: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Another version of reviews.
    #[error("{0} is not admission.k8s.io/v1")]
    Version(String),
    /// It is about something else.
    #[error("the request is about a {0}, not about a pod")]
    NotAPod(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    api_version: String,
    request: Body,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    uid: String,
    kind: Kind,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    dry_run: bool,
    object: Value,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    group: String,
    kind: String,
}

// === impl Request ===

impl Request {
    /// Reads a review.
    pub fn read(body: &[u8]) -> Result<Self, ReviewError> {
        let Review { api_version, request } = serde_json::from_slice(body)?;
        if api_version != "admission.k8s.io/v1" {
            return Err(ReviewError::Version(api_version));
        }
        if (request.kind.group.as_str(), request.kind.kind.as_str()) != ("", "Pod") {
            return Err(ReviewError::NotAPod(request.kind.kind));
        }
        let Body { uid, namespace, dry_run, object: pod, .. } = request;
        Ok(Self { uid, namespace, dry_run, pod })
    }

    /// The pod's name, or the beginning of it: a controller's pod gets the rest only after this.
    #[must_use]
    pub fn pod_name(&self) -> String {
        let text = |pointer| self.pod.pointer(pointer).and_then(Value::as_str);
        text("/metadata/name").or(text("/metadata/generateName")).unwrap_or_default().to_owned()
    }
}

// === impl Response ===

impl Response {
    /// The answer to a request, as JSON.
    #[must_use]
    pub fn write(&self, request: &Request) -> String {
        let mut response = json!({ "uid": request.uid, "allowed": true });
        if let Some(patch) = &self.patch {
            response["patchType"] = json!("JSONPatch");
            response["patch"] = json!(STANDARD.encode(json!(patch).to_string()));
        }
        if !self.warnings.is_empty() {
            response["warnings"] = self.warnings.iter().map(|text| warning(text)).collect();
        }
        json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response })
            .to_string()
    }
}

fn warning(text: &str) -> Value {
    let mut text = format!("freshet: {text}");
    if text.len() > WARNING {
        text.truncate(text.floor_char_boundary(WARNING - 3));
        text.push('…');
    }
    Value::from(text)
}
