//! What the ledger of retention is told about a binding, before anything is done that can fail.
//!
//! Sidecars follow what was rendered last, whatever the object says now. Those streams are held until the rendering is
//! what the object says: nothing is removed from them, since what is rendered doesn't say how long entries are to stay.

use std::collections::BTreeSet;

use freshet_crds::{
    binding::{Binding, SourceSpec, TransportSpec},
    manifest, names,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Resource as _, ResourceExt as _};

use super::{
    Guarded,
    validate::{Rejected, Validated},
};
use crate::{
    injection::is_of,
    retention::{
        Ledger, There, Want,
        plan::{trimmed, written},
    },
};

/// The binding as the watch has it.
pub(super) fn there(object: &Guarded) -> There {
    There {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        generation: object.meta().generation,
    }
}

/// Tells the ledger what is known before rendering, or without it. Where that isn't enough it is told nothing, and
/// nothing is removed anywhere.
pub(super) fn tell(
    ledger: &Ledger,
    object: &Guarded,
    validated: Result<&Validated, &Rejected>,
    config_map: Option<&ConfigMap>,
) {
    let uid = object.uid().unwrap_or_default();
    let now = object.0.as_ref().ok().and_then(|binding| Binding::parse(binding).ok());
    match (validated, rendered(config_map, &object.name_any())) {
        (Ok(validated), Ok(rendered)) => {
            let mut wants = validated.wants.clone();
            wants.extend(rendered.iter().flat_map(|rendered| hold(rendered, now.as_ref())));
            ledger.want(&uid, there(object), Some(wants));
        }
        // It wants what it wanted: a change that isn't accepted has no effect.
        (Err(_), _) if ledger.wanted(&uid).is_some() => ledger.want(&uid, there(object), None),
        (Err(_), Ok(rendered)) => {
            // What was rendered may be in someone else's ConfigMap by now, or gone.
            let both = rendered.iter().chain(&now);
            ledger.want(&uid, there(object), Some(both.flat_map(|binding| hold(binding, None)).collect()));
        }
        (_, Err(Unclear)) => {}
    }
}

/// Tells the ledger that what the object says is rendered.
pub(super) fn tell_rendered(ledger: &Ledger, object: &Guarded, validated: &Validated) {
    ledger.want(&object.uid().unwrap_or_default(), there(object), Some(validated.wants.clone()));
}

/// Something was rendered of which this version can't tell which streams it follows.
struct Unclear;

/// What was rendered last; `None`: nothing.
fn rendered(config_map: Option<&ConfigMap>, binding: &str) -> Result<Option<Binding>, Unclear> {
    let Some(config_map) = config_map.filter(|config_map| is_of(config_map, binding)) else {
        return Ok(None);
    };
    let text = config_map.data.as_ref().and_then(|data| data.get(names::MANIFEST_FILE)).ok_or(Unclear)?;
    let manifest = manifest::read(text).map_err(|_| Unclear)?;
    let newer = &manifest.newer;
    if !newer.caches.is_empty() || newer.fields.iter().any(|field| field.starts_with("spec.sources")) {
        return Err(Unclear);
    }
    manifest.binding().map(Some).map_err(|_| Unclear)
}

/// Holds the streams that `binding` follows, but for those that are the same in `now`. Wherever they are: its Secrets
/// may be gone.
fn hold(binding: &Binding, now: Option<&Binding>) -> Vec<Want> {
    let sources = trimmed(binding).map(|(index, source, _)| (source, written(binding, index, source)));
    let is_kept = |source: &SourceSpec, streams: &BTreeSet<String>| {
        now.is_some_and(|now| {
            now.sources.iter().enumerate().any(|(index, other)| {
                is_same_place(&other.transport, &source.transport)
                    && other.layout == source.layout
                    && streams.is_subset(&written(now, index, other))
            })
        })
    };
    let left = sources.filter(|(source, streams)| !is_kept(source, streams));
    left.map(|(source, streams)| Want { source: source.name.clone(), target: None, streams, retention: None })
        .collect()
}

/// Whether both are found by the same URL, whatever else is said of them.
fn is_same_place(one: &TransportSpec, other: &TransportSpec) -> bool {
    one.redis_stream().zip(other.redis_stream()).is_some_and(|(one, other)| one.url == other.url)
}

#[cfg(test)]
mod tests;
