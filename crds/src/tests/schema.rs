//! What holds for every field of the CRD's schema.

use serde_yaml::Value;

/// Fields that may be without a bound, and why.
const UNBOUNDED: [(&str, &str); 5] = [
    ("status.conditions[].lastTransitionTime", "Kubernetes' own Condition; a date has a bound by its format"),
    ("status.conditions[].message", "Kubernetes' own Condition, and only the operator writes status"),
    ("status.conditions[].reason", "Kubernetes' own Condition, and only the operator writes status"),
    ("status.conditions[].status", "Kubernetes' own Condition, and only the operator writes status"),
    ("status.conditions[].type", "Kubernetes' own Condition, and only the operator writes status"),
];

fn schema() -> Value {
    let crd: Value = serde_yaml::from_str(&crate::crd_yaml()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// All fields with their paths: `spec.caches[].name`.
fn fields(schema: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    found.push((path.to_owned(), schema.clone()));
    for (name, field) in schema["properties"].as_mapping().into_iter().flatten() {
        let name = name.as_str().unwrap();
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        fields(field, &path, found);
    }
    if let Some(items) = schema.get("items") {
        fields(items, &format!("{path}[]"), found);
    }
}

fn all() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    fields(&schema(), "", &mut found);
    // Kubernetes' own, and of its bounds.
    found.retain(|(path, _)| !matches!(path.as_str(), "apiVersion" | "kind"));
    assert!(found.len() > 50, "only {} fields are found", found.len());
    found
}

#[test]
fn every_list_and_text_has_a_bound() {
    let mut open = Vec::new();
    for (path, field) in all() {
        let bounded = match field["type"].as_str() {
            Some("array") => field["maxItems"].is_number(),
            Some("string") => field["maxLength"].is_number() || field["enum"].is_sequence(),
            Some("object") => field.get("additionalProperties").is_none(),
            Some("integer" | "boolean") => true,
            None if field["x-kubernetes-int-or-string"] == true => field["maxLength"].is_number(),
            other => panic!("{path}: a type {other:?}"),
        };
        if !bounded {
            open.push(path);
        }
    }
    let excepted: Vec<_> = UNBOUNDED.iter().map(|(path, _)| *path).collect();
    assert_eq!(open, excepted);
}

#[test]
fn lists_of_what_has_a_name_are_maps_by_it() {
    let mut maps = 0;
    for (path, field) in all().into_iter().filter(|(_, field)| field["type"] == "array") {
        let items = &field["items"];
        if items["type"] == "string" {
            assert_eq!(field["x-kubernetes-list-type"], "set", "{path}");
            continue;
        }
        let key = field["x-kubernetes-list-map-keys"][0].as_str();
        assert_eq!(field["x-kubernetes-list-type"], "map", "{path}");
        let named = items["properties"].get("name").is_some();
        assert_eq!(named, key == Some("name"), "{path} is a map by {key:?}");
        maps += 1;
    }
    assert!(maps >= 4, "only {maps} maps");
}

/// The rules would take a null for something that is there; the API server leaves out those that can't be.
#[test]
fn nothing_can_be_null() {
    for (path, field) in all() {
        assert!(field.get("nullable").is_none(), "{path}");
    }
}
