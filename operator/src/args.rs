//! The command line.

use std::{io, net::SocketAddr, process::ExitCode};

use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::{check::Check, debezium::Generate, run, triggers::Triggers};

/// Reconciles CacheBindings, injects sidecars, reports the fleet's state.
#[derive(Debug, Parser)]
#[command(name = "freshet-operator", version)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the operator in a cluster, or by the current kubeconfig.
    Run(Box<Run>),
    /// Prints the CRD.
    Crd,
    /// Prints the settings of a Debezium Server that fits a binding, and the SQL that its database needs.
    Debezium(Box<Generate>),
    /// Prints the SQL by which a Postgres tells the channel of a `postgresNotify` which rows have changed.
    Triggers(Box<Triggers>),
    /// Compares a binding with the settings of a Debezium Server, and with its Postgres. Exits with 0 if no promise of
    /// the binding is broken, with 1 if one is, with 2 if that can't be told.
    Check(Box<Check>),
}

/// The settings of `run`. Each is also read from the environment.
#[derive(Clone, Debug, clap::Args)]
pub struct Run {
    /// Our own namespace: of the Lease and the CA's Secret.
    #[arg(long, env = "FRESHET_NAMESPACE", default_value = "freshet-system")]
    pub namespace: String,
    /// Our name among the replicas.
    #[arg(long, env = "FRESHET_POD_NAME")]
    pub pod_name: String,
    /// The Lease by which replicas agree who writes.
    #[arg(long, env = "FRESHET_LEASE", default_value = "freshet")]
    pub lease: String,
    /// The Secret that holds the webhook's CA; made if it isn't there.
    #[arg(long, env = "FRESHET_CA_SECRET", default_value = "freshet-ca")]
    pub ca_secret: String,
    /// Where the webhook listens.
    #[arg(long, env = "FRESHET_WEBHOOK_LISTEN", default_value = "[::]:8443")]
    pub webhook_listen: SocketAddr,
    /// The DNS names by which the API server calls the webhook.
    #[arg(
        long,
        env = "FRESHET_WEBHOOK_HOSTS",
        value_delimiter = ',',
        default_value = "freshet-webhook.freshet-system.svc"
    )]
    pub webhook_hosts: Vec<String>,
    /// The MutatingWebhookConfiguration whose caBundle we write, if it is there.
    #[arg(long, env = "FRESHET_WEBHOOK_CONFIGURATION", default_value = "freshet-freshet-system")]
    pub webhook_configuration: String,
    /// Where /livez, /readyz and /metrics are.
    #[arg(long, env = "FRESHET_HEALTH_LISTEN", default_value = "[::]:8080")]
    pub health_listen: SocketAddr,
    /// The sidecar's image, for bindings that name none.
    #[arg(long, env = "FRESHET_SIDECAR_IMAGE")]
    pub sidecar_image: String,
    /// When the sidecar's image is pulled.
    #[arg(long, env = "FRESHET_SIDECAR_IMAGE_PULL_POLICY", default_value = "IfNotPresent")]
    pub sidecar_image_pull_policy: PullPolicy,
    /// Secrets for pulling the sidecar's image, in the pods' namespaces.
    #[arg(long, env = "FRESHET_SIDECAR_IMAGE_PULL_SECRETS", value_delimiter = ',')]
    pub sidecar_image_pull_secrets: Vec<String>,
    /// What is logged, such as `info` or `info,freshet_operator=debug`.
    #[arg(long, env = "FRESHET_LOG", default_value = "info")]
    pub log: String,
    /// How it is logged.
    #[arg(long, env = "FRESHET_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// When an image is pulled, in Kubernetes' words.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum PullPolicy {
    /// At each start.
    Always,
    /// When the node doesn't have it.
    IfNotPresent,
    /// It is on the node.
    Never,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

// === impl Args ===

impl Args {
    /// Does what the command line says.
    #[must_use]
    pub fn parse_and_run() -> ExitCode {
        match Self::parse().command {
            Command::Crd => print(&freshet_crds::crd_yaml()),
            Command::Debezium(settings) => match settings.file() {
                Ok(file) => print(&file),
                Err(error) => {
                    eprintln!("{error}");
                    ExitCode::from(2)
                }
            },
            Command::Triggers(settings) => match settings.sql() {
                Ok(sql) => print(&sql),
                Err(error) => {
                    eprintln!("{error}");
                    ExitCode::from(2)
                }
            },
            Command::Check(settings) => settings.run(),
            Command::Run(settings) => settings.start(),
        }
    }
}

fn print(text: &str) -> ExitCode {
    match io::Write::write_all(&mut io::stdout(), text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

// === impl Run ===

impl Run {
    fn start(self: Box<Self>) -> ExitCode {
        let filter = match EnvFilter::builder().parse(&self.log) {
            Ok(filter) => filter,
            Err(error) => {
                eprintln!("--log {:?}: {error}", self.log);
                return ExitCode::FAILURE;
            }
        };
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
        match self.log_format {
            LogFormat::Text => log.with_ansi(false).init(),
            LogFormat::Json => log.json().flatten_event(true).init(),
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let done = runtime.map_err(run::RunError::from).and_then(|runtime| runtime.block_on(run::run(*self)));
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!(%error, "stopped");
                ExitCode::FAILURE
            }
        }
    }
}

// === impl PullPolicy ===

impl PullPolicy {
    /// As Kubernetes writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}
