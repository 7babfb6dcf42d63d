//! Writes the files that are generated from the code; tests fail when one of them is not current.

use std::{fs, path::Path};

use anyhow::{Context as _, ensure};

/// Writes every generated file below the checkout's root.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let crd = freshet_crds::crd_yaml();
    write(&root.join("crds/cachebindings.yaml"), &crd)?;
    write(&root.join("charts/freshet/templates/crd.yaml"), &template(&crd)?)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// The CRD as the chart's template: left out on demand, and kept when the chart is removed, because all bindings
/// would go with it.
fn template(crd: &str) -> anyhow::Result<String> {
    ensure!(!crd.contains("{{"), "the CRD has a text that Helm would take for its own");
    let metadata = "metadata:\n";
    ensure!(crd.matches(&format!("\n{metadata}")).count() == 1, "the CRD has not exactly one metadata");
    let kept = format!("{metadata}  annotations:\n    helm.sh/resource-policy: keep\n");
    Ok(format!("{{{{- if .Values.crds.enabled }}}}\n{}{{{{- end }}}}\n", crd.replacen(metadata, &kept, 1)))
}
