//! The reference has a row for every word that the operator says, and for no other.

#![expect(clippy::panic, reason = "a test's helpers are tests")]

use std::{collections::BTreeSet, fs, path::Path};

use freshet_operator::{injection::SkipReason, metrics::Metrics};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A document's part under this heading, or all before the first heading.
fn section(document: &str, heading: &str) -> BTreeSet<String> {
    let text = document
        .split("\n## ")
        .find(|section| section.starts_with(heading))
        .unwrap_or_else(|| panic!("there is no `{heading}`"));
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    rows.map(str::to_owned).collect()
}

/// The words that `as_str` of an enumeration answers: the texts of its arms.
fn words(source: &str, enumeration: &str) -> BTreeSet<String> {
    let block = source
        .split(&format!("impl {enumeration} {{"))
        .nth(1)
        .and_then(|block| block.split("\n}").next())
        .unwrap_or_else(|| panic!("there is no impl {enumeration}"));
    let arms = block.lines().filter_map(|line| line.trim().strip_prefix("Self::")?.split_once("=> \""));
    arms.filter_map(|(_, rest)| rest.split('"').next()).map(str::to_owned).collect()
}

#[test]
fn every_condition_and_reason_is_documented() {
    let document = read("../docs/reference/conditions.md");
    let reasons = words(&read("src/binding/status/reason.rs"), "Reason");
    assert!(reasons.contains("Serving"), "{reasons:?}");
    assert_eq!(section(&document, "Reasons"), reasons);
    let conditions = words(&read("src/binding/status.rs"), "ConditionType");
    assert_eq!(section(&document, "# Conditions"), conditions);
}

#[test]
fn every_reason_for_a_skip_is_documented_and_whether_it_is_told() {
    let document = read("../docs/reference/injection.md");
    let reasons = words(&read("src/injection/skip.rs"), "SkipReason");
    assert!(reasons.contains(SkipReason::HostNetwork.as_str()), "{reasons:?}");
    assert_eq!(section(&document, "# Injection"), reasons);
    for (reason, told) in [
        (SkipReason::NotAsked, "no"),
        (SkipReason::OptedOut, "no"),
        (SkipReason::AlreadyInjected, "no"),
        (SkipReason::HostNetwork, "yes"),
        (SkipReason::BindingNotFound, "yes"),
    ] {
        assert_eq!(reason.is_expected(), told == "no");
        assert!(document.contains(&format!("| `{reason}` | {told} |")), "{reason}");
    }
}

#[test]
fn every_metric_is_documented() {
    let metrics = Metrics::new("1.2.3");
    metrics.injection(None);
    metrics.reconcile_failure("api");
    metrics.pods("missing", 1);
    metrics.asked(None);
    metrics.ca_not_after(k8s_openapi::jiff::Timestamp::UNIX_EPOCH);
    let text = metrics.encode().unwrap();
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let names: BTreeSet<_> = families
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        })
        .collect();
    assert_eq!(section(&read("../docs/reference/metrics.md"), "The operator"), names);
}

/// What the guide to the installation sets is in the chart.
#[test]
fn every_value_in_the_guide_is_the_chart_s() {
    let guide = read("../docs/guides/install.md");
    let values: serde_json::Value = serde_yaml::from_str(&read("../charts/freshet/values.yaml")).unwrap();
    let set = guide.split("--set ").skip(1).filter_map(|rest| rest.split_once('=')).map(|(name, _)| name);
    let set: BTreeSet<_> = set.collect();
    assert!(set.len() >= 7, "{set:?}");
    for name in set {
        let pointer = format!("/{}", name.replace('.', "/"));
        assert!(values.pointer(&pointer).is_some(), "{name} is no value of the chart");
    }
}
