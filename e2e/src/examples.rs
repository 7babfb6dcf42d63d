//! Examples on this machine without a cluster, as the tests and `cargo xtask example` use them.

mod join_cache;
mod rest_cache;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::cluster::checkout;
use crate::process::Child;
use crate::wheel;

pub use join_cache::JoinCache;
pub use rest_cache::RestCache;

/// A program in Python, with the client and these other libraries. Its environment has nothing of ours that a client looks at.
fn python(program: &Path, libraries: &[PathBuf]) -> Result<Command> {
    let client = checkout().join("clients/python");
    let own = wheel::libraries("client-python", &client.join("requirements.txt"))?;
    let path = std::env::join_paths([client.join("src"), own].iter().chain(libraries))?;
    let mut command = Child::command("python3");
    // A warning is an error here, and nothing is written beside the sources.
    command.args([OsStr::new("-Werror"), program.as_os_str()]).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("PYTHONPATH", path).env_remove("FRESHET_SOCKET").env_remove("FRESHET_URL");
    Ok(command)
}
