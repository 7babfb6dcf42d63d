//! A patch that can only add.

use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use serde_json::Value;

/// An RFC 6902 patch of nothing but additions, applied in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Patch(Vec<Addition>);

/// One `add` operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Addition {
    /// An RFC 6901 pointer.
    pub path: String,
    /// What is added there.
    pub value: Value,
}

// === impl Patch ===

impl Patch {
    /// The additions in order.
    #[must_use]
    pub fn additions(&self) -> &[Addition] {
        &self.0
    }

    /// Sets `map[key]` in the object at `path`, which is made if `pod` doesn't have it.
    pub(super) fn entry(&mut self, pod: &Value, path: &str, key: &str, value: impl Into<Value>) {
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
