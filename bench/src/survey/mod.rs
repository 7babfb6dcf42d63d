//! What the operator's questions to its sidecars cost, and how old its answers get.
//!
//! The operator's survey asks as in the operator, in a process of its own; the sidecars are addresses of the loopback
//! device that answer with what a real sidecar has answered, or hold the question and say nothing.

mod asker;
mod fleet;
mod pauses;
mod plain;
mod real;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use freshet_e2e::process::until;

use crate::{Machine, Spread, Usage};
use asker::Asker;
use fleet::{Fleet, Manner};
use pauses::pauses;

/// What is measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// The operator's example `survey`.
    pub asker: PathBuf,
    /// The sidecar's program.
    pub sidecar: PathBuf,
    /// Numbers of sidecars that answer, one after the other.
    pub answering: Vec<usize>,
    /// A number of sidecars that don't answer; 0: that isn't measured.
    pub silent: usize,
    /// For how long each is measured after the first round.
    pub window: Duration,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Report {
    machine: Machine,
    /// Bytes of a sidecar's answer without its head.
    answer: usize,
    cells: Vec<Cell>,
}

/// One number of sidecars.
#[derive(Clone, Debug)]
struct Cell {
    sidecars: usize,
    /// Until each had been asked once.
    first_round: Duration,
    window: Duration,
    /// Questions in the window.
    questions: usize,
    /// Between two of a sidecar, and since its last one at the window's end.
    pauses: Spread,
    /// What the operator's survey used in the window.
    used: Usage,
    /// What it knew at the end.
    known: String,
    /// Processor time of one question by a plain loop, where sidecars answer.
    plain: Option<Duration>,
}

/// Measures it.
pub fn run(options: &Options) -> Result<Report> {
    let machine = Machine::now();
    let real = real::answer(&options.sidecar).context("a real sidecar's answer")?;
    let mut cells = Vec::new();
    for sidecars in &options.answering {
        let fleet = Fleet::start(*sidecars, &Manner::Answers(Arc::clone(&real.bytes)))?;
        let plain = plain::per_question(&fleet)?;
        let cell = Cell { plain: Some(plain), ..measure(&fleet, options)? };
        let all = format!("{sidecars} answer, ");
        ensure!(cell.known.starts_with(&all), "of {sidecars} sidecars that answer: {}", cell.known);
        cells.push(cell);
    }
    if options.silent > 0 {
        cells.push(measure(&Fleet::start(options.silent, &Manner::Silent)?, options)?);
    }
    Ok(Report { machine, answer: real.body, cells })
}

fn measure(fleet: &Fleet, options: &Options) -> Result<Cell> {
    let sidecars = fleet.addresses().len();
    let start = Instant::now();
    let mut asker = Asker::start(&options.asker, fleet)?;
    // Four times as long as it should take if none answers.
    let within = Duration::from_secs(30 + sidecars as u64 / 8);
    until("all have been asked", within, || {
        asker.must_run()?;
        let left = fleet.times(start).iter().filter(|times| times.is_empty()).count();
        ensure!(left == 0, "{left} of {sidecars} haven't");
        Ok(())
    })?;
    let (from, before) = (Instant::now(), asker.used()?);
    // How long it is measured, and no condition that is waited for.
    thread::sleep(options.window);
    let (to, after) = (Instant::now(), asker.used()?);
    let times = fleet.times(start);
    Ok(Cell {
        sidecars,
        first_round: from - start,
        window: to - from,
        questions: times.iter().flatten().filter(|at| (from..to).contains(*at)).count(),
        pauses: times.iter().flat_map(|times| pauses(times, from, to)).collect(),
        used: after.since(before),
        known: asker.said(),
        plain: None,
    })
}

// === impl Report ===

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}; an answer has {} bytes and its head", self.machine, self.answer)?;
        self.cells.iter().try_for_each(|cell| write!(f, "\n{cell}"))
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let manner = if self.plain.is_some() { "that answer" } else { "that don't answer" };
        let seconds = self.window.as_secs_f64();
        let questions = f64::from(u32::try_from(self.questions).unwrap_or(u32::MAX)).max(1.0);
        let Usage { user, system, resident, peak } = self.used;
        let each = |time: Duration| time.as_secs_f64() * 1000.0 / questions;
        let at = |thousandth| self.pauses.at(thousandth).as_secs_f64();
        writeln!(f, "{} sidecars {manner}, {seconds:.0} s", self.sidecars)?;
        writeln!(f, "  all asked once after        {:.1} s", self.first_round.as_secs_f64())?;
        writeln!(f, "  questions a second          {:.1}", questions / seconds)?;
        writeln!(
            f,
            "  between two of a sidecar    p50 {:.1} s, p99 {:.1} s, at most {:.1} s",
            at(500),
            at(990),
            at(1000)
        )?;
        writeln!(
            f,
            "  processor                   {:.1} % of a core; a question {:.2} ms ({:.2} user, {:.2} system)",
            (user + system).as_secs_f64() * 100.0 / seconds,
            each(user + system),
            each(user),
            each(system)
        )?;
        if let Some(plain) = self.plain {
            writeln!(
                f,
                "  a plain loop's question     {:.2} ms, not optimised",
                plain.as_secs_f64() * 1000.0
            )?;
        }
        writeln!(f, "  memory                      {resident} KiB, at most {peak} KiB")?;
        writeln!(f, "  known at the end            {}", self.known)
    }
}
