//! What tests do with a cluster.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::Cluster;
use crate::command::{BUILD, VERB, fed, output, output_within, program};

impl Cluster {
    /// Runs `kubectl` and gives its standard output.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        output(self.tool("kubectl").args(args))
    }

    /// Runs `kubectl` with `input` on its standard input (`-f -`).
    pub fn kubectl_fed(&self, args: &[&str], input: &str) -> Result<String> {
        fed(self.tool("kubectl").args(args), Some(input.as_bytes()), VERB)
    }

    /// Runs `helm` and gives its standard output. It may wait for what it installs.
    pub fn helm(&self, args: &[&str]) -> Result<String> {
        output_within(self.tool("helm").args(args), Duration::from_mins(6))
    }

    /// Applies a manifest, or the manifests of a folder in the order of their names.
    pub fn apply(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        output(self.tool("kubectl").arg("apply").arg("--filename").arg(path))
            .map(drop)
            .with_context(|| format!("applying {}", path.display()))
    }

    /// Runs a command in a pod (`target`: `pod/x` or `deployment/x`) and gives its standard output.
    pub fn exec(&self, namespace: &str, target: &str, command: &[&str]) -> Result<String> {
        let mut kubectl = self.tool("kubectl");
        kubectl.args(["exec", "--namespace", namespace, target, "--"]).args(command);
        output(&mut kubectl)
    }

    /// Waits until `condition` holds of the object, in the form of `kubectl wait --for`: `condition=Ready`,
    /// `jsonpath={.status.phase}=Running`, `delete`. `rollout` waits for a workload's roll-out instead. When it
    /// doesn't come to hold, the error shows the object's pods and the latest events.
    pub fn wait_for(&self, namespace: &str, object: &str, condition: &str, within: Duration) -> Result<()> {
        let timeout = format!("--timeout={}s", within.as_secs().max(1));
        let wait = format!("--for={condition}");
        let mut kubectl = self.tool("kubectl");
        kubectl.args(["--namespace", namespace]);
        if condition == "rollout" {
            kubectl.args(["rollout", "status", object, &timeout]);
        } else {
            kubectl.args(["wait", &wait, object, &timeout]);
        }
        // It keeps to its own time, unless the API server doesn't answer.
        let waited = output_within(&mut kubectl, within + VERB);
        waited.map(drop).with_context(|| {
            let look = |args: &[&str]| self.kubectl(args).unwrap_or_else(|error| format!("{error:#}"));
            let pods = look(&["--namespace", namespace, "get", "pods", "--output", "wide"]);
            let events = look(&["--namespace", namespace, "get", "events", "--sort-by=.lastTimestamp"]);
            let lines: Vec<&str> = events.lines().collect();
            let latest = lines[lines.len().saturating_sub(15)..].join("\n");
            format!("{object} in {namespace}: waited for {condition}\n{pods}\n{latest}")
        })
    }

    /// Puts an image archive into the nodes that run workloads. The same name replaces what was there.
    pub fn load_image(&self, archive: impl AsRef<Path>) -> Result<()> {
        let archive = archive.as_ref();
        let mut kind = program(self.tools.join("kind"));
        self.docker.directs(&mut kind);
        // From Docker: the API server may be only starting.
        let of_cluster = format!("label=io.x-k8s.kind.cluster={}", self.name);
        let mut list = self.docker.cli();
        list.args(["ps", "--filter", &of_cluster, "--filter", "label=io.x-k8s.kind.role=worker"]);
        let workers = output(list.args(["--format", "{{.Names}}"]))?;
        let workers: Vec<&str> = workers.lines().collect();
        if workers.is_empty() {
            bail!("the cluster {} has no worker", self.name);
        }
        kind.args(["load", "image-archive", "--name", &self.name, "--nodes", &workers.join(",")])
            .arg(archive);
        output_within(&mut kind, BUILD).map(drop).with_context(|| format!("loading {}", archive.display()))
    }

    pub(super) fn tool(&self, name: &str) -> Command {
        let mut tool = program(self.tools.join(name));
        tool.env("KUBECONFIG", self.kubeconfig());
        tool
    }
}
