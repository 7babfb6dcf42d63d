//! `cargo xtask torture`: the real pipeline with everything done to it that a network, an operating system and people
//! do, and a checker that knows every commit.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use freshet_e2e::cargo::build_for_e2e;
use freshet_e2e::torture::{self, Options, Source, faults};

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
    if let Some(database) = args.only {
        options.sources = vec![match database {
            Database::Postgres => Source::Postgres,
            Database::Mariadb => Source::MariaDb,
        }];
    }
    if !args.faults.is_empty() {
        let named = args.faults.iter().map(|name| {
            faults::Fault::named(name).with_context(|| {
                let all: Vec<_> = faults::ALL.iter().map(|fault| fault.name).collect();
                format!("no fault is called {name}; there are: {}", all.join(", "))
            })
        });
        options.faults = named.collect::<Result<_>>()?;
    }
    println!("torture with seed {seed}");
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
