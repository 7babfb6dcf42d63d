//! Ending a container as the kernel ends one that has used too much memory: without a warning; or stopping it where it
//! stands, and letting it go on.

use anyhow::{Context as _, Result};

use super::Cluster;
use crate::command::output;

impl Cluster {
    /// Kills the container with the given id (as of its status, without `containerd://`) on the node `node`.
    pub fn kill_container(&self, node: &str, id: &str) -> Result<()> {
        self.signal_container(node, id, "SIGKILL")
    }

    /// Freezes that container's program: it does nothing more, and its connections stay open.
    pub fn freeze_container(&self, node: &str, id: &str) -> Result<()> {
        self.signal_container(node, id, "SIGSTOP")
    }

    /// Lets a frozen one go on.
    pub fn thaw_container(&self, node: &str, id: &str) -> Result<()> {
        self.signal_container(node, id, "SIGCONT")
    }

    fn signal_container(&self, node: &str, id: &str, signal: &str) -> Result<()> {
        // Nodes are Docker containers of the same names.
        let kill = ["exec", node, "ctr", "--namespace", "k8s.io", "task", "kill", "--signal", signal, id];
        output(self.docker.cli().args(kill)).map(drop).with_context(|| format!("{signal} to {id} on {node}"))
    }
}
