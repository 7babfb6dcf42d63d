//! A real Kubernetes cluster: kind, on node and pipeline images that are pulled where a registry can be reached and
//! built from packages where not.
//!
//! [`Cluster::up`] makes it or finds it, [`Cluster::down`] leaves nothing of it. It belongs to a process that is
//! recorded in the cache folder; once that is gone, the next run removes it. Everything here is synchronous and shows
//! its steps with their seconds on standard error.

mod archive;
mod assets;
mod binary;
mod command;
mod daemon;
mod debian;
mod freshet;
mod images;
mod kill;
mod leftovers;
mod lifecycle;
mod node;
mod owner;
mod record;
mod registry;
mod rules;
mod tools;
mod verbs;

use std::path::PathBuf;

pub use archive::{BUILT_FROM, of_static_binary};
pub use assets::checkout;
pub use binary::{image_of, static_binary};
pub use command::{program, show, step, stop_on_signals, take_stop};
pub use freshet::{NAMESPACE, OwnImages, VERSION};
pub use images::{Image, PIPELINE};
pub use lifecycle::{leftovers, sweep};
pub use owner::{Owner, Process};
pub use record::name;
pub use registry::{Source, source};
pub use tools::{KUBERNETES, host as host_tools, node as node_programs};

use daemon::Docker;
use record::Record;

/// The Debian packages that this needs on the machine, besides Go.
pub const PACKAGES: &[&str] = &[
    // The daemon, its runtime and what it needs to make networks.
    "docker.io",
    "containerd",
    "runc",
    "iptables",
    "iproute2",
    // Root file systems of packages.
    "mmdebstrap",
    "debian-archive-keyring",
    // The OCI runtime's wrapper; the pause program; whether a registry can be reached.
    "jq",
    "gcc",
    "libc6-dev",
    "curl",
    "ca-certificates",
    "util-linux",
    "mount",
];

/// A running cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    name: String,
    docker: Docker,
    /// The folder of kind, kubectl and helm.
    tools: PathBuf,
}

impl Cluster {
    fn of(record: &Record, tools: PathBuf) -> Self {
        Self { name: record.name.clone(), docker: record.docker(), tools }
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
