//! The command line; every flag is also an environment variable.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use freshet_crds::StartGate;

/// Where the API listens unless told otherwise.
pub const API: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3737);
/// The admin listener's port unless told otherwise.
pub const ADMIN_PORT: u16 = 3738;

/// The cache beside an application.
#[derive(Debug, Parser)]
#[command(name = "freshet-sidecar", version, about, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to serve.
    #[command(flatten)]
    pub serve: Option<Serve>,
}

/// What a sidecar can do instead of serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Asks the sidecar that runs beside for its health; exits 0 if it is well, 1 if not.
    Probe(Probe),
}

/// How to serve.
#[derive(Debug, Args)]
pub struct Serve {
    /// The CacheBinding manifest, YAML or JSON; it is read again when it changes.
    #[arg(long, env = "FRESHET_BINDING", value_name = "FILE")]
    pub binding: PathBuf,
    /// Where the API listens; IPv4 loopback brings IPv6 loopback with it.
    #[arg(long, env = "FRESHET_LISTEN", default_value_t = API, value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// The Unix socket on which the API listens as well.
    #[arg(long, env = "FRESHET_SOCKET", value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Where health and metrics are; by default port 3738 of every address.
    #[arg(long, env = "FRESHET_ADMIN", value_name = "ADDRESS")]
    pub admin: Option<SocketAddr>,
    /// The folder of mounted Secrets: a secretKeyRef reads DIR/NAME/KEY.
    #[arg(long, env = "FRESHET_SECRETS", value_name = "DIR")]
    pub secrets: Option<PathBuf>,
    /// The folder of mounted ConfigMaps: a configMapKeyRef reads DIR/NAME/KEY.
    #[arg(long, env = "FRESHET_CONFIG_MAPS", value_name = "DIR")]
    pub config_maps: Option<PathBuf>,
    /// What /startupz waits for: Listening or Synced. An operator sets it as the binding says.
    #[arg(long, env = "FRESHET_START_GATE", default_value = "Listening", value_name = "GATE", value_parser = start_gate)]
    pub start_gate: StartGate,
    /// How long it waits at most for Synced.
    #[arg(long, env = "FRESHET_START_DEADLINE", default_value = "1m", value_name = "DURATION", value_parser = deadline)]
    pub start_deadline: Duration,
}

fn start_gate(text: &str) -> Result<StartGate, String> {
    let known = [StartGate::Listening, StartGate::Synced];
    let found = known.into_iter().find(|gate| format!("{gate:?}").eq_ignore_ascii_case(text));
    found.ok_or_else(|| "a gate is Listening or Synced".to_owned())
}

fn deadline(text: &str) -> Result<Duration, String> {
    freshet_crds::quantity::duration(text)
        .ok_or_else(|| "a duration is written as in 90s or 1m30s".to_owned())
}

/// What to ask.
#[derive(Debug, Args)]
pub struct Probe {
    /// Which probe.
    #[arg(value_enum)]
    pub which: Which,
    /// Where the sidecar's admin listener is.
    #[arg(long, env = "FRESHET_ADMIN", value_name = "ADDRESS")]
    pub admin: Option<SocketAddr>,
}

/// The probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    /// It listens, and what the application's start waits for is there.
    Startup,
    /// It answers.
    Live,
}
