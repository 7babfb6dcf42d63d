//! The chart agrees with the code.

use std::{fs, path::Path};

fn chart(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/freshet").join(file);
    fs::read_to_string(path).expect("the chart is beside the operator")
}

#[test]
fn the_crd_in_the_chart_is_the_generated_one() {
    let template = chart("templates/crd.yaml");
    assert!(
        template.contains("  annotations:\n    helm.sh/resource-policy: keep\n"),
        "it stays with the bindings"
    );
    let ours = [
        "{{- if .Values.crds.enabled }}",
        "  annotations:",
        "    helm.sh/resource-policy: keep",
        "{{- end }}",
    ];
    let rest: Vec<_> = template.lines().filter(|line| !ours.contains(line)).collect();
    assert!(rest.join("\n") == freshet_crds::crd_yaml().trim_end(), "run `cargo xtask codegen`");
}

#[test]
fn versions_agree() {
    let text = chart("Chart.yaml");
    for key in ["version", "appVersion"] {
        let line = format!("{key}: {}", freshet_operator::run::VERSION);
        assert!(text.lines().any(|l| l == line), "Chart.yaml has no line `{line}`");
    }
}

#[test]
fn the_webhook_is_the_chart_s_and_has_no_ca_bundle() {
    let template = chart("templates/webhook.yaml");
    let written = template.lines().any(|line| line.trim_start().starts_with("caBundle"));
    assert!(!written, "the operator writes it");
}
