//! The chart's values and its notes, as helm renders them.

use anyhow::{Context as _, Result, ensure};
use freshet_crds::{binding::Binding, manifest};
use serde_json::{Value, json};

use crate::control_plane::ControlPlane;

/// Values that the rest of the story leaves as they are.
const VALUES: &[(&str, &str)] = &[
    ("image.pullSecrets", r#"[{"name":"mirror"}]"#),
    ("image.digest", r#""sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef""#),
    ("sidecar.image.pullSecrets", r#"[{"name":"one"},{"name":"two"}]"#),
    ("tolerations", r#"[{"key":"infra","operator":"Exists"}]"#),
    ("nodeSelector", r#"{"zone":"a"}"#),
    ("affinity", r#"{"podAntiAffinity":{}}"#),
    ("commonLabels", r#"{"team":"caches"}"#),
    ("podLabels", r#"{"sidecar.istio.io/inject":"false"}"#),
    ("podAnnotations", r#"{"note":"x"}"#),
    ("priorityClassName", r#""system-cluster-critical""#),
];

/// All values that place, pull and label the operator's pods come out where they belong, and the API server takes it.
pub(crate) fn values(plane: &ControlPlane) -> Result<()> {
    let settings: Vec<_> = VALUES.iter().map(|(key, value)| format!("--set-json={key}={value}")).collect();
    let settings: Vec<_> = settings.iter().map(String::as_str).collect();
    let rendered = plane.chart(&settings)?;
    let mut deployment = Value::Null;
    for document in serde_yaml::Deserializer::from_str(&rendered) {
        let object: Value = serde::Deserialize::deserialize(document)?;
        let (kind, labels) = (&object["kind"], &object["metadata"]["labels"]);
        ensure!(kind == "CustomResourceDefinition" || labels["team"] == "caches", "{kind}: {labels}");
        if kind == "Deployment" {
            deployment = object;
        }
    }
    let apply = ["apply", "--server-side", "--field-manager", "helm", "--dry-run=server", "--filename", "-"];
    plane.try_kubectl(&apply, &deployment.to_string())?.succeeded()?;
    let template = &deployment["spec"]["template"];
    let (metadata, spec) = (&template["metadata"], &template["spec"]);
    ensure!(metadata["labels"]["sidecar.istio.io/inject"] == "false", "{metadata}");
    ensure!(metadata["labels"]["team"] == "caches" && metadata["annotations"]["note"] == "x", "{metadata}");
    let selector = &deployment["spec"]["selector"]["matchLabels"];
    ensure!(selector["team"].is_null(), "a selector can't change, and labels do: {selector}");
    ensure!(spec["imagePullSecrets"] == json!([{ "name": "mirror" }]), "{spec}");
    ensure!(spec["tolerations"] == json!([{ "key": "infra", "operator": "Exists" }]), "{spec}");
    ensure!(spec["nodeSelector"] == json!({ "zone": "a" }), "{spec}");
    ensure!(spec["affinity"] == json!({ "podAntiAffinity": {} }), "{spec}");
    ensure!(spec["priorityClassName"] == "system-cluster-critical", "{spec}");
    let container = &spec["containers"][0];
    let image = container["image"].as_str().context("an image")?;
    ensure!(image.starts_with("ghcr.io/") && image.contains("@sha256:0123"), "{image}");
    let env = container["env"].as_array().context("env")?;
    let secrets = env.iter().find(|env| env["name"] == "FRESHET_SIDECAR_IMAGE_PULL_SECRETS");
    ensure!(secrets.is_some_and(|env| env["value"] == "one,two"), "{env:?}");
    Ok(())
}

/// What the notes tell to paste into a shell ends where it should, and is a binding.
pub(crate) fn notes(plane: &ControlPlane) -> Result<()> {
    let notes = plane.notes()?;
    let (_, pasted) = notes.split_once("<<EOF\n").with_context(|| notes.clone())?;
    let (text, _) = pasted.split_once("\nEOF\n").with_context(|| format!("no end in {notes}"))?;
    let binding = manifest::read(text)?;
    Binding::parse(&binding.object).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
    plane
        .try_kubectl(&["--namespace", "default", "apply", "--dry-run=server", "--filename", "-"], text)?
        .succeeded()
        .map(drop)
}
