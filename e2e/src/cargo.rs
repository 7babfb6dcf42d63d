//! The checkout's own programs, built by Cargo.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::cluster::checkout;
use crate::command::{BUILD, output_within, program};

/// Builds a package's program of the same name, and returns its path. `how` adds what else Cargo is told. Cargo decides
/// what is to be done anew; when nothing is, it takes a moment.
pub fn build(package: &str, how: impl FnOnce(&mut Command)) -> Result<PathBuf> {
    program_of(&["--package", package], "--bin", package, how)
}

/// `of` says whose features the dependencies get: one package's, as it ships, or all packages' together, as `cargo test
/// --workspace` has built them.
fn program_of(of: &[&str], kind: &str, name: &str, how: impl FnOnce(&mut Command)) -> Result<PathBuf> {
    let mut cargo = program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(checkout()).stderr(Stdio::inherit());
    // What a Cargo that runs us says of us. Build scripts look at it, and would do everything anew for each other caller.
    for name in std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()) {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    cargo.arg("build").args(of).args([kind, name]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    how(&mut cargo);
    let messages = output_within(&mut cargo, BUILD)?;
    let mut executables = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_it = message["target"]["name"] == name;
        is_it.then(|| message["executable"].as_str().map(PathBuf::from))?
    });
    executables.next_back().with_context(|| format!("cargo built no program {name}"))
}

/// Builds a package's program as images have it: the `e2e` profile.
pub fn build_for_e2e(package: &str) -> Result<PathBuf> {
    build(package, |cargo| {
        cargo.args(["--profile", "e2e"]);
    })
}

/// Builds an example as tests are built.
pub fn build_example_for_tests(example: &str) -> Result<PathBuf> {
    program_of(&["--workspace"], "--example", example, |_| ())
}

/// Builds an example of a package as images have it.
pub fn build_example(package: &str, example: &str) -> Result<PathBuf> {
    program_of(&["--package", package], "--example", example, |cargo| {
        cargo.args(["--profile", "e2e"]);
    })
}
