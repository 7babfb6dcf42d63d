//! A patch that can only add.

use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use serde_json::Value;

/// An RFC 6902 patch of nothing but additions, applied in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Patch(Vec<Addition>);

/// One `add` operation.
#[derive(Clone, Debug, PartialEq)]
struct Addition {
    /// An RFC 6901 pointer.
    path: String,
    /// What is added there.
    value: Value,
}

// === impl Patch ===

impl Patch {
    /// Sets `map[key]` in the object at `path`, which is made if `pod` doesn't have it. A key that is there keeps its
    /// value: RFC 6902 would have `add` replace it.
    pub(super) fn entry(&mut self, pod: &Value, path: &str, key: &str, value: impl Into<Value>) {
        if pod.pointer(path).is_some_and(|map| map.get(key).is_some()) {
            return;
        }
        let made_before = self.0.iter().any(|addition| addition.path == path);
        if made_before || pod.pointer(path).is_some_and(Value::is_object) {
            self.add(format!("{path}/{}", escape(key)), value);
        } else {
            self.add(path.to_owned(), serde_json::json!({ key: value.into() }));
        }
    }

    /// Puts `values` in front of what the list at `path` has.
    pub(super) fn in_front(&mut self, pod: &Value, path: &str, values: Vec<Value>) {
        self.extend(pod, path, values, |index| index.to_string());
    }

    /// Puts `values` after what the list at `path` has.
    pub(super) fn behind(&mut self, pod: &Value, path: &str, values: Vec<Value>) {
        self.extend(pod, path, values, |_| "-".into());
    }

    fn extend(&mut self, pod: &Value, path: &str, values: Vec<Value>, place: impl Fn(usize) -> String) {
        if values.is_empty() {
        } else if pod.pointer(path).is_some_and(Value::is_array) {
            for (index, value) in values.into_iter().enumerate() {
                self.add(format!("{path}/{}", place(index)), value);
            }
        } else {
            self.add(path.to_owned(), values);
        }
    }

    fn add(&mut self, path: String, value: impl Into<Value>) {
        self.0.push(Addition { path, value: value.into() });
    }
}

impl Serialize for Addition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut operation = serializer.serialize_struct("Addition", 3)?;
        operation.serialize_field("op", "add")?;
        operation.serialize_field("path", &self.path)?;
        operation.serialize_field("value", &self.value)?;
        operation.end()
    }
}

/// A key as one step of an RFC 6901 pointer.
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_there_is_never_replaced() {
        let pod = json!({ "labels": { "there": "theirs" } });
        let mut patch = Patch::default();
        patch.entry(&pod, "/labels", "there", "ours");
        patch.entry(&pod, "/labels", "new", "ours");
        patch.entry(&pod, "/annotations", "a", "ours");
        patch.entry(&pod, "/annotations", "b", "ours");
        let wanted = json!([
            { "op": "add", "path": "/labels/new", "value": "ours" },
            { "op": "add", "path": "/annotations", "value": { "a": "ours" } },
            { "op": "add", "path": "/annotations/b", "value": "ours" },
        ]);
        assert_eq!(json!(patch), wanted);
    }
}
