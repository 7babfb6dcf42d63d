//! `cargo xtask test`: everything that must hold, in the order in which a fault is cheapest to find.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use freshet_e2e::command::{program, show};

use crate::{cluster, fuzz, setup};

/// Runs every check, says how long each took, and stops at the first that fails.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut steps = Steps { root, taken: Vec::new() };
    steps.step("set-up", |_| setup::run(setup::Purpose::Tests))?;
    steps.cargo("formatting", &["fmt", "--all", "--check"], &[])?;
    steps.cargo(
        "lints",
        &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"],
        &[],
    )?;
    // Those tests that plain `cargo test` leaves out, because they need a cluster or an API server.
    steps.cargo(
        "lints of the tests by name",
        &["clippy", "--workspace", "--test", "*", "--quiet", "--", "-D", "warnings"],
        &[],
    )?;
    steps.step("licences, bans, sources", |root| {
        let deny = setup::cargo_deny()?;
        show(
            program(deny)
                .args(["--workspace", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"])
                .current_dir(root),
        )
    })?;
    let strict = [("RUSTDOCFLAGS", "-D warnings")];
    steps.cargo(
        "documentation",
        &["doc", "--workspace", "--no-deps", "--quiet", "--document-private-items"],
        &strict,
    )?;
    steps.step("chart", |root| {
        let helm = freshet_e2e::cluster::host_tools()?.join("helm");
        show(program(helm).args(["lint", "--strict", "--quiet", "charts/freshet"]).current_dir(root))
    })?;
    steps.step("Go programs", |root| {
        ["examples/shop", "clients/go", "clients/go/example"]
            .into_iter()
            .try_for_each(|module| show(program("go").args(["vet", "./..."]).current_dir(root.join(module))))
    })?;
    steps.cargo("unit and process tests", &["test", "--workspace", "--quiet"], &[])?;
    steps.step("fuzzing", |root| fuzz::run(root, &[], fuzz::Mode::Bounded))?;
    steps.cargo("operator on a real API server", &["test", "--workspace", "--test", "api"], &[])?;
    steps.step("end to end", |root| cluster::e2e(root, &[]))?;
    steps.report();
    Ok(())
}

struct Steps<'a> {
    root: &'a Path,
    taken: Vec<(&'static str, Duration)>,
}

impl Steps<'_> {
    fn step(&mut self, name: &'static str, run: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        println!("── {name}");
        let started = Instant::now();
        run(self.root).with_context(|| format!("{name} failed"))?;
        self.taken.push((name, started.elapsed()));
        Ok(())
    }

    fn cargo(&mut self, name: &'static str, args: &[&str], environment: &[(&str, &str)]) -> Result<()> {
        self.step(name, |root| {
            show(program("cargo").args(args).envs(environment.iter().copied()).current_dir(root))
        })
    }

    fn report(&self) {
        println!("── all good");
        for (name, taken) in &self.taken {
            println!("{:>7.1} s  {name}", taken.as_secs_f64());
        }
    }
}
