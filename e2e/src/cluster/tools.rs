//! The programs of the cluster, all built from the one Go module `e2e/cluster/tools`, whose go.sum says what they are.

use std::path::PathBuf;

use anyhow::Result;

use super::assets::asset;
use crate::artefact::{Inputs, artefact, folder};
use crate::command::{logged, program};

/// The Kubernetes version of the nodes, as in go.mod. The newest 1.34 for which the kind in go.mod names a published
/// node image; newer minors refuse cgroup v1 hosts.
pub const KUBERNETES: &str = "v1.34.3";

/// What is run on this machine: `kind`, `kubectl` and `helm`, in one folder.
pub fn host() -> Result<PathBuf> {
    let packages = ["sigs.k8s.io/kind", "k8s.io/kubernetes/cmd/kubectl", "helm.sh/helm/v3/cmd/helm"];
    build("cluster-tools", &packages)
}

/// What a node image built here consists of: `kubernetes` (the multi-call binary) and `coredns`, in one folder.
pub fn node() -> Result<PathBuf> {
    build("kubernetes", &["./kubernetes", "github.com/coredns/coredns"])
}

fn build(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let module = asset("tools");
    // Without these, everything reports itself as v0.0.0, and kubeadm refuses to install "a newer control plane".
    let version = "k8s.io/component-base/version";
    let minor = KUBERNETES.split('.').nth(1).unwrap_or_default();
    let flags = format!(
        "-s -w -X {version}.gitVersion={KUBERNETES} -X {version}.gitMajor=1 -X {version}.gitMinor={minor} \
         -X {version}.gitTreeState=clean"
    );
    let inputs = Inputs::new().path(&module)?.text(&flags).text(packages.join(" "));
    artefact(name, &inputs, |into| {
        let log = folder().join(format!("{name}.log"));
        let mut go = program("go");
        go.current_dir(&module).args([
            "build",
            "-mod=readonly",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags",
            &flags,
        ]);
        go.arg("-o").arg(format!("{}/", into.display())).args(packages);
        // Nothing of the caller's environment may change what is built.
        logged(go.env("CGO_ENABLED", "0").env("GOFLAGS", "").env("GOWORK", "off"), &log)
    })
}
