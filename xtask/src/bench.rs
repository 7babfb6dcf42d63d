//! `cargo xtask bench`: measures the real thing on this machine. Nothing fails because something was slow.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Subcommand, ValueEnum};
use freshet_bench::{latency, survey, transports};
use freshet_e2e::cargo::{build_example, build_for_e2e};
use freshet_e2e::command::output_within;

/// Far longer than what is measured inside one process takes, however much of it anybody wants.
const INSIDE: Duration = Duration::from_hours(2);

/// What is measured.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// From a commit until its old value is no longer served, with the settings of Debezium that Freshet generates.
    Latency(Latency),
    /// What an audit costs when changes are applied and values are filled.
    Audit {
        /// Rounds of a thousand changes and as many fills, with and without audits by turns.
        #[arg(long, default_value_t = 1000)]
        rounds: usize,
    },
    /// What entries that depend on tables cost: memory, a table's change, and freeing what it voids.
    Entries {
        /// How many.
        #[arg(long, default_value_t = 1_000_000)]
        entries: usize,
    },
    /// What the operator's questions to its sidecars cost, and how old its answers get.
    Survey(Survey),
    /// What a sidecar uses while nothing comes, and to apply what does, over every transport.
    Transports {
        /// For how many seconds nothing comes.
        #[arg(long, default_value_t = 30)]
        seconds: u64,
        /// Messages that are applied.
        #[arg(long, default_value_t = 200_000)]
        messages: usize,
    },
    /// What it costs to read the top of a view, beside Redis, and to rank one.
    Views {
        /// Reads of each kind.
        #[arg(long, default_value_t = 20_000)]
        samples: usize,
    },
}

#[derive(clap::Args)]
pub(crate) struct Latency {
    /// Samples of each database, with and without background writes.
    #[arg(long, default_value_t = 1000)]
    samples: usize,
    /// Background transactions a second.
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Only one of the databases.
    #[arg(long)]
    only: Option<Database>,
    /// A setting of Debezium in place of the generated one, to see what it costs; may be given several times.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    overrides: Vec<String>,
    /// A sidecar to measure instead of the one that is built from this checkout.
    #[arg(long, value_name = "FILE")]
    sidecar: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct Survey {
    /// Numbers of sidecars, one after the other.
    #[arg(long, value_delimiter = ',', default_values_t = [1000, 2000, 5000])]
    sidecars: Vec<usize>,
    /// So many that don't answer, at the end.
    #[arg(long, default_value_t = 2000)]
    silent: usize,
    /// For how long each is measured, after all have been asked once.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Database {
    Postgres,
    Mariadb,
}

/// Measures, and prints what came of it.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Latency(args) => latency(args),
        Bench::Audit { rounds } => inside("audit", *rounds, None),
        Bench::Entries { entries } => inside("entries", *entries, None),
        Bench::Survey(args) => survey(args),
        Bench::Transports { seconds, messages } => transports(*seconds, *messages),
        Bench::Views { samples } => inside("views", *samples, Some(&build_for_e2e("freshet-sidecar")?)),
    }
}

/// A benchmark inside one process, which is built to be fast; `measured` is a program that it starts.
fn inside(what: &str, number: usize, measured: Option<&Path>) -> Result<()> {
    let program = build_for_e2e("freshet-bench")?;
    let report =
        output_within(Command::new(program).args([what, &number.to_string()]).args(measured), INSIDE)?;
    print!("{report}");
    Ok(())
}

fn transports(seconds: u64, messages: usize) -> Result<()> {
    let options = transports::Options {
        sidecar: build_for_e2e("freshet-sidecar")?,
        kinds: transports::Kind::ALL.to_vec(),
        idle: Duration::from_secs(seconds),
        messages,
    };
    print!("{}", transports::run(&options)?);
    Ok(())
}

fn latency(args: &Latency) -> Result<()> {
    ensure!(args.samples > 0 && args.rate > 0, "--samples and --rate are to be more than zero");
    let overrides = args.overrides.iter().map(|text| {
        let (name, value) = text.split_once('=').with_context(|| format!("--set {text}: NAME=VALUE"))?;
        Ok((name.to_owned(), value.to_owned()))
    });
    let databases = match args.only {
        None => vec![latency::Database::Postgres, latency::Database::MariaDb],
        Some(Database::Postgres) => vec![latency::Database::Postgres],
        Some(Database::Mariadb) => vec![latency::Database::MariaDb],
    };
    let options = latency::Options {
        sidecar: args.sidecar.clone().map_or_else(|| build_for_e2e("freshet-sidecar"), Ok)?,
        databases,
        samples: args.samples,
        rate: args.rate,
        overrides: overrides.collect::<Result<_>>()?,
    };
    print!("{}", latency::run(&options)?);
    Ok(())
}

fn survey(args: &Survey) -> Result<()> {
    ensure!(
        args.seconds > 0 && args.sidecars.iter().all(|n| *n > 0),
        "--seconds and --sidecars are to be more than zero"
    );
    let options = survey::Options {
        asker: build_example("freshet-operator", "survey")?,
        sidecar: build_for_e2e("freshet-sidecar")?,
        answering: args.sidecars.clone(),
        silent: args.silent,
        window: Duration::from_secs(args.seconds),
    };
    print!("{}", survey::run(&options)?);
    Ok(())
}
