//! Whether a pod is for Linux, from whatever of it says so.

use serde_json::Value;

const LABELS: [&str; 2] = ["kubernetes.io/os", "beta.kubernetes.io/os"];
const LINUX: &str = "linux";

/// Whether something about the pod keeps it from running on a Linux node.
pub(super) fn is_elsewhere(pod: &Value) -> bool {
    let named = pod.pointer("/spec/os/name").and_then(Value::as_str);
    let selector = pod.pointer("/spec/nodeSelector");
    let selected = LABELS.iter().filter_map(|label| selector?.get(label)?.as_str());
    if named.into_iter().chain(selected).any(|os| os != LINUX) {
        return true;
    }
    let required = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution";
    let terms = pod.pointer(&format!("{required}/nodeSelectorTerms")).and_then(Value::as_array);
    // One term has to hold, and of that all expressions.
    terms.is_some_and(|terms| !terms.is_empty() && terms.iter().all(excludes_linux))
}

fn excludes_linux(term: &Value) -> bool {
    let expressions = term.get("matchExpressions").and_then(Value::as_array);
    let mut expressions = expressions.into_iter().flatten();
    expressions.any(|expression| {
        let text = |key: &str| expression.get(key).and_then(Value::as_str).unwrap_or_default();
        let values = expression.get("values").and_then(Value::as_array);
        let has_linux = values.is_some_and(|values| values.iter().any(|value| value == LINUX));
        LABELS.contains(&text("key"))
            && match text("operator") {
                "In" => !has_linux,
                "NotIn" => has_linux,
                "DoesNotExist" => true,
                _ => false,
            }
    })
}
