//! `cargo xtask torture`: the real pipeline with everything done to it that a network, an operating system and people
//! do, and a checker that knows every commit.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use freshet_e2e::cargo::build_for_e2e;
use freshet_e2e::torture::{self, Options, Source, Transport, faults};

/// Seconds of a week.
const LONGEST: u64 = 7 * 24 * 3600;

/// What is to be done.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long faults are made, in minutes; the start and the last audit take another half.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Repeats a run's plan; without it, one is drawn and printed.
    #[arg(long)]
    seed: Option<u64>,
    /// What carries the changes from the databases to the sidecars.
    #[arg(long, value_enum, default_value_t = Carrier::RedisStream)]
    transport: Carrier,
    /// Only one of the databases.
    #[arg(long)]
    only: Option<Database>,
    /// Only faults of this name; may be given several times. An unknown one lists them all.
    #[arg(long = "fault", value_name = "NAME")]
    faults: Vec<String>,
    /// A sidecar to torture instead of the one that is built from this checkout.
    #[arg(long, value_name = "FILE")]
    sidecar: Option<PathBuf>,
    /// Where to write the report as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Database {
    Postgres,
    Mariadb,
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "camelCase")]
enum Carrier {
    /// Streams of a Redis with a replica.
    RedisStream,
    /// Streams of NATS JetStream.
    NatsJetStream,
    /// Topics of Kafka.
    Kafka,
    /// Channels of Redis.
    RedisPubSub,
    /// Subjects of NATS.
    Nats,
    /// PostgreSQL's NOTIFY.
    PostgresNotify,
    /// Files in which Redis' streams are recorded.
    File,
}

/// Runs it, prints what it came to, and fails if there were violations.
pub(crate) fn run(args: &Args) -> Result<()> {
    let drawn =
        || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| u64::from(since.subsec_nanos()));
    let seed = args.seed.unwrap_or_else(drawn);
    let time = Duration::try_from_secs_f64(args.minutes * 60.0).ok().filter(|time| time.as_secs() < LONGEST);
    let time =
        time.filter(|time| !time.is_zero()).context("--minutes is more than zero and at most a week's")?;
    let sidecar = args.sidecar.clone().map_or_else(|| build_for_e2e("freshet-sidecar"), Ok)?;
    let mut options = Options::new(sidecar, seed, time);
    options.transport = match args.transport {
        Carrier::RedisStream => Transport::RedisStream,
        Carrier::NatsJetStream => Transport::NatsJetStream,
        Carrier::Kafka => Transport::Kafka,
        Carrier::RedisPubSub => Transport::RedisPubSub,
        Carrier::Nats => Transport::Nats,
        Carrier::PostgresNotify => Transport::PostgresNotify,
        Carrier::File => Transport::File,
    };
    if let Some(database) = args.only {
        options.sources = vec![match database {
            Database::Postgres => Source::Postgres,
            Database::Mariadb => Source::MariaDb,
        }];
    }
    if !args.faults.is_empty() {
        let named = args.faults.iter().map(|name| {
            let fits = |fault: &faults::Fault| fault.fits(&options.sources, options.transport);
            faults::Fault::named(name).filter(fits).with_context(|| {
                let all = faults::ALL.iter().filter(|fault| fits(fault)).map(|fault| fault.name);
                let (all, transport) = (all.collect::<Vec<_>>().join(", "), options.transport.name());
                format!("no fault of these databases over {transport} is called {name}; there are: {all}")
            })
        });
        let named = named.collect::<Result<_>>()?;
        options.faults = named;
    }
    println!("torture of {} with seed {seed}", options.transport.name());
    let report = torture::run(&options)?;
    print!("{report}");
    if let Some(path) = &args.report {
        let json = serde_json::to_vec_pretty(&report)?;
        std::fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
    }
    if !report.is_clean() {
        bail!("there were violations; --seed {seed} repeats the plan");
    }
    Ok(())
}
