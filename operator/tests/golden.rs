//! Pods as they come and as they leave the webhook, as pairs of files. `FRESHET_BLESS=1` writes what is now done.

use std::{fs, path::Path};

use freshet_crds::{CacheBinding, manifest};
use freshet_operator::injection::{Decision, Defaults, decide};
use serde_json::{Value, json};

fn defaults() -> Defaults {
    Defaults {
        version: "0.0.0".into(),
        image: "registry.example/freshet-sidecar:0.0.0".into(),
        pull_policy: "IfNotPresent".into(),
        pull_secrets: vec!["mirror".into()],
    }
}

fn binding(folder: &Path) -> CacheBinding {
    let text = fs::read_to_string(folder.join("binding.yaml"))
        .unwrap_or_else(|_| include_str!("../../crds/tests/shop.yaml").to_owned());
    manifest::read(&text).expect("a binding").object
}

#[test]
fn pods_come_out_as_recorded() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<_> = fs::read_dir(&golden).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 5, "the pairs are gone");
    for folder in cases {
        let before: Value =
            serde_yaml::from_str(&fs::read_to_string(folder.join("pod.yaml")).unwrap()).unwrap();
        let Decision::Inject(patch) = decide(&before, &binding(&folder), &defaults()) else {
            panic!("{}: not injected", folder.display());
        };
        let mut after = before.clone();
        let patch: json_patch::Patch = serde_json::from_value(json!(patch)).unwrap();
        json_patch::patch(&mut after, &patch).unwrap();
        contains(&after, &before, "");
        let recorded = folder.join("injected.yaml");
        let after = serde_yaml::to_string(&after).unwrap();
        if std::env::var_os("FRESHET_BLESS").is_some() {
            fs::write(&recorded, &after).unwrap();
        }
        let recorded = fs::read_to_string(&recorded).unwrap_or_default();
        assert!(
            after == recorded,
            "{}: FRESHET_BLESS=1 records what is done now:\n{after}",
            folder.display()
        );
    }
}

/// Everything that was in the pod is still there, and lists have kept their order.
fn contains(after: &Value, before: &Value, path: &str) {
    match (after, before) {
        (Value::Object(after), Value::Object(before)) => {
            for (key, value) in before {
                contains(after.get(key).unwrap_or(&Value::Null), value, &format!("{path}/{key}"));
            }
        }
        (Value::Array(after), Value::Array(before)) => {
            let mut rest = after.iter();
            for value in before {
                let name = value.get("name");
                let found = rest.find(|v| if name.is_some() { v.get("name") == name } else { *v == value });
                contains(found.unwrap_or(&Value::Null), value, &format!("{path}/-"));
            }
        }
        _ => assert_eq!(after, before, "{path} was changed"),
    }
}
