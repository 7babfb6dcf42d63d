//! Removing clusters without a trace, whatever became of the run that made them.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use super::Cluster;
use super::daemon::{self, Docker};
use super::leftovers::Ours;
use super::owner::Owner;
use super::record::{Record, daemon_folder, lock};
use super::tools;
use crate::command::{output, program, step};
use crate::process::until;

/// The label of our Docker objects.
pub(super) const LABEL: &str = "dev.freshet.cluster";

impl Cluster {
    /// Removes the cluster and, with the last one, our daemon; nothing of either remains. Fine for one that is gone.
    pub fn down(&self) -> Result<()> {
        let _lock = lock()?;
        match Record::find(&self.name)? {
            Some(record) => step("cluster removed", || remove_locked(&record, &self.tools)),
            None => Ok(()),
        }
    }
}

/// Removes the clusters whose owner is gone; with `detached`, those that belong to nobody as well.
pub fn sweep(detached: bool) -> Result<()> {
    let tools = tools::host()?;
    let _lock = lock()?;
    sweep_locked(&tools, detached)
}

/// One line for everything that our clusters and our daemon have outside the cache folder, and for every record.
pub fn leftovers() -> Result<Vec<String>> {
    let mut found: Vec<String> =
        Record::all()?.iter().map(|record| format!("cluster {} of {}", record.name, record.owner)).collect();
    found.extend(Ours::of(&daemon_folder()).list()?);
    let users = Docker::users();
    if users.answers() {
        let ours = format!("label={LABEL}");
        let mut list = users.cli();
        list.args(["network", "ls", "--filter", &ours, "--format", "network {{.Name}}"]);
        found.extend(output(&mut list)?.lines().map(str::to_owned));
    }
    Ok(found)
}

/// [`sweep`] for a caller that holds the lock.
pub(super) fn sweep_locked(tools: &Path, detached: bool) -> Result<()> {
    for record in Record::all()? {
        if record.owner.is_gone() || (detached && record.owner == Owner::Nobody) {
            eprintln!("           removing the cluster {} of {}", record.name, record.owner);
            match remove_locked(&record, tools) {
                // It is in another Docker, which needn't keep anybody from using this one.
                Err(error) if !record.docker().answers() => eprintln!("           {error:#}"),
                removed => removed?,
            }
        }
    }
    // A run may have been killed between the two.
    if !Record::all()?.iter().any(Record::needs_own_daemon) {
        daemon::stop(&daemon_folder())?;
    }
    Ok(())
}

/// Removes a cluster and, with the last one, our daemon, for a caller that holds the lock.
pub(super) fn remove_locked(record: &Record, tools: &Path) -> Result<()> {
    let docker = record.docker();
    if docker.answers() {
        // A killed `kind` may have left a container in the making: it shows a moment later.
        until("Docker has nothing of the cluster", Duration::from_mins(1), || {
            output(kind(&docker, tools, &record.name).args(["delete", "cluster", "--name", &record.name]))?;
            let ours = format!("name=^{}$", record.name);
            let networks = output(docker.cli().args(["network", "ls", "--quiet", "--filter", &ours]))?;
            if !networks.trim().is_empty() {
                output(docker.cli().args(["network", "rm", &record.name]))?;
            }
            let of_cluster = format!("label=io.x-k8s.kind.cluster={}", record.name);
            let left = output(docker.cli().args(["ps", "--all", "--quiet", "--filter", &of_cluster]))?;
            if left.trim().is_empty() { Ok(()) } else { bail!("containers are left: {left}") }
        })?;
    } else if let Some(endpoint) = docker.endpoint() {
        bail!(
            "the cluster {} is in {endpoint}, which doesn't answer: it stays recorded until that does. If that is gone \
             for good, delete {}",
            record.name,
            Record::folder(&record.name).display()
        );
    }
    record.forget()?;
    if record.needs_own_daemon() && !Record::all()?.iter().any(Record::needs_own_daemon) {
        daemon::stop(&daemon_folder())?;
    }
    Ok(())
}

/// The `kind` command for the cluster `name`.
pub(super) fn kind(docker: &Docker, tools: &Path, name: &str) -> Command {
    let mut kind = program(tools.join("kind"));
    kind.env("KIND_EXPERIMENTAL_DOCKER_NETWORK", name).env("KIND_EXPERIMENTAL_PROVIDER", "docker");
    // Never the user's own: deleting a cluster edits it.
    kind.env("KUBECONFIG", Record::folder(name).join("kubeconfig"));
    docker.directs(&mut kind);
    kind
}
