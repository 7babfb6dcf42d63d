//! The Docker daemon that the cluster's nodes run in: the user's if there is one, else our own, which lives in the
//! cache folder and touches nothing outside but what `leftovers` can name and remove.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::json;

use super::assets::asset;
use super::command::{output, program, until};
use super::leftovers::Ours;

/// How long our daemon may take to answer after its start, and to end after SIGTERM.
const PATIENCE: Duration = Duration::from_mins(1);

/// A Docker daemon to talk to.
#[derive(Clone, Debug)]
pub(crate) struct Docker {
    /// Our own daemon's folder; `None` for the user's daemon.
    own: Option<PathBuf>,
}

impl Docker {
    /// The user's daemon, as the environment has it.
    pub(crate) fn users() -> Self {
        Self { own: None }
    }

    /// Our own, in `folder`, whether it runs or not.
    pub(crate) fn own(folder: &Path) -> Self {
        Self { own: Some(folder.to_owned()) }
    }

    pub(crate) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Makes `command`, and what it starts, talk to this daemon.
    pub(crate) fn directs<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        if let Some(folder) = &self.own {
            command.env("DOCKER_HOST", format!("unix://{}", folder.join("docker.sock").display()));
            command.env_remove("DOCKER_CONTEXT");
        }
        command
    }

    /// The `docker` command.
    pub(crate) fn cli(&self) -> Command {
        let mut docker = program("docker");
        self.directs(&mut docker);
        docker
    }

    /// Whether it answers.
    pub(crate) fn answers(&self) -> bool {
        output(self.cli().args(["info", "--format", "{{.ServerVersion}}"]))
            .is_ok_and(|out| !out.trim().is_empty())
    }
}

/// Starts our daemon in `folder` if it doesn't answer. What a killed one left is removed first, its images too:
/// after a crash nothing of its state is believed.
pub(crate) fn start(folder: &Path) -> Result<()> {
    let docker = Docker::own(folder);
    if docker.answers() {
        return Ok(());
    }
    let socket = folder.join("docker.sock");
    // What a socket's address can hold, less containerd's own longer path below it.
    if folder.as_os_str().len() > 70 {
        bail!("{}: too long a path for a socket; set FRESHET_CACHE to a shorter one", folder.display());
    }
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let ours = Ours::of(folder);
    if folder.join("unclean").exists() {
        stop(folder)?;
        remove(&folder.join("data"))?;
    }
    ours.remember_rules()?;
    fs::write(folder.join("unclean"), "removed when the daemon has been stopped in good order\n")?;
    let runtime = folder.join("runc-nocap");
    fs::copy(asset("docker/runc-nocap"), &runtime).context("copying the OCI runtime's wrapper")?;
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o755))?;
    let settings = json!({
        "data-root": folder.join("data"),
        "exec-root": folder.join("exec"),
        "pidfile": folder.join("docker.pid"),
        "hosts": [format!("unix://{}", socket.display())],
        // Clusters have bridges of their own.
        "bridge": "none",
        "ip6tables": false,
        "cgroup-parent": ours.cgroup(),
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "runtimes": {"nocap": {"path": runtime}},
        "default-runtime": "nocap",
    });
    fs::write(folder.join("daemon.json"), serde_json::to_vec_pretty(&settings)?)?;
    let log = fs::File::create(folder.join("dockerd.log"))?;
    // A session of its own, and not killed with us: other runs and a cluster left running need it.
    let mut dockerd = Command::new("setsid");
    dockerd.arg("dockerd").arg("--config-file").arg(folder.join("daemon.json"));
    dockerd.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut child = dockerd.spawn().context("starting dockerd (package docker.io)")?;
    until("our Docker daemon answers", PATIENCE, || {
        // Ended is not "not yet": the inner result is the verdict.
        match child.try_wait()? {
            Some(status) => Ok(Err(anyhow!("dockerd: {status}\n{}", tail(&folder.join("dockerd.log"))))),
            None if docker.answers() => Ok(Ok(())),
            None => bail!("{}", tail(&folder.join("dockerd.log"))),
        }
    })?
}

/// Stops our daemon in `folder` and removes everything of it but its images. Does nothing where nothing runs.
pub(crate) fn stop(folder: &Path) -> Result<()> {
    let docker = Docker::own(folder);
    let ours = Ours::of(folder);
    let mut clean = docker.answers();
    if clean {
        // All of them are ours here: a daemon with our folder has no other users.
        let containers = output(docker.cli().args(["ps", "--all", "--quiet"]))?;
        if !containers.trim().is_empty() {
            output(docker.cli().args(["rm", "--force", "--volumes"]).args(containers.split_whitespace()))?;
        }
        output(docker.cli().args(["network", "prune", "--force"]))?;
        output(docker.cli().args(["volume", "prune", "--force"]))?;
    }
    clean &= ours.end_daemon(PATIENCE);
    ours.remove()?;
    if clean {
        remove(&folder.join("unclean"))?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}
