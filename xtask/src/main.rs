//! The project's chores; the Makefile is a list of one-liners over them.

mod codegen;
mod record;

use std::path::Path;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's chores")]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Writes the generated files: the CRD.
    Codegen,
    /// Records what the real Debezium writes into Redis, for the sidecar's tests.
    Record {
        /// The recordings to make; without any, all.
        names: Vec<String>,
    },
}

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the checkout");
    match Args::parse().chore {
        Chore::Codegen => codegen::run(root),
        Chore::Record { names } => record::run(root, &names),
    }
}
