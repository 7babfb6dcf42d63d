//! What about a pod makes injection impossible, whatever the binding says.

use freshet_crds::names;
use serde_json::Value;

use super::{Ask, Skip, SkipReason, mounts, os, sidecar};

/// What stands against injecting this pod, if anything does. The binding plays no part in it.
#[must_use]
pub fn obstacle(pod: &Value) -> Option<Skip> {
    let skip = |reason, message: String| Some(Skip::new(reason, message));
    match Ask::of(pod) {
        None => return skip(SkipReason::NotAsked, format!("the pod has no annotation {}", names::INJECT)),
        Some(Ask::Never) => return skip(SkipReason::OptedOut, "the pod opted out".into()),
        Some(Ask::TheOnly | Ask::Named(_) | Ask::Invalid(_)) => {}
    }
    let annotation = |name: &str| pod.pointer("/metadata/annotations").and_then(|a| a.get(name));
    if annotation("kubernetes.io/config.mirror").is_some() {
        return skip(
            SkipReason::StaticPod,
            "a static pod comes from a file of its node: nothing can be added".into(),
        );
    }
    if os::is_elsewhere(pod) {
        return skip(SkipReason::NotLinux, "the sidecar runs on Linux only".into());
    }
    if containers(pod).any(|c| name(c) == sidecar::CONTAINER) {
        return if annotation(names::INJECTED).is_some() {
            skip(SkipReason::AlreadyInjected, "the pod carries the sidecar already".into())
        } else {
            let message =
                format!("a container of the pod is called {} already: rename it", sidecar::CONTAINER);
            skip(SkipReason::ContainerNameTaken, message)
        };
    }
    let label = pod.pointer("/metadata/labels").and_then(|labels| labels.get(names::BINDING));
    let taken =
        [("label", names::BINDING, label), ("annotation", names::INJECTED, annotation(names::INJECTED))];
    if let Some((kind, name, _)) = taken.into_iter().find(|(_, _, value)| value.is_some()) {
        // Changing it would take the pod from whoever selects it by that.
        let message = format!("the pod brings the {kind} {name}, which is Freshet's to set: leave it out");
        return skip(SkipReason::ReservedNameTaken, message);
    }
    if pod.pointer("/spec/hostNetwork").and_then(Value::as_bool) == Some(true) {
        let message = format!(
            "hostNetwork: the sidecar would take the node's ports {} and {}",
            sidecar::API_PORT,
            sidecar::ADMIN_PORT
        );
        return skip(SkipReason::HostNetwork, message);
    }
    if let Some(volume) =
        list(pod, "/spec/volumes").map(name).find(|volume| sidecar::VOLUMES.contains(volume))
    {
        return skip(
            SkipReason::VolumeNameTaken,
            format!("a volume of the pod is called {volume} already: rename it"),
        );
    }
    for container in containers(pod) {
        if let Some(skip) = in_the_way(pod, container) {
            return Some(skip);
        }
    }
    None
}

/// What one container has that is ours.
fn in_the_way(pod: &Value, container: &Value) -> Option<Skip> {
    let name = name(container);
    for port in list(container, "/ports") {
        let number = port.get("containerPort").and_then(Value::as_u64);
        let tcp = port.get("protocol").and_then(Value::as_str).is_none_or(|protocol| protocol == "TCP");
        if let Some(number) =
            number.filter(|n| [sidecar::API_PORT, sidecar::ADMIN_PORT].map(u64::from).contains(n))
            && tcp
        {
            let message =
                format!("container {name} has port {number}, which is the sidecar's: choose another one");
            return Some(Skip::new(SkipReason::PortTaken, message));
        }
    }
    let collision = list(container, "/volumeMounts").find_map(|mount| mounts::collision(pod, mount))?;
    Some(Skip::new(SkipReason::MountPathTaken, format!("container {name} {collision}")))
}

/// The containers of both lists.
fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    list(pod, "/spec/initContainers").chain(list(pod, "/spec/containers"))
}

fn list<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = &'v Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn name(value: &Value) -> &str {
    value.get("name").and_then(Value::as_str).unwrap_or_default()
}
