//! The project's chores; the Makefile is a list of one-liners over them.

mod bench;
mod cluster;
mod codegen;
mod demo;
mod example;
mod fuzz;
mod record;
mod setup;
mod torture;
mod verify;

use std::path::Path;
use std::time::Duration;

use clap::{Parser, Subcommand};
use freshet_e2e::stop::stop_on_signals;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's chores")]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Installs what the chores and tests need, or says what to install.
    Setup,
    /// Runs every check: formatting, lints, licences, documentation, unit and process tests, end to end.
    Test,
    /// Writes the generated files: the CRD.
    Codegen,
    /// Records what the real Debezium writes into Redis, for the sidecar's tests.
    Record {
        /// The recordings to make; without any, all.
        names: Vec<String>,
    },
    /// Feeds whatever parses foreign bytes with inputs that grow from a corpus: for a few seconds each, as `test` does,
    /// unless told otherwise.
    Fuzz {
        /// Only this target; can be given several times.
        #[arg(long = "target")]
        targets: Vec<String>,
        /// Go on for so long with each.
        #[arg(long, conflicts_with = "distill", value_parser = clap::value_parser!(u64).range(1..=1440))]
        minutes: Option<u64>,
        /// Make the corpus the smallest that reaches as much as it, its seeds and what long runs have found.
        #[arg(long)]
        distill: bool,
    },
    /// Makes, uses and removes the kind cluster by hand.
    #[command(subcommand)]
    Cluster(cluster::Verb),
    /// Builds what the cluster consists of, so that the first one comes up sooner.
    Images,
    /// Shows the whole thing for real, on a kind cluster that stays.
    Demo {
        /// Removes what the demo left running.
        #[arg(long)]
        clean: bool,
    },
    /// Runs an example of `examples/` with its real parts, without a cluster, until it is ended.
    Example {
        #[arg(value_enum)]
        name: example::Example,
    },
    /// Tortures the real pipeline: writers, readers and faults at random, and a checker that knows every commit.
    Torture(torture::Args),
    /// Measures on this machine, beside a peer; nothing fails because something was slow.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Runs the tests on a real cluster, and removes it unless it was there before.
    E2e {
        /// Names of tests; without any, all.
        names: Vec<String>,
    },
}

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the checkout");
    let args = Args::parse();
    stop_on_signals()?;
    match args.chore {
        Chore::Setup => setup::run(setup::Purpose::Tests),
        Chore::Test => verify::run(root),
        Chore::Codegen => codegen::run(root),
        Chore::Fuzz { targets, minutes, distill } => {
            let mode = match minutes {
                Some(minutes) => fuzz::Mode::Long(Duration::from_mins(minutes)),
                None if distill => fuzz::Mode::Distill,
                None => fuzz::Mode::Bounded,
            };
            fuzz::run(root, &targets, mode)
        }
        Chore::Cluster(verb) => cluster::run(verb),
        Chore::Images => freshet_e2e::cluster::build_images(),
        Chore::Demo { clean: false } => demo::run(),
        Chore::Demo { clean: true } => demo::clean(),
        Chore::E2e { names } => cluster::e2e(root, &names),
        Chore::Example { name } => example::run(name),
        Chore::Torture(args) => torture::run(&args),
        Chore::Bench(bench) => bench::run(&bench),
        Chore::Record { names } => record::run(root, &names),
    }
}
