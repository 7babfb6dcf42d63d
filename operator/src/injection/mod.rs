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
mod mounts;
mod obstacle;
mod os;
mod patch;
mod rendered;
mod shape;
mod sidecar;
mod skip;
#[cfg(test)]
mod tests;

pub use ask::{Ask, resolve};
pub use obstacle::obstacle;
pub use patch::Patch;
pub use rendered::{is_accepted, is_of, last_rendered};
pub use shape::{Defaults, Field, Injected, Shape};
pub use sidecar::{ADMIN_PORT, ADMIN_PORT_NAME, CONTAINER};
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
    Decision::Inject(sidecar::additions(pod, &Shape::of(binding, defaults)))
}

/// What the author of an injected pod should hear all the same: names of ours that mean nothing.
#[must_use]
pub fn remarks(pod: &Value) -> Vec<String> {
    let names_in = |kind: &'static str| {
        let map = pod.pointer(&format!("/metadata/{kind}")).and_then(Value::as_object);
        map.into_iter().flat_map(|map| map.keys()).map(String::as_str)
    };
    let labels = names_in("labels").filter(|name| name.starts_with(names::PREFIX) && *name != names::BINDING);
    let labels = labels.map(|name| format!("unknown label {name} has no effect"));
    unknown_annotations(names_in("annotations")).chain(labels).collect()
}

/// A sentence about each annotation with our prefix that isn't one of ours.
pub fn unknown_annotations<'n>(names: impl Iterator<Item = &'n str>) -> impl Iterator<Item = String> {
    let ours = |name: &str| matches!(name, names::INJECT | names::INJECTED);
    let unknown = names.filter(move |name| name.starts_with(names::PREFIX) && !ours(name));
    unknown
        .map(|name| format!("unknown annotation {name} has no effect: the one for pods is {}", names::INJECT))
}
