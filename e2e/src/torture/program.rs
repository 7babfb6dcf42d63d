//! The sidecar's program, built from this checkout.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result};

use crate::command::{BUILD, output_within, program};

/// Builds the sidecar as images have it, and returns its path. Where nothing has changed, it takes a moment.
pub fn sidecar_program() -> Result<PathBuf> {
    let package = "freshet-sidecar";
    let checkout =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the crate lies in the checkout")?;
    let mut cargo = program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(checkout);
    // What a Cargo that runs us says of us: build scripts look at it, and would do everything anew.
    for name in std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()) {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    cargo.args(["build", "--profile", "e2e", "--package", package, "--bin", package]);
    cargo.args(["--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit());
    let messages = output_within(&mut cargo, BUILD)?;
    let mut executables = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let of_package = message["target"]["name"] == package;
        of_package.then(|| message["executable"].as_str().map(PathBuf::from))?
    });
    executables.next_back().with_context(|| format!("cargo built no program {package}"))
}
