//! Injection: what a pod asks for, whether it can have it, and what is added to it.
//!
//! Everything here is pure. [`decide`] is the one function that decides, for the webhook and for whoever else wants
//! to know; it reads the pod as raw JSON, because a typed pod would lose fields that are newer than our types, and
//! its [`Patch`] can express nothing but additions.
//!
//! ```text
//! annotation ──Ask──► resolve ──binding──► decide(pod, binding, defaults) ──► Patch | Skip(reason)
//! ```

mod ask;
mod obstacle;
mod patch;
mod shape;
mod sidecar;
mod skip;
#[cfg(test)]
mod tests;

pub use ask::{Ask, resolve};
pub use obstacle::obstacle;
pub use patch::{Addition, Patch};
pub use shape::{Defaults, Field, Injected, Shape};
pub use sidecar::CONTAINER;
pub use skip::{Skip, SkipReason};

use freshet_crds::{CacheBinding, names};
use serde_json::Value;

/// What becomes of a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// The patch makes the sidecar part of it.
    Inject(Patch),
    /// It stays as it is.
    Skip(Skip),
}

/// Decides about a pod that asks for this binding.
#[must_use]
pub fn decide(pod: &Value, binding: &CacheBinding, defaults: &Defaults) -> Decision {
    if let Some(skip) = obstacle(pod) {
        return Decision::Skip(skip);
    }
    match Shape::of(binding, defaults) {
        Ok(shape) => Decision::Inject(sidecar::additions(pod, &shape)),
        Err(skip) => Decision::Skip(skip),
    }
}

/// What the author of the pod should hear although the pod is admitted: names of ours that mean nothing or are
/// reserved.
#[must_use]
pub fn remarks(pod: &Value) -> Vec<String> {
    let names_in = |kind: &'static str| {
        let map = pod.pointer(&format!("/metadata/{kind}")).and_then(Value::as_object);
        map.into_iter().flat_map(|map| map.keys()).filter(|name| name.starts_with(names::PREFIX))
    };
    let mut remarks = Vec::new();
    for name in names_in("annotations") {
        match name.as_str() {
            names::INJECT => {}
            names::INJECTED => remarks.push(reserved("annotation", name)),
            _ => remarks.push(format!(
                "unknown annotation {name} has no effect: the one for pods is {}",
                names::INJECT
            )),
        }
    }
    for name in names_in("labels") {
        match name.as_str() {
            names::BINDING => remarks.push(reserved("label", name)),
            _ => remarks.push(format!("unknown label {name} has no effect")),
        }
    }
    remarks
}

fn reserved(kind: &str, name: &str) -> String {
    format!("{kind} {name} is set by Freshet and reserved for it: leave it out")
}
