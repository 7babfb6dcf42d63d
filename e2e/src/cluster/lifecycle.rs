//! Making a cluster and removing it without a trace, whatever became of the run that made it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::Cluster;
use super::assets::checkout;
use super::command::{logged, output, program, step, until};
use super::daemon::{self, Docker};
use super::images::PIPELINE;
use super::leftovers::Ours;
use super::owner::Owner;
use super::record::{Record, daemon_folder, lock, name};
use super::registry::{Source, source};
use super::tools;
use super::{archive::BUILT_FROM, node};
use crate::artefact;

/// The pulled node image: of the release notes of the kind in go.mod, for the same Kubernetes as the built one.
const NODE: &str =
    "kindest/node:v1.34.3@sha256:08497ee19eace7b4b5348db5c6a1591d7752b164530a36f855cb0f2bdcbadd48";

/// What a cold build and a cluster need at most, in bytes.
const DISK: u64 = 15 << 30;

/// How long kind may take until it starts the control plane.
const CREATE: Duration = Duration::from_mins(5);

/// How long the whole system may take to be ready after the control plane is.
const READY: Duration = Duration::from_mins(5);

/// The label of our Docker objects.
const LABEL: &str = "dev.freshet.cluster";

impl Cluster {
    /// The running cluster of this checkout for a purpose (`""`: tests), or else a new one that belongs to `owner`.
    /// What dead runs left is removed first. A cluster that could not be made whole is removed before the error.
    pub fn up(purpose: &str, owner: Owner) -> Result<Self> {
        let name = name(purpose);
        step("disk: 15 GB are free", || enough_disk(&artefact::folder()))?;
        let tools = step("kind, kubectl, helm", tools::host)?;
        let record = {
            let _lock = lock()?;
            step("what dead runs left", || sweep_locked(&tools, false))?;
            if let Some(record) = Record::find(&name)? {
                let cluster = Self::of(&record, tools);
                cluster.kubectl(&["get", "--raw", "/readyz"]).with_context(|| {
                    format!("the cluster {name} of {} is not ready: being made, or broken", record.owner)
                })?;
                eprintln!("cluster {name}: runs already");
                return Ok(cluster);
            }
            let docker = choose_daemon()?;
            let checkout = checkout();
            // Half a cluster is of no use to anyone: it belongs to this process until it is whole.
            let record = Record { name, owner: Owner::this(), own_daemon: docker.is_own(), checkout };
            record.keep()?;
            if docker.is_own() {
                let started = step("our own Docker daemon", || daemon::start(&daemon_folder()));
                if let Err(error) = started {
                    remove_locked(&record, &tools)?;
                    return Err(error);
                }
            }
            record
        };
        let cluster = Self::of(&record, tools);
        if let Err(error) = cluster.make() {
            super::take_stop();
            if let Err(also) = cluster.down() {
                eprintln!("removing the unfinished cluster: {also:#}");
            }
            return Err(error);
        }
        Record { owner, ..record }.keep()?;
        Ok(cluster)
    }

    /// The cluster of this checkout for a purpose, whole or not, if there is one.
    pub fn find(purpose: &str) -> Result<Option<Self>> {
        let Some(record) = Record::find(&name(purpose))? else { return Ok(None) };
        Ok(Some(Self::of(&record, tools::host()?)))
    }

    /// The same, or an error that says how to make one.
    pub fn attach(purpose: &str) -> Result<Self> {
        Self::find(purpose)?.with_context(|| {
            format!("there is no cluster {}: make it by `cargo xtask cluster up`", name(purpose))
        })
    }

    /// Removes the cluster and, with the last one, our daemon; nothing of either remains. Fine for one that is gone.
    pub fn down(&self) -> Result<()> {
        let _lock = lock()?;
        match Record::find(&self.name)? {
            Some(record) => step("cluster removed", || remove_locked(&record, &self.tools)),
            None => Ok(()),
        }
    }

    fn make(&self) -> Result<()> {
        let source = step("where images come from", source)?;
        eprintln!(
            "           images are {}",
            if source == Source::Pulled { "pulled" } else { "built from packages" }
        );
        let pull = (source == Source::Pulled).then_some(&self.docker);
        let image = step("node image", || self.node_image(pull.is_some()))?;
        let pipeline = step("pipeline images", || {
            PIPELINE.iter().map(|image| image.archive(pull)).collect::<Result<Vec<_>>>()
        })?;
        step("network", || self.network())?;
        self.create_with(&image, &pipeline)?;
        step("nodes, CoreDNS and the default ServiceAccount are ready", || self.await_ready())
    }

    /// Makes the nodes, and loads the images while the control plane starts, which mostly waits.
    fn create_with(&self, image: &str, pipeline: &[PathBuf]) -> Result<()> {
        let log = Record::folder(&self.name).join("kind.log");
        let created = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let loading = scope.spawn(|| {
                // Before that, kind restarts the nodes' containerd.
                until("kind starts the control plane", CREATE, || {
                    let text = fs::read_to_string(&log)?;
                    let started = text.contains("Starting control-plane") || created.load(Ordering::SeqCst);
                    if started { Ok(()) } else { bail!("{text}") }
                })?;
                step("pipeline images in the nodes", || {
                    pipeline.iter().try_for_each(|it| self.load_image(it))
                })
            });
            let making = step("kind create cluster", || self.create(image, &log));
            created.store(true, Ordering::SeqCst);
            // Without nodes, loading fails too; what was first counts.
            let loaded = loading.join().unwrap_or_else(|_| bail!("the thread that loads images panicked"));
            making.and(loaded)
        })
    }

    /// The node image's name in the daemon, loaded or pulled if it isn't there.
    fn node_image(&self, pull: bool) -> Result<String> {
        let has = |name: &str| output(self.docker.cli().args(["image", "inspect", name])).is_ok();
        if pull {
            if !has(NODE) {
                output(self.docker.cli().args(["pull", "--quiet", NODE]))?;
            }
            return Ok(NODE.to_owned());
        }
        let image = node::image()?;
        if !has(&image.name) {
            output(self.docker.cli().args(["load", "--input"]).arg(&image.archive))?;
            self.remove_other_node_images(&image.name)?;
        }
        Ok(image.name)
    }

    /// Earlier recipes' images are of no use; one that a running cluster has stays.
    fn remove_other_node_images(&self, current: &str) -> Result<()> {
        let filter = format!("label={BUILT_FROM}");
        let mut list = self.docker.cli();
        list.args([
            "image",
            "ls",
            "--filter",
            &filter,
            "--format",
            "{{.Repository}}:{{.Tag}}",
            "freshet-node",
        ]);
        for old in output(&mut list)?.lines().filter(|name| *name != current) {
            if let Err(error) = output(self.docker.cli().args(["image", "rm", old])) {
                eprintln!("{error:#}");
            }
        }
        Ok(())
    }

    /// A network of our own with a bridge whose name says whose it is: kind's default one is shared with the user's
    /// clusters, and stays.
    fn network(&self) -> Result<()> {
        let bridge = Ours::of(&daemon_folder()).bridge(&self.name);
        let mut create = self.docker.cli();
        create.args([
            "network",
            "create",
            "--driver",
            "bridge",
            "--label",
            &format!("{LABEL}={}", self.name),
        ]);
        create.args(["--opt", &format!("com.docker.network.bridge.name={bridge}"), &self.name]);
        output(&mut create).map(drop)
    }

    fn create(&self, image: &str, log: &Path) -> Result<()> {
        let mut kind = self.kind();
        kind.args([
            "create", "cluster", "--name", &self.name, "--image", image, "--wait", "300s", "--config",
        ]);
        kind.arg(checkout().join("kind-config.yaml")).arg("--kubeconfig").arg(self.kubeconfig());
        logged(&mut kind, log)
    }

    /// `kind --wait` looks at the control plane alone.
    fn await_ready(&self) -> Result<()> {
        let within = format!("--timeout={}s", READY.as_secs());
        self.kubectl(&["wait", "--for=condition=Ready", "nodes", "--all", &within])?;
        self.kubectl(&["--namespace", "kube-system", "rollout", "status", "deployment/coredns", &within])?;
        until("the default ServiceAccount exists", READY, || {
            self.kubectl(&["get", "serviceaccount", "default"])
        })?;
        Ok(())
    }

    fn kind(&self) -> Command {
        kind(&self.docker, &self.tools, &self.name)
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

fn sweep_locked(tools: &Path, detached: bool) -> Result<()> {
    for record in Record::all()? {
        if record.owner.is_gone() || (detached && record.owner == Owner::Nobody) {
            eprintln!("           removing the cluster {} of {}", record.name, record.owner);
            remove_locked(&record, tools)?;
        }
    }
    // A run may have been killed between the two.
    if !Record::all()?.iter().any(|record| record.own_daemon) {
        daemon::stop(&daemon_folder())?;
    }
    Ok(())
}

/// The daemon of the clusters that are there, else the user's, else ours.
fn choose_daemon() -> Result<Docker> {
    let own = Docker::own(&daemon_folder());
    let joins = Record::all()?.iter().any(|record| record.own_daemon);
    Ok(if !joins && Docker::users().answers() { Docker::users() } else { own })
}

fn remove_locked(record: &Record, tools: &Path) -> Result<()> {
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
    } else if !record.own_daemon {
        bail!("the Docker daemon that {} ran in doesn't answer; start it and try again", record.name);
    }
    record.forget()?;
    if record.own_daemon && !Record::all()?.iter().any(|other| other.own_daemon) {
        daemon::stop(&daemon_folder())?;
    }
    Ok(())
}

fn kind(docker: &Docker, tools: &Path, name: &str) -> Command {
    let mut kind = program(tools.join("kind"));
    kind.env("KIND_EXPERIMENTAL_DOCKER_NETWORK", name).env("KIND_EXPERIMENTAL_PROVIDER", "docker");
    // Never the user's own: deleting a cluster edits it.
    kind.env("KUBECONFIG", Record::folder(name).join("kubeconfig"));
    docker.directs(&mut kind);
    kind
}

fn enough_disk(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making the cache folder {}", folder.display()))?;
    let disk = rustix::fs::statvfs(folder)
        .with_context(|| format!("asking for the space in {}", folder.display()))?;
    let free = disk.f_bavail * disk.f_frsize;
    if free < DISK {
        bail!(
            "{}: {} GB are free, {} are needed; free some, or set FRESHET_CACHE to a folder on another disk",
            folder.display(),
            free >> 30,
            DISK >> 30
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tools::KUBERNETES;
    use super::*;

    #[test]
    fn pulled_and_built_nodes_are_of_one_version() {
        assert!(NODE.starts_with(&format!("kindest/node:{KUBERNETES}@sha256:")));
        let module = fs::read_to_string(super::super::assets::asset("tools/go.mod")).unwrap();
        assert!(module.contains(&format!("k8s.io/kubernetes {KUBERNETES}")));
    }

    #[test]
    fn a_full_disk_is_said_with_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        enough_disk(folder.path()).unwrap();
        assert!(enough_disk(Path::new("/proc/nothing")).is_err());
    }
}
