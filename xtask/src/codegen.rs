//! Writes the files that are generated from the code; tests fail when one of them is not current.

use std::{fs, path::Path};

use anyhow::Context as _;

/// Writes every generated file below the checkout's root.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let path = root.join("crds/cachebindings.yaml");
    fs::write(&path, freshet_crds::crd_yaml()).with_context(|| format!("write {}", path.display()))
}
