//! Making a cluster, or finding the one that runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::Cluster;
use super::assets::checkout;
use super::daemon::{self, Docker};
use super::images::PIPELINE;
use super::leftovers::Ours;
use super::owner::Owner;
use super::record::{Record, daemon_folder, lock, lock_use, name};
use super::registry::{Source, source};
use super::removal::{LABEL, kind, remove_locked, sweep_locked};
use super::{archive::BUILT_FROM, disk, node, tools};
use crate::artefact;
use crate::command::{BUILD, logged, output, output_within, step};
use crate::process::until;
use crate::stop::take_stop;

/// The pulled node image: of the release notes of the kind in go.mod, for the same Kubernetes as the built one.
const NODE: &str =
    "kindest/node:v1.34.3@sha256:08497ee19eace7b4b5348db5c6a1591d7752b164530a36f855cb0f2bdcbadd48";

/// How long kind may take until it starts the control plane.
const CREATE: Duration = Duration::from_mins(5);

/// How long the whole system may take to be ready after the control plane is.
const READY: Duration = Duration::from_mins(5);

impl Cluster {
    /// The running cluster of this checkout for a purpose (`""`: tests), or else a new one that belongs to `owner`.
    /// Until what this returns is dropped, other runs that want the same cluster wait. What dead runs left is removed
    /// first. A cluster that could not be made whole is removed before the error.
    pub fn up(purpose: &str, owner: Owner) -> Result<Self> {
        let name = name(purpose);
        let in_use = Some(Arc::new(lock_use(&name)?));
        if Record::find(&name)?.is_none() {
            step("disk: 15 GB are free", || disk::check(&artefact::folder()))?;
        }
        let tools = step("kind, kubectl, helm", tools::host)?;
        let record = {
            let _lock = lock()?;
            step("what dead runs left", || sweep_locked(&tools, false))?;
            if let Some(record) = Record::find(&name)? {
                let cluster = Self { _in_use: in_use.clone(), ..Self::of(&record, tools.clone()) };
                if !cluster.has_gone()? {
                    cluster.kubectl(&["get", "--raw", "/readyz"]).with_context(|| {
                        format!("the cluster {name} is broken: remove it by `{}`", removal(purpose))
                    })?;
                    eprintln!("cluster {name}: runs already");
                    return Ok(cluster);
                }
                step("what is left of a cluster that went with its Docker daemon", || {
                    remove_locked(&record, &tools)
                })?;
            }
            let docker = choose_daemon()?;
            let endpoint = docker.endpoint().cloned();
            // Half a cluster is of no use to anyone: it belongs to this process until it is whole.
            let record = Record { name, owner: Owner::this(), endpoint, checkout: checkout() };
            record.keep()?;
            record
        };
        let cluster = Self { _in_use: in_use, made_here: true, ..Self::of(&record, tools) };
        if let Err(error) = cluster.make() {
            take_stop();
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

    /// Whether its nodes are no more, though nobody has removed it: after a reboot, and after a crash of our daemon,
    /// whose state isn't believed then. A user's daemon that doesn't answer may have it still.
    fn has_gone(&self) -> Result<bool> {
        if !self.docker.answers() {
            return Ok(self.docker.endpoint().is_none());
        }
        let of_cluster = format!("label=io.x-k8s.kind.cluster={}", self.name);
        let nodes = output(self.docker.cli().args(["ps", "--all", "--quiet", "--filter", &of_cluster]))?;
        Ok(nodes.trim().is_empty())
    }

    fn make(&self) -> Result<()> {
        if self.docker.endpoint().is_none() {
            // Nobody has stopped it since our record says that it is needed; two may want to start it.
            let _lock = lock()?;
            step("our own Docker daemon", || daemon::start(&daemon_folder()))?;
        }
        let source = step("where images come from", source)?;
        eprintln!(
            "           images are {} (FRESHET_IMAGES=pull or build says otherwise)",
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
                output_within(self.docker.cli().args(["pull", "--quiet", NODE]), BUILD)
                    .context("FRESHET_IMAGES=build makes the images of packages instead")?;
            }
            return Ok(NODE.to_owned());
        }
        let image = node::image()?;
        if !has(&image.name) {
            output_within(self.docker.cli().args(["load", "--input"]).arg(&image.archive), BUILD)?;
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
        let timeout = format!("--timeout={}s", READY.as_secs());
        let mut kubectl = self.tool("kubectl");
        kubectl.args(["wait", "--for=condition=Ready", "nodes", "--all", &timeout]);
        output_within(&mut kubectl, 2 * READY)?;
        self.wait_for("kube-system", "deployment/coredns", "rollout", READY)?;
        until("the default ServiceAccount exists", READY, || {
            self.kubectl(&["get", "serviceaccount", "default"])
        })?;
        Ok(())
    }

    fn kind(&self) -> Command {
        kind(&self.docker, &self.tools, &self.name)
    }
}

/// The daemon of the clusters that are there, else the user's, else ours.
pub(super) fn choose_daemon() -> Result<Docker> {
    let own = Docker::own(&daemon_folder());
    let joins = Record::all()?.iter().any(Record::needs_own_daemon);
    if joins {
        return Ok(own);
    }
    let users = Docker::users();
    if users.answers() {
        return Ok(users);
    }
    may_start_daemon()?;
    Ok(own)
}

/// Whether a Docker daemon of the user's answers; without one we start our own.
#[must_use]
pub fn docker_answers() -> bool {
    Docker::users().answers()
}

/// An error if there can be no cluster here: no Docker daemon answers, and none may be started.
pub fn check_daemon() -> Result<()> {
    choose_daemon().map(drop)
}

fn may_start_daemon() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let why = output(Docker::users().cli().args(["info", "--format", "{{.ServerVersion}}"]));
    let why = why.err().map(|error| format!("{error:#}")).unwrap_or_default();
    bail!(
        "no Docker daemon answers you, and only root may start one: start Docker and join its group, or run this as \
         root\n{why}"
    );
}

/// What removes the cluster for a purpose.
fn removal(purpose: &str) -> String {
    match purpose {
        "demo" => "make clean-demo".to_owned(),
        "" => "cargo xtask cluster down".to_owned(),
        other => format!("cargo xtask cluster down --for {other}"),
    }
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
}
