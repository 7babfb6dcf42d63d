//! The words in which the story is told.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use freshet_e2e::process::until;
use serde_json::{Value, json};

use crate::control_plane::ControlPlane;

/// How long what the operator does by itself may take.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// How long a status may take that isn't urgent: such are written at most every 30 s.
pub(crate) const PACED: Duration = Duration::from_secs(45);
pub(crate) const SHOP: &str = include_str!("../../../crds/tests/shop.yaml");

pub(crate) fn namespace(plane: &ControlPlane, name: &str) -> Result<()> {
    plane.kubectl(&["create", "namespace", name])?;
    // Pods can't be made before it.
    until("the ServiceAccount", SOON, || plane.get(name, "serviceaccount/default").map(drop))
}

/// The caBundle, in base64 as it is in the object.
pub(crate) fn ca_bundle_of(plane: &ControlPlane) -> Result<String> {
    let webhook = plane.get("default", "mutatingwebhookconfiguration/freshet-freshet-system")?;
    let bundle = webhook["webhooks"][0]["clientConfig"]["caBundle"].as_str().map(str::to_owned);
    bundle.context("there is no caBundle")
}

pub(crate) fn secret(plane: &ControlPlane, url: &str) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "redis", "namespace": "shop" },
        "stringData": { "url": url },
    });
    plane.apply(&secret.to_string()).map(drop)
}

pub(crate) fn shop_with_secret() -> String {
    let from = "urlFrom: {secretKeyRef: {name: redis, key: url}}";
    SHOP.replace("name: shop\n", "name: shop\n  namespace: shop\n").replace("url: redis://redis:6379", from)
}

pub(crate) fn rendered(plane: &ControlPlane) -> Result<String> {
    let config_map = plane.get("shop", "configmap/freshet-shop")?;
    Ok(config_map["data"]["binding.yaml"].as_str().context("binding.yaml")?.to_owned())
}

pub(crate) fn condition(binding: &Value, kind: &str) -> Result<Value> {
    let conditions = binding["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == kind);
    found.cloned().with_context(|| format!("no {kind} in {}", binding["status"]))
}

pub(crate) fn until_condition(plane: &ControlPlane, kind: &str, status: &str, reason: &str) -> Result<()> {
    // What is waited for of the others isn't all urgent: another reason for the same, and what is counted.
    let within = if kind == "Accepted" { SOON } else { PACED };
    until(&format!("{kind}={status} {reason}"), within, || {
        let binding = plane.get("shop", "cachebinding/shop")?;
        let condition = condition(&binding, kind)?;
        // What is said of an earlier spec may be the same words.
        ensure!(condition["observedGeneration"] == binding["metadata"]["generation"], "{condition}");
        ensure!(condition["status"] == status && condition["reason"] == reason, "{condition}");
        Ok(())
    })
}

/// Waits for an Event about an object of this kind with these words.
pub(crate) fn event_about(
    plane: &ControlPlane,
    namespace: &str,
    kind: &str,
    reason: &str,
    words: &str,
) -> Result<()> {
    until(&format!("an Event about a {kind}: {words}"), SOON, || {
        let events = plane.get(namespace, "events.events.k8s.io")?;
        let events = events["items"].as_array().context("items")?;
        let is_it = |event: &&Value| {
            let note = event["note"].as_str().unwrap_or_default();
            event["regarding"]["kind"] == kind && event["reason"] == reason && note.contains(words)
        };
        events.iter().find(is_it).map(drop).with_context(|| format!("{} others", events.len()))
    })
}

pub(crate) fn replica_set(name: &str, namespace: &str) -> String {
    let mut template = pod_of(name, Some("shop"), &json!({}));
    if let Some(template) = template.as_object_mut() {
        template.retain(|key, _| matches!(key.as_str(), "metadata" | "spec"));
    }
    template["metadata"]["labels"] = json!({ "app": name });
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": { "name": name, "namespace": namespace },
        "spec": { "replicas": 2, "selector": { "matchLabels": { "app": name } }, "template": template },
    })
    .to_string()
}

pub(crate) fn pod_of(name: &str, inject: Option<&str>, more: &Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": { "containers": [{ "name": "app", "image": "app" }] },
    });
    if let Some(inject) = inject {
        pod["metadata"]["annotations"] = json!({ "freshet.dev/inject": inject });
    }
    for (key, value) in more.as_object().into_iter().flatten() {
        pod["spec"][key] = value.clone();
    }
    pod
}

/// Makes a pod and gives it back with what was said about it.
pub(crate) fn create(
    plane: &ControlPlane,
    name: &str,
    inject: Option<&str>,
    more: &Value,
) -> Result<(Value, String)> {
    create_in(plane, "shop", name, inject, more)
}

pub(crate) fn create_in(
    plane: &ControlPlane,
    namespace: &str,
    name: &str,
    inject: Option<&str>,
    more: &Value,
) -> Result<(Value, String)> {
    let pod = pod_of(name, inject, more).to_string();
    let said = plane
        .try_kubectl(&["--namespace", namespace, "create", "--output", "json", "--filename", "-"], &pod)?;
    let warnings = said.errors.clone();
    Ok((serde_json::from_str(&said.succeeded()?)?, warnings))
}

pub(crate) fn injected(plane: &ControlPlane, name: &str) -> Result<Value> {
    let (pod, warnings) = create(plane, name, Some("shop"), &json!({}))?;
    ensure!(pod["metadata"]["labels"]["freshet.dev/binding"] == "shop", "{warnings} {pod}");
    Ok(pod)
}
