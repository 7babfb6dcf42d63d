//! Mounts of the application's that our mount at [`RUN_FOLDER`] would collide with.

use serde_json::Value;

use super::sidecar::RUN_FOLDER;

/// Why a container can't have our folder mounted because of this mount of its own, if it can't.
pub(super) fn collision(pod: &Value, mount: &Value) -> Option<String> {
    let path = mount.get("mountPath")?.as_str()?;
    let place = normal(path);
    let below =
        |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'));
    if place == RUN_FOLDER || below(&place, RUN_FOLDER) {
        return Some(format!("mounts a volume at {path}, where the socket belongs: move it"));
    }
    // The container's runtime would have to make our folder inside of it.
    (below(RUN_FOLDER, &place) && is_read_only(pod, mount))
        .then(|| format!("mounts a read-only volume at {path}, in which {RUN_FOLDER} can't be made: move it"))
}

/// The path without what makes equal paths look different. `/var/run` is a link to `/run` in nearly all images.
fn normal(path: &str) -> String {
    let mut steps = Vec::new();
    for step in path.split('/') {
        match step {
            "" | "." => {}
            ".." => drop(steps.pop()),
            step => steps.push(step),
        }
    }
    if steps.starts_with(&["var", "run"]) {
        steps.remove(0);
    }
    format!("/{}", steps.join("/"))
}

/// Whether the mount is read-only, by itself or because its volume is.
fn is_read_only(pod: &Value, mount: &Value) -> bool {
    /// What a kubelet mounts read-only whatever the mount says.
    const ALWAYS: [&str; 5] = ["configMap", "secret", "projected", "downwardAPI", "image"];
    let is_true = |value: &Value| value.get("readOnly").and_then(Value::as_bool) == Some(true);
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array);
    let mut volumes = volumes.into_iter().flatten();
    let volume = volumes.find(|volume| volume.get("name") == mount.get("name"));
    let sources = volume.and_then(Value::as_object).into_iter().flatten();
    is_true(mount)
        || sources.into_iter().any(|(kind, source)| ALWAYS.contains(&kind.as_str()) || is_true(source))
}
