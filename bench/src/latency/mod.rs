//! From a commit to the instant at which its old value is no longer served, through the real pipeline with the settings
//! that Freshet generates.
//!
//! A value is cached, its row is changed at a random phase of everything that ticks in Debezium, and the sidecar is
//! asked over its Unix socket until it doesn't answer with the old value. A plain consumer reads the same stream: what
//! it takes is the database's, Debezium's and Redis's share.

mod background;
mod database;
mod peer;
mod sampler;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use freshet_e2e::process::debezium::Settings;
use freshet_e2e::process::{Debezium, Redis, Sidecar, until};

use crate::{Machine, Spread};
use background::Background;
use database::Server;
use peer::Peer;
use sampler::{Sample, Sampler};

pub use database::Database;

/// The stream that everything goes through.
const STREAM: &str = "shop.cdc";

/// Samples before those that count, for the compilers and caches of all parts.
const WARM_UP: usize = 200;

/// What is measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// The sidecar's program.
    pub sidecar: PathBuf,
    /// The databases, one after the other.
    pub databases: Vec<Database>,
    /// Samples of each database, with and without background writes.
    pub samples: usize,
    /// Background transactions a second, each of one row.
    pub rate: u32,
    /// Settings of Debezium in place of the generated ones, to see what each costs.
    pub overrides: Vec<(String, String)>,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Report {
    machine: Machine,
    overrides: Vec<(String, String)>,
    phases: Vec<Phase>,
}

/// One database under one load.
#[derive(Clone, Debug)]
struct Phase {
    database: Database,
    /// Background transactions a second that were really made.
    rate: f64,
    samples: Vec<Sample>,
    /// Samples that say nothing, since the sidecar vouched for nothing just then.
    discarded: usize,
}

/// Measures it.
pub fn run(options: &Options) -> Result<Report> {
    let machine = Machine::now();
    let mut phases = Vec::new();
    for database in &options.databases {
        phases.extend(of(*database, options).with_context(|| format!("{database}"))?);
    }
    Ok(Report { machine, overrides: options.overrides.clone(), phases })
}

fn of(database: Database, options: &Options) -> Result<Vec<Phase>> {
    let server = Server::start(database)?;
    let redis = Redis::start()?;
    server.prepare(options.samples.max(WARM_UP))?;
    let base = match database {
        Database::Postgres => Settings::default(),
        Database::MariaDb => Settings::mariadb(),
    };
    let settings = base.table(database::TABLE);
    let settings = options.overrides.iter().fold(settings, |all, (name, value)| all.set(name, value));
    let _debezium: Debezium = server.followed(settings, &redis)?;
    let sidecar = Sidecar::builder(&options.sidecar, &binding(&redis)).start()?;
    until("the sidecar is fresh", Duration::from_secs(30), || {
        let state = sidecar.status()?["sources"]["cdc"]["state"].clone();
        anyhow::ensure!(state == "Fresh", "{state}");
        Ok(())
    })?;
    let peer = Peer::start(&redis)?;
    let mut sampler = Sampler::new(sidecar.socket(), server.session()?, peer);
    sampler.take(WARM_UP)?;
    let phase = |rate: f64, (samples, discarded)| Phase { database, rate, samples, discarded };
    let idle = phase(0.0, sampler.take(options.samples)?);
    let background = Background::start(server.session()?, options.rate);
    let taken = sampler.take(options.samples)?;
    let busy = phase(background.end()?, taken);
    Ok(vec![idle, busy])
}

fn binding(redis: &Redis) -> String {
    format!(
        "apiVersion: freshet.dev/v1alpha1\nkind: CacheBinding\nmetadata: {{name: bench}}\nspec:\n  sources:\n  \
         - {{name: cdc, redisStream: {{url: '{}', stream: {STREAM}}}}}\n  caches:\n  \
         - {{name: items, table: {}}}\n  freshness: {{maxStaleness: 10s, heartbeat: Database}}\n",
        redis.url(),
        database::TABLE
    )
}

// === impl Report ===

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "from a commit's return, in ms; {}", self.machine)?;
        for (name, value) in &self.overrides {
            writeln!(f, "with {name}={value}")?;
        }
        self.phases.iter().try_for_each(|phase| write!(f, "{phase}"))
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |time: fn(&Sample) -> Duration| self.samples.iter().map(time).collect::<Spread>();
        let (added, read) = (of(|s| s.added), of(|s| s.read));
        let (gone, after) = (of(|s| s.gone), of(|s| s.gone.saturating_sub(s.read)));
        let load =
            if self.rate > 0.0 { format!("{:.0} further changes/s", self.rate) } else { "idle".into() };
        writeln!(
            f,
            "\n{}, {load}: {} samples, {} discarded\n{:34}     p50     p90     p99     max",
            self.database,
            gone.count(),
            self.discarded,
            ""
        )?;
        writeln!(f, "  {:32} {added}", "entry in Redis (its id)")?;
        writeln!(f, "  {:32} {read}", "read by a plain consumer")?;
        writeln!(f, "  {:32} {gone}", "no longer served")?;
        writeln!(f, "  {:32} {after}", "no longer served, after consumer")?;
        writeln!(
            f,
            "  no longer served / read by a plain consumer: {:.2} at p50, {:.2} at p99",
            gone.ratio(&read, 500),
            gone.ratio(&read, 990)
        )
    }
}
