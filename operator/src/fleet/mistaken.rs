//! Pods with an annotation that was probably meant to be ours. One that asks for a binding besides is told by the
//! webhook; the others never get there, so they are told here.

use std::{collections::BTreeSet, mem};

use k8s_openapi::api::core::v1::{self as core, ObjectReference};
use kube::{Resource as _, ResourceExt as _, core::PartialObjectMeta, runtime::watcher::Event};

use crate::{
    events::{Events, Warning},
    injection::{Ask, unknown_annotations},
};

/// Tells each such pod once, for as long as it exists and we lead: what another replica has told isn't known.
#[derive(Debug, Default)]
pub(super) struct Mistaken {
    told: BTreeSet<String>,
    listed: BTreeSet<String>,
}

// === impl Mistaken ===

impl Mistaken {
    /// Looks at a change that the watch reports.
    pub(super) fn look(&mut self, event: &Event<PartialObjectMeta<core::Pod>>, events: &Events) {
        for warning in self.warnings(event) {
            events.warn(warning);
        }
    }

    fn warnings(&mut self, event: &Event<PartialObjectMeta<core::Pod>>) -> Vec<Warning> {
        let uid = |pod: &PartialObjectMeta<core::Pod>| pod.uid().unwrap_or_default();
        let mut new = Vec::new();
        match event {
            Event::Init => self.listed.clear(),
            Event::InitDone => self.told = mem::take(&mut self.listed),
            Event::Delete(pod) => drop(self.told.remove(&uid(pod))),
            Event::InitApply(pod) | Event::Apply(pod) => {
                let warnings = warnings(pod);
                if !warnings.is_empty() {
                    if matches!(event, Event::InitApply(_)) {
                        self.listed.insert(uid(pod));
                    }
                    if self.told.insert(uid(pod)) {
                        new = warnings;
                    }
                }
            }
        }
        new
    }
}

/// What is to be said about a pod of which the webhook wasn't asked.
fn warnings(pod: &PartialObjectMeta<core::Pod>) -> Vec<Warning> {
    let annotations = pod.annotations();
    if Ask::of_annotations(annotations).is_some_and(|ask| ask != Ask::Never) {
        return Vec::new();
    }
    let about = || {
        let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
        let Some(owner) = owner else {
            let (api_version, kind) = (Some("v1".into()), Some("Pod".into()));
            return ObjectReference { api_version, kind, ..pod.object_ref(&()) };
        };
        ObjectReference {
            api_version: Some(owner.api_version.clone()),
            kind: Some(owner.kind.clone()),
            name: Some(owner.name.clone()),
            uid: Some(owner.uid.clone()),
            namespace: pod.namespace(),
            ..ObjectReference::default()
        }
    };
    unknown_annotations(annotations.keys().map(String::as_str))
        .map(|message| Warning { about: about(), reason: "UnknownName".into(), action: "Inject", message })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(uid: &str, annotations: &Value) -> PartialObjectMeta<core::Pod> {
        let owner = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "r", "controller": true,
        });
        serde_json::from_value(json!({ "metadata": {
            "name": "web-1", "namespace": "shop", "uid": uid, "annotations": annotations, "ownerReferences": [owner],
        } }))
        .unwrap()
    }

    #[test]
    fn a_mistaken_annotation_is_told_once_and_to_the_owner() {
        let typo = json!({ "freshet.dev/injekt": "shop" });
        let mut mistaken = Mistaken::default();
        let told = mistaken.warnings(&Event::Apply(pod("1", &typo)));
        assert_eq!((told.len(), told[0].about.kind.as_deref()), (1, Some("ReplicaSet")));
        assert!(told[0].message.contains("freshet.dev/injekt"), "{}", told[0].message);
        assert!(mistaken.warnings(&Event::Apply(pod("1", &typo))).is_empty(), "a status isn't news");
        mistaken.warnings(&Event::Init);
        assert!(mistaken.warnings(&Event::InitApply(pod("1", &typo))).is_empty(), "nor is a new list");
        assert_eq!(mistaken.warnings(&Event::InitApply(pod("2", &typo))).len(), 1);
        mistaken.warnings(&Event::InitDone);
        assert!(mistaken.warnings(&Event::Apply(pod("1", &typo))).is_empty());
        mistaken.warnings(&Event::Delete(pod("1", &typo)));
        assert_eq!(mistaken.told.len(), 1, "what is gone is forgotten");
    }

    #[test]
    fn only_what_the_webhook_was_not_asked_about_is_told_here() {
        let told =
            |annotations: Value| Mistaken::default().warnings(&Event::Apply(pod("1", &annotations))).len();
        assert_eq!(told(json!({ "freshet.dev/injekt": "x", "freshet.dev/inject": "shop" })), 0);
        assert_eq!(told(json!({ "freshet.dev/injekt": "x", "freshet.dev/inject": "false" })), 1);
        assert_eq!(told(json!({ "freshet.dev/inject": "false", "example.com/inject": "x" })), 0);
    }
}
