//! `cargo xtask example`: an example of `examples/` with its real parts on this machine, until it is ended.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use freshet_e2e::cargo;
use freshet_e2e::command::step;
use freshet_e2e::examples::{JoinCache, RestCache};
use freshet_e2e::stop::take_stop;

use crate::setup::{self, Purpose};

/// How often the parts are looked at.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Example {
    /// A page joined of two tables of MariaDB.
    JoinCache,
    /// Four views of what a REST service lists.
    RestCache,
}

/// Starts it, says where it is and what to try, and ends it when we are asked to stop.
pub(crate) fn run(example: Example) -> Result<()> {
    step("what the machine needs", || setup::run(Purpose::Examples))?;
    let sidecar = step("freshet-sidecar", || cargo::build("freshet-sidecar", |_| ()))?;
    match example {
        Example::JoinCache => join_cache(&sidecar),
        Example::RestCache => rest_cache(&sidecar),
    }
}

fn join_cache(sidecar: &Path) -> Result<()> {
    let mut example = step("MariaDB, Debezium, Redis, sidecar, catalogue.py", || {
        JoinCache::start(sidecar, |binding| binding)
    })?;
    let (url, port) = (example.url(), example.mariadb().port());
    println!("\nA page, and where it came from (also /products and /stock/1):\n  curl -i {url}/products/1");
    println!("Change what it is made of:\n  mariadb --host 127.0.0.1 --port {port} --user root inventory");
    until_stopped(|| example.must_run())
}

fn rest_cache(sidecar: &Path) -> Result<()> {
    let mut example = step("standin.py, sidecar, board.py", || RestCache::start(sidecar))?;
    let (url, standin) = (example.url(), example.standin_url());
    println!("\nFour views (also /most-stars?n=20 and the like):\n  curl {url}");
    println!("Change what they are made of:");
    println!("  curl -X PUT -d '{{\"stargazers_count\": 1000000}}' {standin}/made-up/repos/plum-cli");
    println!("  curl -X PUT -d '{{\"status\": 503}}' {standin}/made-up");
    until_stopped(|| example.must_run())
}

fn until_stopped(mut look: impl FnMut() -> Result<()>) -> Result<()> {
    println!("Ctrl-C ends it.");
    while !take_stop() {
        look()?;
        thread::sleep(LOOK);
    }
    Ok(())
}
