//! The checkout's own programs as images: static, in an otherwise empty root.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result};

use super::archive::of_static_binary;
use super::assets::checkout;
use crate::command::{BUILD, output_within, program};

/// Builds the package's binary of the same name, statically linked, in the `e2e` profile. Cargo decides what is to be
/// done anew; when nothing is, it takes a moment.
pub fn static_binary(package: &str) -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut cargo = program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(checkout()).env("RUSTFLAGS", "-C target-feature=+crt-static");
    // What a Cargo that runs us says of us. Build scripts look at it, and would do everything anew for each other caller.
    for name in std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()) {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    cargo.args(["build", "--profile", "e2e", "--target", &target, "--package", package, "--bin", package]);
    cargo.args(["--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit());
    let messages = output_within(&mut cargo, BUILD)?;
    let mut executables = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let of_package = message["target"]["name"] == package;
        of_package.then(|| message["executable"].as_str().map(PathBuf::from))?
    });
    executables.next_back().with_context(|| format!("cargo built no program {package}"))
}

/// Builds the package's binary into the image `name` and writes its archive to `file`.
pub fn image_of(package: &str, name: &str, file: &Path) -> Result<()> {
    of_static_binary(file, name, &static_binary(package)?)
}
