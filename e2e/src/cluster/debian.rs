//! Root file systems made of Debian packages.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::artefact::{Inputs, artefact, folder};
use crate::command::{logged, program};

/// The release all of them come from. Its containerd reads the configuration in `e2e/cluster/node`.
const RELEASE: &str = "bookworm";

/// How much of Debian a root file system starts with.
#[derive(Clone, Copy)]
pub(crate) enum Base {
    /// Nothing but the packages and what they depend on, unpacked and not set up: no user, no shell unless asked for.
    Extract,
    /// A small system that can boot, its packages set up.
    Minimal,
}

/// A tar file with the `packages` and what they need, under the artefact's `name`. `hooks` are shell commands run
/// at the end, with the root folder as `$1`.
pub(crate) fn root(name: &str, base: Base, packages: &[&str], hooks: &[&str]) -> Result<PathBuf> {
    let variant = match base {
        Base::Extract => "extract",
        Base::Minimal => "minbase",
    };
    let inputs = Inputs::new().text(RELEASE).text(variant).text(packages.join(",")).text(hooks.join("\n"));
    // The release's packages change with every fix.
    let inputs = inputs.renewed();
    let built = artefact(name, &inputs, |into| {
        if !rustix::process::geteuid().is_root() {
            bail!(
                "only root can make a root file system of Debian packages; where images are pulled, none is needed"
            );
        }
        let mut mmdebstrap = program("mmdebstrap");
        // Its working folder lies where a killed run's leftovers are found and removed.
        mmdebstrap.env("TMPDIR", into).args(["--mode=root", "--format=tar"]);
        mmdebstrap.arg(format!("--variant={variant}")).arg(format!("--include={}", packages.join(",")));
        for nobody_reads in ["man", "doc", "locale", "info", "lintian"] {
            mmdebstrap.arg(format!("--dpkgopt=path-exclude=/usr/share/{nobody_reads}/*"));
        }
        // Reproducible times in the tar, so that the same packages are the same layer.
        mmdebstrap.env("SOURCE_DATE_EPOCH", "0").arg("--aptopt=APT::Install-Recommends \"false\"");
        for hook in hooks {
            mmdebstrap.arg(format!("--customize-hook={hook}"));
        }
        mmdebstrap.arg(RELEASE).arg(into.join(Path::new("root.tar")));
        logged(&mut mmdebstrap, &folder().join(format!("{name}.log")))
    })?;
    Ok(built.join("root.tar"))
}
