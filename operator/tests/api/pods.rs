//! Pods of special kinds, as the API server takes them.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{
    control_plane::ControlPlane,
    vocabulary::{create, create_in, event_about, pod_of},
};

/// Whatever a pod brings, the API server takes what becomes of it.
pub(crate) fn decide(plane: &ControlPlane) -> Result<()> {
    // A budget for the whole pod, smaller than what the sidecar has by itself.
    let budget = json!({ "resources": { "limits": { "cpu": "1", "memory": "100Mi" } } });
    let (pod, warnings) = create(plane, "budget", Some("shop"), &budget)?;
    ensure!(pod["spec"]["initContainers"][0]["name"] == "freshet", "{warnings} {pod}");
    let selector = json!({ "nodeSelector": { "kubernetes.io/os": "windows" } });
    let (pod, warnings) = create(plane, "windows", Some("shop"), &selector)?;
    ensure!(pod["spec"]["initContainers"].is_null() && warnings.contains("NotLinux"), "{warnings} {pod}");
    let mut reserved = pod_of("reserved", Some("shop"), &json!({}));
    reserved["metadata"]["labels"] = json!({ "freshet.dev/binding": "theirs" });
    let arguments = ["--namespace", "shop", "create", "--output", "json", "--filename", "-"];
    let said = plane.try_kubectl(&arguments, &reserved.to_string())?;
    ensure!(said.errors.contains("ReservedNameTaken"), "{}", said.errors);
    let pod: Value = serde_json::from_str(&said.succeeded()?)?;
    ensure!(pod["metadata"]["labels"]["freshet.dev/binding"] == "theirs", "{pod}");
    // Not asked for by the name that counts, so that the webhook isn't asked: told all the same.
    let mut typo = pod_of("typo", None, &json!({}));
    typo["metadata"]["annotations"] = json!({ "freshet.dev/injekt": "shop" });
    plane.try_kubectl(&arguments, &typo.to_string())?.succeeded()?;
    event_about(plane, "shop", "Pod", "UnknownName", "freshet.dev/injekt")?;
    // In the system's own namespaces, too, a pod that asks is answered.
    let (_, warnings) = create_in(plane, "kube-system", "system", Some("nothing"), &json!({}))?;
    ensure!(warnings.contains("BindingNotFound"), "{warnings}");
    plane.kubectl(&["--namespace", "kube-system", "delete", "pod/system", "--now"])?;
    let all = ["pod/budget", "pod/windows", "pod/reserved", "pod/typo"];
    plane.kubectl(&[&["--namespace", "shop", "delete", "--now"], &all[..]].concat()).map(drop)
}

/// While no operator answers, one of its own pods can be made whatever its annotations say, or there would never be
/// one again.
pub(crate) fn of_the_operator(plane: &ControlPlane) -> Result<()> {
    let strict = json!({ "containers": [{ "name": "app", "image": "app", "securityContext": {
        "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] }, "runAsNonRoot": true,
        "seccompProfile": { "type": "RuntimeDefault" },
    } }] });
    let mut pod = pod_of("own", Some("shop"), &strict);
    let arguments = ["--namespace", "freshet-system", "create", "--filename", "-"];
    let said = plane.try_kubectl(&arguments, &pod.to_string())?;
    ensure!(said.errors.contains("failed calling webhook"), "any pod of our namespace: {}", said.errors);
    pod["metadata"]["labels"] =
        json!({ "app.kubernetes.io/name": "freshet", "app.kubernetes.io/instance": "freshet" });
    plane.try_kubectl(&arguments, &pod.to_string())?.succeeded().map(drop)
}
