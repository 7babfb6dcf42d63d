//! What becomes of pods: injected, counted, or left as they are.

use std::thread;

use anyhow::{Result, bail, ensure};
use freshet_e2e::process::until;
use serde_json::{Value, json};

use super::{bindings::freeze, control_plane::ControlPlane, pods, replica::Replica, vocabulary::*};

pub(super) fn injects(plane: &ControlPlane) -> Result<()> {
    let pod = injected(plane, "web")?;
    let sidecar = &pod["spec"]["initContainers"][0];
    ensure!(sidecar["name"] == "freshet" && sidecar["restartPolicy"] == "Always", "{sidecar}");
    let token = "/var/run/secrets/kubernetes.io/serviceaccount";
    let mounts = |container: &Value| {
        let mounts = container["volumeMounts"].as_array().cloned().unwrap_or_default();
        let at = mounts.iter().filter(|mount| mount["mountPath"] == token);
        at.map(|mount| mount["name"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    ensure!(mounts(sidecar) == ["freshet-no-token"], "the sidecar has a token: {sidecar}");
    let app = &pod["spec"]["containers"][0];
    ensure!(mounts(app).len() == 1 && mounts(app)[0].starts_with("kube-api-access"), "{app}");
    // With nothing but a name in common: whoever doesn't ask is not touched in any way.
    let plain = create(plane, "plain", None, &json!({}))?.0;
    ensure!(
        plain["spec"]["initContainers"].is_null() && plain["metadata"]["annotations"].is_null(),
        "{plain}"
    );
    ensure!(plain["spec"]["volumes"].as_array().is_some_and(|volumes| volumes.len() == 1), "{plain}");
    plane.kubectl(&["--namespace", "shop", "delete", "pod/web", "pod/plain", "--now"]).map(drop)
}

/// What is added passes the restricted Pod Security Standard wherever the pod itself does.
pub(super) fn strict(plane: &ControlPlane) -> Result<()> {
    namespace(plane, "strict")?;
    plane.kubectl(&["label", "namespace", "strict", "pod-security.kubernetes.io/enforce=restricted"])?;
    plane
        .try_kubectl(
            &["--namespace", "strict", "apply", "-f", "-"],
            &shop_with_secret().replace("  namespace: shop\n", ""),
        )?
        .succeeded()?;
    let own = json!({
        "containers": [{ "name": "app", "image": "app", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] }, "runAsNonRoot": true,
            "seccompProfile": { "type": "RuntimeDefault" },
        } }],
    });
    let (pod, warnings) = create_in(plane, "strict", "web", Some("true"), &own)?;
    ensure!(pod["spec"]["initContainers"][0]["name"] == "freshet", "{warnings} {pod}");
    ensure!(create_in(plane, "strict", "bad", None, &json!({})).is_err(), "the standard isn't enforced");
    Ok(())
}

pub(super) fn counts(plane: &ControlPlane) -> Result<()> {
    plane.apply(&replica_set("web", "shop"))?;
    until_condition(plane, "Injected", "True", "AllInjected")?;
    let counted = |wanted: Value| {
        until(&format!("{wanted}"), PACED, || {
            let pods = plane.get("shop", "cachebinding/shop")?["status"]["pods"].clone();
            ensure!(pods == wanted, "{pods}");
            Ok(())
        })
    };
    counted(json!({ "matched": 2, "injected": 2, "ready": 0, "missing": 0, "outdated": 0 }))?;
    // What a kubelet would report.
    let pods = plane.kubectl(&["--namespace", "shop", "get", "pods", "--output", "name"])?;
    let started = json!({ "status": { "initContainerStatuses": [{
        "name": "freshet", "started": true, "ready": true, "restartCount": 0, "image": "i", "imageID": "i",
        "state": { "running": { "startedAt": "2026-11-21T12:00:00Z" } },
    }] } });
    for pod in pods.lines() {
        let patch = started.to_string();
        plane.kubectl(&["--namespace", "shop", "patch", pod, "--subresource=status", "--patch", &patch])?;
    }
    // Refused: new pods would get what was rendered last, as these have, so they are as they should be.
    freeze(plane)?;
    plane.apply(&shop_with_secret().replace("memory: 64Mi", "memory: 128Mi"))?;
    until_condition(plane, "Accepted", "False", "RenderFailed")?;
    until_condition(plane, "Injected", "True", "AllInjected")?;
    // Accepted: the field that running sidecars can't follow.
    plane.kubectl(&["--namespace", "shop", "delete", "configmap/freshet-shop"])?;
    until_condition(plane, "Injected", "True", "Outdated")?;
    let binding = plane.get("shop", "cachebinding/shop")?;
    let message = condition(&binding, "Injected")?["message"].as_str().unwrap_or_default().to_owned();
    ensure!(message.contains("(resources)"), "{message}");
    plane.apply(&shop_with_secret())?;
    until_condition(plane, "Injected", "True", "AllInjected")?;
    let (_, warning) = create(plane, "host", Some("shop"), &json!({ "hostNetwork": true }))?;
    ensure!(warning.contains("HostNetwork"), "{warning}");
    until_condition(plane, "Injected", "False", "MissedInjection")?;
    until_condition(plane, "Ready", "False", "MissedInjection")?;
    counted(json!({ "matched": 3, "injected": 2, "ready": 2, "missing": 1, "outdated": 0 }))?;
    plane.kubectl(&["--namespace", "shop", "delete", "pod/host", "--now"])?;
    until_condition(plane, "Ready", "True", "Serving")
}

pub(super) fn comes_later(plane: &ControlPlane, webhook: &Replica) -> Result<()> {
    namespace(plane, "later")?;
    thread::scope(|scope| {
        let pod = scope.spawn(|| create_in(plane, "later", "web", Some("true"), &json!({})));
        until("the pod waits in the webhook", SOON, || {
            let log = webhook.child.log();
            let mut waiting = log.lines().filter(|line| line.contains("waiting for a binding"));
            ensure!(waiting.any(|line| line.contains("\"later\"")), "it doesn't");
            Ok(())
        })?;
        plane.try_kubectl(&["--namespace", "later", "apply", "-f", "-"], SHOP)?.succeeded()?;
        let (pod, warnings) = pod.join().map_err(|_| anyhow::anyhow!("the thread has failed"))??;
        ensure!(pod["metadata"]["labels"]["freshet.dev/binding"] == "shop", "{warnings} {pod}");
        Ok(())
    })
}

pub(super) fn never_comes(plane: &ControlPlane) -> Result<()> {
    namespace(plane, "never")?;
    plane.apply(&replica_set("web", "never"))?;
    event_about(plane, "never", "ReplicaSet", "BindingNotFound", "CacheBinding shop")?;
    let (pod, warning) = create_in(plane, "never", "single", Some("shop"), &json!({}))?;
    ensure!(pod["spec"]["initContainers"].is_null(), "{pod}");
    ensure!(warning.contains("Warning: freshet: ") && warning.contains("BindingNotFound"), "{warning}");
    event_about(plane, "never", "Pod", "BindingNotFound", "CacheBinding shop")?;
    // The beginning of a name, which no Event's may be; its words are its own.
    let mut nameless = pod_of("", Some("shap"), &json!({}));
    nameless["metadata"] =
        json!({ "generateName": "single-", "annotations": nameless["metadata"]["annotations"] });
    plane
        .try_kubectl(&["--namespace", "never", "create", "--filename", "-"], &nameless.to_string())?
        .succeeded()?;
    event_about(plane, "never", "Pod", "BindingNotFound", "CacheBinding shap")?;
    plane.try_kubectl(&["--namespace", "never", "apply", "-f", "-"], SHOP)?.succeeded()?;
    until("they are counted as missing", SOON, || {
        let binding = plane.get("never", "cachebinding/shop")?;
        let injected = condition(&binding, "Injected")?;
        ensure!(injected["reason"] == "MissedInjection", "{injected}");
        Ok(())
    })
}

pub(super) fn without_operator(plane: &ControlPlane) -> Result<()> {
    create(plane, "plain-without", None, &json!({}))?;
    pods::of_the_operator(plane)?;
    match create(plane, "asks-without", Some("shop"), &json!({})) {
        Ok(_) => bail!("a pod that asks was admitted without a sidecar"),
        Err(error) => {
            ensure!(format!("{error:#}").contains("failed calling webhook"), "{error:#}");
            Ok(())
        }
    }
}
