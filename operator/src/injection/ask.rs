//! What a pod asks for.

use std::{borrow::Borrow, collections::BTreeMap};

use freshet_crds::{CacheBinding, names};
use kube::ResourceExt as _;
use serde_json::Value;

use super::{Skip, SkipReason};

/// The meaning of the annotation [`names::INJECT`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// `false`: never.
    Never,
    /// `true`: the only binding of the namespace.
    TheOnly,
    /// A binding's name.
    Named(String),
    /// A text that can't be any of these.
    Invalid(String),
}

// === impl Ask ===

impl Ask {
    /// Reads the annotation's value.
    #[must_use]
    pub fn parse(value: &str) -> Self {
        match value {
            "false" => Self::Never,
            "true" => Self::TheOnly,
            name if is_object_name(name) => Self::Named(name.to_owned()),
            other => Self::Invalid(other.to_owned()),
        }
    }

    /// What a pod asks for, if it says anything.
    #[must_use]
    pub fn of(pod: &Value) -> Option<Self> {
        let annotations = pod.pointer("/metadata/annotations")?;
        annotations.get(names::INJECT)?.as_str().map(Self::parse)
    }

    /// The same from typed metadata.
    #[must_use]
    pub fn of_annotations(annotations: &BTreeMap<String, String>) -> Option<Self> {
        annotations.get(names::INJECT).map(|value| Self::parse(value))
    }
}

/// Finds the binding that is asked for among the bindings of the pod's namespace.
pub fn resolve<B: Borrow<CacheBinding>>(ask: &Ask, bindings: impl IntoIterator<Item = B>) -> Result<B, Skip> {
    let mut bindings = bindings.into_iter();
    match ask {
        Ask::Never => Err(Skip::new(SkipReason::OptedOut, "the pod opted out")),
        Ask::Invalid(text) => Err(Skip::new(
            SkipReason::InvalidAnnotation,
            format!("annotation {}: {text:?} is no binding's name, nor true or false", names::INJECT),
        )),
        Ask::Named(name) => bindings.find(|b| b.borrow().name_any() == *name).ok_or_else(|| {
            Skip::new(
                SkipReason::BindingNotFound,
                format!("there is no CacheBinding {name} in the pod's namespace"),
            )
        }),
        Ask::TheOnly => match (bindings.next(), bindings.next()) {
            (Some(binding), None) => Ok(binding),
            (None, _) => Err(Skip::new(
                SkipReason::BindingNotFound,
                "there is no CacheBinding in the pod's namespace, so true names none",
            )),
            (Some(first), Some(second)) => Err(Skip::new(
                SkipReason::Ambiguous,
                format!(
                    "true could mean CacheBinding {} or {}: put the name into the annotation {}",
                    first.borrow().name_any(),
                    second.borrow().name_any(),
                    names::INJECT
                ),
            )),
        },
    }
}

/// Whether an object of Kubernetes can be named so: a DNS subdomain, here of at most a binding's length.
fn is_object_name(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    text.len() <= names::MAX_BINDING_NAME && text.split('.').all(part)
}
