//! Puts the parts together and owns every task.

use std::{io::IsTerminal as _, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Parser as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing::{info, warn};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _};

use crate::{
    admin::{self, Admin, SetLevel},
    api::{Api, MAX_CONNECTIONS, listen},
    args::{Cli, Command, Serve},
    audit,
    clock::Tick,
    descriptors,
    engine::Engine,
    gate::Gate,
    metrics::ConnectionStats,
    mounts::Mounts,
    probe,
    publishing::Desk,
    reload::Reloader,
    source,
    status::BindingState,
    sweeper,
    upstream::service::Service,
};

/// Runs the command line. 2: the command line or the binding is wrong; 1: anything else.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match (cli.command, cli.serve) {
        (Some(Command::Probe(probe)), _) => match probe::run(&probe) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, 1),
        },
        (None, Some(serve)) => run(serve),
        (None, None) => fail("--binding FILE is needed", 2),
    }
}

#[expect(clippy::print_stderr, reason = "the last word to whoever typed the command")]
fn fail(error: &str, code: u8) -> ExitCode {
    eprintln!("freshet-sidecar: {error}");
    ExitCode::from(code)
}

fn run(args: Serve) -> ExitCode {
    let set_level = telemetry();
    let engine = Arc::new(Engine::new());
    let (installed, watch_installed) = watch::channel(0);
    let (state, binding) = watch::channel(BindingState::default());
    let level = Arc::clone(&set_level);
    let mut reloader = Reloader::new(
        args.binding.clone(),
        Arc::clone(&engine),
        installed,
        state,
        Box::new(move |name| {
            level(name);
        }),
    );
    if let Err(error) = reloader.first() {
        return fail(&error.to_string(), 2);
    }
    let connections = Arc::new(ConnectionStats::default());
    let admin = Admin {
        engine: Arc::clone(&engine),
        binding: binding.clone(),
        connections: Arc::clone(&connections),
        gate: Gate::new(args.start_gate, args.start_deadline, Tick::now()),
        set_level,
    };
    let mounts = Mounts { secrets: args.secrets.clone(), config_maps: args.config_maps.clone() };
    let limit = descriptors::for_connections().min(MAX_CONNECTIONS);
    let upstreams = match fetching(&engine, &mounts, limit) {
        Ok(upstreams) => upstreams,
        Err(error) => return fail(&format!("{error:#}"), 1),
    };
    let api = Api::new(Arc::clone(&engine), upstreams, binding, connections, limit);
    let sources = Arc::clone(&engine);
    let followers = std::thread::Builder::new().name("sources".into()).spawn(move || {
        runtime().map(|runtime| runtime.block_on(source::supervise(sources, mounts, watch_installed)))
    });
    let served = followers
        .context("start the sources' thread")
        .and_then(|_| runtime()?.block_on(serve(args, engine, reloader, admin, api)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{error:#}"), 1),
    }
}

/// What reads upstreams, on a thread of its own: neither a handshake nor a large answer delays those of the API.
fn fetching(engine: &Arc<Engine>, mounts: &Mounts, connections: usize) -> anyhow::Result<Arc<Service>> {
    let runtime = runtime()?;
    let service =
        Arc::new(Service::new(Arc::clone(engine), mounts.clone(), runtime.handle().clone(), connections));
    let refresh = Arc::clone(&service).refresh();
    std::thread::Builder::new()
        .name("upstreams".into())
        .spawn(move || runtime.block_on(refresh))
        .context("start the upstreams' thread")?;
    Ok(service)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")
}

async fn serve(
    args: Serve,
    engine: Arc<Engine>,
    reloader: Reloader,
    admin: Admin,
    api: Api,
) -> anyhow::Result<()> {
    if !args.listen.ip().is_loopback() {
        warn!(address = %args.listen, "the API has no authentication and listens beyond this machine");
    }
    let mut listeners = listen::tcp(args.listen)?;
    if let Some(path) = &args.socket {
        listeners.push(listen::unix(path)?);
    }
    let admin_listener = admin::bind(args.admin).context("can't listen for health and metrics")?;
    let places: Vec<_> = listeners.iter().map(listen::Listener::describe).collect();
    info!(
        version = env!("CARGO_PKG_VERSION"),
        api = places.join(" "),
        admin = %admin_listener.local_addr().context("admin listener")?,
        "listening"
    );
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(admin.serve(admin_listener));
    tokio::spawn(reloader.run());
    tokio::spawn(audit::run::run(Arc::clone(&engine)));
    let sweeper = std::thread::Builder::new().name("sweeper".into());
    let swept = Arc::clone(&engine);
    sweeper.spawn(move || sweeper::run(&swept)).context("start the sweeper's thread")?;
    let api = tokio::spawn(api.serve(listeners, stopping));
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("stopping");
    stop.send_replace(true);
    let served = api.await.context("the API's task failed");
    say_bye(&engine).await;
    served
}

/// Lets whoever publishes say that this was all.
async fn say_bye(engine: &Engine) {
    let Some(catalog) = engine.catalog() else { return };
    let desks = || catalog.feeds.iter().map(|(feed, _)| &feed.publishing);
    desks().for_each(Desk::close);
    let ended = futures::future::join_all(desks().map(Desk::ended));
    // They take no longer than they may by themselves; where one has failed nobody waits for ever.
    let _ = tokio::time::timeout(FAREWELL, ended).await;
}

/// How long the last words of those who publish may take.
const FAREWELL: Duration = Duration::from_secs(3);

/// What a lost connection means is told by whoever reads on it, once.
const SILENT: &str = "async_nats=off";

/// Logs to standard error: text for a person, JSON for a collector. Returns what changes the level.
fn telemetry() -> SetLevel {
    let (filter, handle) = reload::Layer::new(EnvFilter::new(format!("info,{SILENT}")));
    let registry = tracing_subscriber::registry().with(filter);
    let format = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        registry.with(format.with_target(false)).init();
    } else {
        registry.with(format.json().flatten_event(true)).init();
    }
    Arc::new(move |level| {
        let known = matches!(level, "error" | "warn" | "info" | "debug" | "trace");
        // Libraries stay quiet: their debug output can carry what was sent.
        let others = if matches!(level, "error" | "warn") { level } else { "info" };
        let filter = format!("{others},freshet_sidecar={level},{SILENT}");
        known && handle.reload(EnvFilter::new(filter)).is_ok()
    })
}
