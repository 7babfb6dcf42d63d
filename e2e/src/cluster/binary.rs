//! The checkout's own programs as images: static, in an otherwise empty root.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::archive::of_static_binary;
use crate::cargo::build;

/// Builds the package's binary of the same name, statically linked, in the `e2e` profile.
pub fn static_binary(package: &str) -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    build(package, |cargo| {
        cargo.args(["--profile", "e2e", "--target", &target]);
        cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
    })
}

/// Builds the package's binary into the image `name` and writes its archive to `file`.
pub fn image_of(package: &str, name: &str, file: &Path) -> Result<()> {
    of_static_binary(file, name, &static_binary(package)?)
}
