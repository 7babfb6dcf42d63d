//! The operator's binary as a child process.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use freshet_e2e::process::{
    Child, Port,
    http::{self, Target},
};

use crate::control_plane::ControlPlane;

/// A replica of the operator with the identity and the rights that the chart gives it.
pub(crate) struct Replica {
    /// The process.
    pub(crate) child: Child,
    /// Where the webhook is.
    pub(crate) webhook: Port,
    health: Port,
}

impl Replica {
    /// Starts a replica whose webhook listens on the given port.
    pub(crate) fn start(plane: &ControlPlane, name: &str, webhook: Port) -> Result<Self> {
        let health = Port::free()?;
        let mut command = Child::command(env!("CARGO_BIN_EXE_freshet-operator"));
        command.arg("run").env("KUBECONFIG", plane.operator_config());
        for (key, value) in [
            ("FRESHET_NAMESPACE", "freshet-system"),
            ("FRESHET_POD_NAME", name),
            ("FRESHET_LEASE", "freshet"),
            ("FRESHET_CA_SECRET", "freshet-ca"),
            ("FRESHET_WEBHOOK_CONFIGURATION", "freshet-freshet-system"),
            ("FRESHET_WEBHOOK_HOSTS", "localhost"),
            ("FRESHET_WEBHOOK_LISTEN", &webhook.address().to_string()),
            ("FRESHET_HEALTH_LISTEN", &health.address().to_string()),
            ("FRESHET_SIDECAR_IMAGE", "freshet-sidecar:test"),
            ("FRESHET_LOG", "info,freshet_operator=debug"),
        ] {
            command.env(key, value);
        }
        let child = Child::spawn(name, command, &plane.folder().join(format!("{name}.log")))?;
        Ok(Self { child, webhook, health })
    }

    /// Waits until it is ready.
    pub(crate) fn await_ready(&mut self) -> Result<()> {
        let target = Target::Tcp(self.health.address());
        self.child.await_ready(Duration::from_secs(30), || {
            let answer = http::get(&target, "/readyz")?;
            ensure!(answer.status == 200, "{}", answer.text());
            Ok(())
        })
    }

    /// The value of a metric's line.
    pub(crate) fn metric(&self, line: &str) -> Result<f64> {
        let text = http::get(&Target::Tcp(self.health.address()), "/metrics")?.text();
        let value = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("no {line} in\n{text}"))?.parse()?)
    }
}
