//! The Docker daemon that the cluster's nodes run in: the user's if there is one, else our own, which lives in the
//! cache folder and touches nothing outside but what `leftovers` can name and remove.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::assets::asset;
use super::leftovers::Ours;
use crate::command::{output, path, program};
use crate::process::until;

/// The environment by which `docker` is told of a daemon.
const SETTINGS: [&str; 3] = ["DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"];

/// How the user's daemon is reached: another one may be meant when a cluster in it is to be removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Endpoint {
    /// By `DOCKER_HOST`, and what belongs to it.
    Environment(BTreeMap<String, String>),
    /// By this context of `docker`.
    Context(String),
}

impl Endpoint {
    fn now() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if set("DOCKER_HOST").is_some() {
            let settings = SETTINGS.into_iter().filter_map(|name| Some((name.to_owned(), set(name)?)));
            return Self::Environment(settings.collect());
        }
        let name = output(program("docker").args(["context", "inspect", "--format", "{{.Name}}"]));
        // Without `docker`, the answer doesn't matter.
        Self::Context(name.map_or_else(|_| "default".to_owned(), |name| name.trim().to_owned()))
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Environment(settings) => {
                let host = settings.get("DOCKER_HOST").map(String::as_str).unwrap_or_default();
                write!(f, "DOCKER_HOST={host}")
            }
            Self::Context(name) => write!(f, "the Docker context {name}"),
        }
    }
}

/// How long our daemon may take to answer after its start, and to end after SIGTERM.
const PATIENCE: Duration = Duration::from_mins(1);

/// A Docker daemon to talk to.
#[derive(Clone, Debug)]
pub(crate) enum Docker {
    /// Our own, with its folder, whether it runs or not.
    Own(PathBuf),
    /// The user's.
    Users(Endpoint),
}

impl Docker {
    /// The user's daemon, as the environment has it now.
    pub(crate) fn users() -> Self {
        Self::Users(Endpoint::now())
    }

    /// Our own, in `folder`.
    pub(crate) fn own(folder: &Path) -> Self {
        Self::Own(folder.to_owned())
    }

    /// How it is reached, if it is the user's.
    pub(crate) fn endpoint(&self) -> Option<&Endpoint> {
        match self {
            Self::Own(_) => None,
            Self::Users(endpoint) => Some(endpoint),
        }
    }

    /// Makes `command`, and what it starts, talk to this daemon.
    pub(crate) fn directs<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        for name in SETTINGS.into_iter().chain(["DOCKER_CONTEXT"]) {
            command.env_remove(name);
        }
        match self {
            Self::Own(folder) => {
                command.env("DOCKER_HOST", format!("unix://{}", folder.join("docker.sock").display()))
            }
            Self::Users(Endpoint::Environment(settings)) => command.envs(settings),
            Self::Users(Endpoint::Context(name)) => command.env("DOCKER_CONTEXT", name),
        }
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
    dockerd.env("PATH", path());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_daemon_is_asked_and_no_other() {
        let host = BTreeMap::from([("DOCKER_HOST".to_owned(), "tcp://there:2376".to_owned())]);
        for endpoint in [Endpoint::Environment(host), Endpoint::Context("there".to_owned())] {
            let text = serde_json::to_string(&endpoint).unwrap();
            let docker = Docker::Users(serde_json::from_str(&text).unwrap());
            assert_eq!(docker.endpoint(), Some(&endpoint));
            let mut command = Command::new("docker");
            command.env("DOCKER_CONTEXT", "here").env("DOCKER_HOST", "here").env("DOCKER_TLS_VERIFY", "1");
            docker.directs(&mut command);
            let set: Vec<_> = command.get_envs().filter_map(|(_, value)| value?.to_str()).collect();
            assert_eq!(
                set,
                [if matches!(endpoint, Endpoint::Context(_)) { "there" } else { "tcp://there:2376" }]
            );
        }
    }
}
