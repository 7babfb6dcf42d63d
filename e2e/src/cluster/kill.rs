//! Ending a container as the kernel ends one that has used too much memory: without a warning.

use anyhow::{Context as _, Result};

use super::Cluster;
use super::command::output;

impl Cluster {
    /// Kills the container with the given id (as of its status, without `containerd://`) on the node `node`.
    pub fn kill_container(&self, node: &str, id: &str) -> Result<()> {
        // Nodes are Docker containers of the same names.
        let kill = ["exec", node, "ctr", "--namespace", "k8s.io", "task", "kill", "--signal", "SIGKILL", id];
        output(self.docker.cli().args(kill)).map(drop).with_context(|| format!("killing {id} on {node}"))
    }
}
