//! The sidecar's container, its volumes, and what the application's containers get.

use std::time::Duration;

use freshet_crds::{ConfigMapKeyRef, SecretKeyRef, StartGate, names};
use serde_json::{Value, json};

use super::{Patch, Shape};

/// The container's name.
pub const CONTAINER: &str = "freshet";
/// The application-facing port, on loopback.
pub(super) const API_PORT: u16 = 3737;
/// The port of probes and metrics, on all addresses of the pod.
pub const ADMIN_PORT: u16 = 3738;
/// The name of that port in the pod.
pub const ADMIN_PORT_NAME: &str = "freshet-admin";
/// Where the socket's folder is, in every container.
pub(super) const RUN_FOLDER: &str = "/run/freshet";
/// The names of all volumes that are added.
pub(super) const VOLUMES: [&str; 5] =
    [RUN_VOLUME, BINDING_VOLUME, SECRETS_VOLUME, CONFIG_MAPS_VOLUME, NO_TOKEN_VOLUME];

const RUN_VOLUME: &str = "freshet-run";
const BINDING_VOLUME: &str = "freshet-binding";
const SECRETS_VOLUME: &str = "freshet-secrets";
const CONFIG_MAPS_VOLUME: &str = "freshet-config-maps";
const NO_TOKEN_VOLUME: &str = "freshet-no-token";
const PROGRAM: &str = "/freshet-sidecar";
const BINDING_FOLDER: &str = "/etc/freshet/binding";
const SECRETS_FOLDER: &str = "/etc/freshet/secrets";
const CONFIG_MAPS_FOLDER: &str = "/etc/freshet/config-maps";
const SOCKET: &str = "/run/freshet/freshet.sock";
/// Where Kubernetes puts its token unless something is mounted there already.
const TOKEN_FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Neither root nor a user of common images.
const USER: u32 = 65532;

/// Everything that makes the sidecar part of `pod`.
pub(super) fn additions(pod: &Value, shape: &Shape) -> Patch {
    let mut patch = Patch::default();
    patch.entry(pod, "/metadata/annotations", names::INJECTED, json!(shape.injected()).to_string());
    add(&mut patch, pod, shape);
    patch
}

/// All but the annotation, which describes the rest.
fn add(patch: &mut Patch, pod: &Value, shape: &Shape) {
    patch.entry(pod, "/metadata/labels", names::BINDING, shape.binding.as_str());
    let pull_secrets = shape.pull_secrets.iter().map(|name| json!({ "name": name }));
    let has = pod.pointer("/spec/imagePullSecrets").and_then(Value::as_array);
    let missing = pull_secrets.filter(|secret| !has.is_some_and(|has| has.contains(secret)));
    patch.behind(pod, "/spec/imagePullSecrets", missing.collect());
    patch.behind(pod, "/spec/volumes", volumes(shape));
    // The init containers before the sidecar is put in front of them, while their indices are still those of `pod`.
    for kind in ["containers", "initContainers"] {
        let list = pod.pointer(&format!("/spec/{kind}")).and_then(Value::as_array);
        for (index, container) in list.into_iter().flatten().enumerate() {
            application(patch, pod, &format!("/spec/{kind}/{index}"), container);
        }
    }
    // First, so that the other init containers can use it, too.
    patch.in_front(pod, "/spec/initContainers", vec![container(pod, shape)]);
}

/// What is the same for all bindings: whatever another version of the operator would do differently, seen in what it
/// does to one pod for one shape in which nothing is left out.
pub(super) fn template() -> Value {
    let shape = Shape {
        binding: "binding".into(),
        version: String::new(),
        image: "image".into(),
        pull_policy: "IfNotPresent".into(),
        pull_secrets: ["pull".to_owned()].into(),
        resources: json!({ "requests": { "cpu": "1" } }),
        start_gate: StartGate::Listening,
        start_deadline: None,
        secrets: [SecretKeyRef { name: "secret".into(), key: "key".into() }].into(),
        config_maps: [ConfigMapKeyRef { name: "config-map".into(), key: "key".into() }].into(),
    };
    let pod =
        json!({ "spec": { "containers": [{ "name": "app" }], "initContainers": [{ "name": "init" }] } });
    let mut patch = Patch::default();
    add(&mut patch, &pod, &shape);
    json!(patch)
}

/// The address of the sidecar and its socket, for one of the application's containers. Where its `env` sets one of
/// them, that stays; what it has by `envFrom` can't be seen here, and ours come after that.
fn application(patch: &mut Patch, pod: &Value, place: &str, container: &Value) {
    let url = format!("http://127.0.0.1:{API_PORT}");
    let env = container.get("env").and_then(Value::as_array);
    let sets = |name: &str| {
        env.is_some_and(|env| env.iter().any(|e| e.get("name").and_then(Value::as_str) == Some(name)))
    };
    let ours = [("FRESHET_URL", url.as_str()), ("FRESHET_SOCKET", SOCKET)];
    let missing = ours.into_iter().filter(|(name, _)| !sets(name));
    // In front, because `$(FRESHET_URL)` in a variable sees only those before it.
    patch.in_front(
        pod,
        &format!("{place}/env"),
        missing.map(|(name, value)| json!({ "name": name, "value": value })).collect(),
    );
    let mount = json!({ "name": RUN_VOLUME, "mountPath": RUN_FOLDER, "readOnly": true });
    patch.behind(pod, &format!("{place}/volumeMounts"), vec![mount]);
}

/// The sidecar itself: a native one (restartable init container) that passes the restricted Pod Security Standard
/// by its own settings, since the pod's are the author's.
fn container(pod: &Value, shape: &Shape) -> Value {
    let mut container = json!({
        "name": CONTAINER,
        "image": shape.image,
        "imagePullPolicy": shape.pull_policy,
        "restartPolicy": "Always",
        "command": [PROGRAM],
        // Not as arguments: the probes are the same program and read them, too.
        "env": [
            { "name": "FRESHET_BINDING", "value": format!("{BINDING_FOLDER}/{}", names::MANIFEST_FILE) },
            { "name": "FRESHET_LISTEN", "value": format!("127.0.0.1:{API_PORT}") },
            { "name": "FRESHET_SOCKET", "value": SOCKET },
            { "name": "FRESHET_ADMIN", "value": format!("[::]:{ADMIN_PORT}") },
            { "name": "FRESHET_SECRETS", "value": SECRETS_FOLDER },
            { "name": "FRESHET_CONFIG_MAPS", "value": CONFIG_MAPS_FOLDER },
        ],
        "ports": [{ "name": ADMIN_PORT_NAME, "containerPort": ADMIN_PORT, "protocol": "TCP" }],
        "resources": resources(pod, shape),
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "readOnlyRootFilesystem": true,
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] },
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        // Executed in the container: a probe over HTTP would need the port to be reachable from the node.
        "livenessProbe": {
            "exec": { "command": [PROGRAM, "probe", "live"] },
            "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            { "name": RUN_VOLUME, "mountPath": RUN_FOLDER },
            { "name": BINDING_VOLUME, "mountPath": BINDING_FOLDER, "readOnly": true },
            // Kubernetes mounts its token into every container that has nothing there, also into ours, because it
            // looks again after a webhook has changed a pod.
            { "name": NO_TOKEN_VOLUME, "mountPath": TOKEN_FOLDER, "readOnly": true },
        ],
    });
    let kinds = [
        (shape.secrets.is_empty(), SECRETS_VOLUME, SECRETS_FOLDER),
        (shape.config_maps.is_empty(), CONFIG_MAPS_VOLUME, CONFIG_MAPS_FOLDER),
    ];
    for (_, volume, folder) in kinds.into_iter().filter(|(none, ..)| !none) {
        if let Some(mounts) = container["volumeMounts"].as_array_mut() {
            mounts.push(json!({ "name": volume, "mountPath": folder, "readOnly": true }));
        }
    }
    if shape.start_gate != StartGate::None {
        // The sidecar itself opens the gate at the deadline: whoever isn't listening by then, and a minute later, is ill.
        let waits = shape.start_deadline.map_or(0, |deadline| deadline.as_secs());
        container["startupProbe"] = json!({
            "exec": { "command": [PROGRAM, "probe", "startup"] },
            "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": waits + 60,
        });
    }
    if let (Some(deadline), Some(env)) = (shape.start_deadline, container["env"].as_array_mut()) {
        // The binding says the same, and may come later.
        let gate = format!("{:?}", shape.start_gate);
        env.push(json!({ "name": "FRESHET_START_GATE", "value": gate }));
        env.push(json!({ "name": "FRESHET_START_DEADLINE", "value": deadline_text(deadline) }));
    }
    container
}

/// A duration as the sidecar reads it: of milliseconds alone it takes no more than nine digits.
fn deadline_text(deadline: Duration) -> String {
    format!("{}s{}ms", deadline.as_secs(), deadline.subsec_millis())
}

/// The sidecar's resources, less those for which the pod as a whole has a budget: the API server refuses a pod whose
/// containers ask for more than that, and within it they share.
fn resources(pod: &Value, shape: &Shape) -> Value {
    let mut resources = shape.resources.clone();
    let budget = ["requests", "limits"].map(|kind| pod.pointer(&format!("/spec/resources/{kind}")));
    for kind in ["requests", "limits"] {
        if let Some(ours) = resources.get_mut(kind).and_then(Value::as_object_mut) {
            ours.retain(|what, _| !budget.iter().flatten().any(|budget| budget.get(what).is_some()));
        }
    }
    resources
}

fn volumes(shape: &Shape) -> Vec<Value> {
    let config_map = format!("{}{}", names::CONFIG_MAP_PREFIX, shape.binding);
    let mut volumes = vec![
        run_volume(),
        // Optional: the pod may come before the ConfigMap, and outlive it.
        json!({ "name": BINDING_VOLUME, "configMap": { "name": config_map, "optional": true } }),
        no_token_volume(),
    ];
    let secrets = shape.secrets.iter().map(|from| projected("secret", &from.name, &from.key));
    let config_maps = shape.config_maps.iter().map(|from| projected("configMap", &from.name, &from.key));
    let kinds = [(SECRETS_VOLUME, secrets.collect::<Vec<_>>()), (CONFIG_MAPS_VOLUME, config_maps.collect())];
    for (volume, sources) in kinds.into_iter().filter(|(_, sources)| !sources.is_empty()) {
        // Readable by all, since the files are root's and only the sidecar has them: a group would have to be the
        // pod's (fsGroup), which is not ours to set.
        let projected = json!({ "defaultMode": 0o444, "sources": sources });
        volumes.push(json!({ "name": volume, "projected": projected }));
    }
    volumes
}

/// One key as the file `<name>/<key>`. Optional: the pod may come first, and the file then comes by itself.
fn projected(kind: &str, name: &str, key: &str) -> Value {
    let items = json!([{ "key": key, "path": format!("{name}/{key}") }]);
    json!({ kind: { "name": name, "optional": true, "items": items } })
}

/// In memory, because a socket needs no disk and a volume on the node's disk would keep autoscalers from draining it.
fn run_volume() -> Value {
    json!({ "name": RUN_VOLUME, "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } })
}

fn no_token_volume() -> Value {
    json!({ "name": NO_TOKEN_VOLUME, "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } })
}
