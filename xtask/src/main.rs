//! The project's chores; the Makefile is a list of one-liners over them.

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's chores")]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {}

fn main() -> anyhow::Result<()> {
    match Args::parse().chore {}
}
