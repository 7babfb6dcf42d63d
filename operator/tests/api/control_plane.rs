//! etcd, kube-apiserver and kube-controller-manager as processes: a cluster without nodes.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use freshet_e2e::{
    cluster,
    command::{self, Said, VERB, program},
    process::{Child, Port},
};
use rcgen::{KeyPair, generate_simple_self_signed};
use serde_json::Value;
use tempfile::TempDir;

use crate::rights::AUDIT_POLICY;

/// How long each of the programs may take to start on a busy machine.
const START: Duration = Duration::from_mins(1);
/// The tokens that the API server knows, and who their bearers are.
const TOKENS: &str = "admin-token,admin,admin,system:masters\n\
                      operator-token,system:serviceaccount:freshet-system:freshet,freshet\n";

/// Who the operator is to the API server.
pub(crate) const OPERATOR: &str = "system:serviceaccount:freshet-system:freshet";

/// A running control plane. Everything of it goes when it is dropped.
pub(crate) struct ControlPlane {
    // They end before their folder goes.
    _processes: [Child; 3],
    _ports: [Port; 3],
    tools: PathBuf,
    folder: TempDir,
}

impl ControlPlane {
    /// Starts it; the API server answers when this returns.
    pub(crate) fn start() -> Result<Self> {
        let (programs, tools) = (cluster::node_programs()?, cluster::host_tools()?);
        let folder = tempfile::Builder::new().prefix("freshet-control-plane-").tempdir()?;
        let path = |name: &str| folder.path().join(name);
        for name in ["etcd", "kube-apiserver", "kube-controller-manager"] {
            symlink(programs.join("kubernetes"), path(name))?;
        }
        let ports = [Port::free()?, Port::free()?, Port::free()?];
        let [clients, peers, api] = [&ports[0], &ports[1], &ports[2]].map(|port| port.address().to_string());
        let serving = generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        fs::write(path("api.crt"), serving.cert.pem())?;
        fs::write(path("api.key"), serving.signing_key.serialize_pem())?;
        let accounts = KeyPair::generate()?;
        fs::write(path("accounts.key"), accounts.serialize_pem())?;
        fs::write(path("accounts.pub"), accounts.public_key_pem())?;
        fs::write(path("tokens"), TOKENS)?;
        fs::write(path("audit.yaml"), AUDIT_POLICY)?;
        for user in ["admin", "operator"] {
            fs::write(path(user), kubeconfig(&api, &path("api.crt"), user))?;
        }

        let mut etcd = Child::command(path("etcd"));
        etcd.args(["--unsafe-no-fsync", "--log-level", "error", "--name", "test", "--data-dir"])
            .arg(path("data"));
        etcd.args(["--listen-client-urls", &format!("http://{clients}")]);
        etcd.args(["--advertise-client-urls", &format!("http://{clients}")]);
        etcd.args(["--listen-peer-urls", &format!("http://{peers}")]);
        etcd.args(["--initial-advertise-peer-urls", &format!("http://{peers}")]);
        etcd.args(["--initial-cluster", &format!("test=http://{peers}")]);
        let etcd = Child::spawn("etcd", etcd, &path("etcd.log"))?;

        let mut server = Child::command(path("kube-apiserver"));
        server.args(["--etcd-servers", &format!("http://{clients}")]);
        server.args(["--bind-address", "127.0.0.1", "--secure-port", &ports[2].number().to_string()]);
        server.args(["--endpoint-reconciler-type", "none", "--service-cluster-ip-range", "10.255.0.0/24"]);
        server.args(["--authorization-mode", "RBAC", "--service-account-issuer", "https://test"]);
        for (flag, file) in [
            ("--tls-cert-file", "api.crt"),
            ("--tls-private-key-file", "api.key"),
            ("--service-account-signing-key-file", "accounts.key"),
            ("--service-account-key-file", "accounts.pub"),
            ("--token-auth-file", "tokens"),
            ("--audit-policy-file", "audit.yaml"),
            ("--audit-log-path", "audit.log"),
        ] {
            server.arg(flag).arg(path(file));
        }
        // Written before the answer, so that what has happened is there.
        server.args(["--audit-log-mode", "blocking-strict"]);
        let mut server = Child::spawn("kube-apiserver", server, &path("kube-apiserver.log"))?;

        let mut manager = Child::command(path("kube-controller-manager"));
        manager.arg("--kubeconfig").arg(path("admin"));
        manager.args(["--leader-elect=false", "--secure-port=0", "--controllers"]);
        manager.arg("garbage-collector-controller,replicaset-controller,serviceaccount-controller");

        server.await_ready(START, || ready(&tools, &path("admin")))?;
        let manager = Child::spawn("kube-controller-manager", manager, &path("kube-controller-manager.log"))?;
        Ok(Self { _processes: [manager, server, etcd], _ports: ports, tools, folder })
    }

    /// The kubeconfig with the operator's identity, which may do what the chart grants it.
    pub(crate) fn operator_config(&self) -> PathBuf {
        self.folder.path().join("operator")
    }

    /// Where tests may put files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the operator has asked of the API server: one JSON object a line.
    pub(crate) fn audit_log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("audit.log"))?)
    }

    /// What helm says after an installation.
    pub(crate) fn notes(&self) -> Result<String> {
        let mut helm = program(self.tools.join("helm"));
        helm.args(["install", "freshet"]).arg(cluster::checkout().join("charts/freshet"));
        // The story applies the chart without helm, which would take its objects for somebody else's.
        helm.args(["--namespace", "freshet-system", "--dry-run=client", "--take-ownership", "--kubeconfig"]);
        let said = said(helm.arg(self.folder.path().join("admin")), "")?.succeeded()?;
        said.split_once("\nNOTES:\n").map(|(_, notes)| notes.to_owned()).context("there are no notes")
    }

    /// Renders the chart.
    pub(crate) fn chart(&self, settings: &[&str]) -> Result<String> {
        let mut helm = program(self.tools.join("helm"));
        helm.args(["template", "freshet"]).arg(cluster::checkout().join("charts/freshet"));
        helm.args(["--namespace", "freshet-system", "--kube-version", cluster::KUBERNETES]).args(settings);
        said(&mut helm, "").and_then(Said::succeeded)
    }

    /// Runs `kubectl` as an administrator, with `input` for `-f -`.
    pub(crate) fn try_kubectl(&self, arguments: &[&str], input: &str) -> Result<Said> {
        let mut kubectl = program(self.tools.join("kubectl"));
        kubectl.arg("--kubeconfig").arg(self.folder.path().join("admin")).args(arguments);
        said(&mut kubectl, input)
    }

    /// Runs `kubectl`, which must succeed, and gives its output.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.try_kubectl(arguments, "").and_then(Said::succeeded)
    }

    /// Applies manifests.
    pub(crate) fn apply(&self, manifests: &str) -> Result<String> {
        self.try_kubectl(&["apply", "--filename", "-"], manifests).and_then(Said::succeeded)
    }

    /// An object as JSON.
    pub(crate) fn get(&self, namespace: &str, object: &str) -> Result<Value> {
        let text = self.kubectl(&["--namespace", namespace, "get", object, "--output", "json"])?;
        Ok(serde_json::from_str(&text)?)
    }
}

fn said(command: &mut Command, input: &str) -> Result<Said> {
    command::said(command, Some(input.as_bytes()), VERB)
}

fn ready(tools: &Path, config: &Path) -> Result<()> {
    let mut kubectl = program(tools.join("kubectl"));
    kubectl.arg("--kubeconfig").arg(config).args(["get", "--raw", "/readyz"]);
    said(&mut kubectl, "")?.succeeded().map(drop)
}

fn kubeconfig(api: &str, certificate: &Path, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
         clusters: [{{name: test, cluster: {{server: \"https://{api}\", certificate-authority: {0}}}}}]\n\
         users: [{{name: {user}, user: {{token: {user}-token}}}}]\n\
         contexts: [{{name: test, context: {{cluster: test, user: {user}}}}}]\n",
        certificate.display()
    )
}
