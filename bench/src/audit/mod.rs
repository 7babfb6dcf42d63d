//! What an audit costs: changes applied and values filled through the sidecar's engine, with and without one.
//!
//! The engines take turns, and what is told are ratios within a turn: what else the machine does falls on all of them.

mod recorded;
mod subject;

use std::fmt;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::Machine;
use recorded::Recorded;
use subject::{Round, Subject};

/// Rounds before those that count.
const WARM_UP: usize = 20;

/// Changes of a round, and fills.
const EVENTS: u64 = 1000;

/// The engines: the peer first, and once more, for what noise alone makes of the ratio.
const SUBJECTS: [(&str, Option<&str>); 5] = [
    ("none", None),
    ("none, again", None),
    ("0.001%", Some("0.001%")),
    ("1%", Some("1%")),
    ("100%", Some("100%")),
];

/// What was measured.
#[derive(Clone, Debug)]
pub struct Report {
    machine: Machine,
    subjects: Vec<Measured>,
}

#[derive(Clone, Debug)]
struct Measured {
    name: &'static str,
    rounds: Vec<Round>,
    outcomes: Vec<(&'static str, u64)>,
}

/// Measures so many rounds of each.
pub fn run(rounds: usize) -> Result<Report> {
    ensure!(rounds > 0, "the number of rounds is to be more than zero");
    measure(WARM_UP, rounds)
}

fn measure(warm_up: usize, rounds: usize) -> Result<Report> {
    let machine = Machine::now();
    let recorded = Recorded::load()?;
    let mut subjects = Vec::new();
    for (name, sample) in SUBJECTS {
        let audit = sample.map_or_else(String::new, |sample| {
            format!(", audit: {{sample: {sample}, check: {{url: 'http://127.0.0.1:8080/freshet/check'}}}}")
        });
        let measured = Measured { name, rounds: Vec::new(), outcomes: Vec::new() };
        subjects.push((Subject::new(&audit, &recorded)?, measured));
    }
    for round in 0..warm_up + rounds {
        // Whoever is first finds the processor's caches as the last one of the turn before left them.
        for turn in 0..SUBJECTS.len() {
            let (subject, measured) = &mut subjects[(round + turn) % SUBJECTS.len()];
            let took = subject.round(&recorded, EVENTS)?;
            if round >= warm_up {
                measured.rounds.push(took);
            }
        }
    }
    let finish =
        |(subject, measured): (Subject, Measured)| Ok(Measured { outcomes: subject.outcomes()?, ..measured });
    Ok(Report { machine, subjects: subjects.into_iter().map(finish).collect::<Result<_>>()? })
}

/// The value that so many of a hundred don't exceed.
fn percentile(mut values: Vec<f64>, hundredth: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get(last * hundredth / 100).copied().unwrap_or(f64::NAN)
}

// === impl Report ===

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = &self.subjects[0];
        let rounds = peer.rounds.len();
        writeln!(f, "{rounds} rounds of {EVENTS} changes and as many fills; {}", self.machine)?;
        writeln!(
            f,
            "processor time, 10th percentile and median; median of the ratios to no audit in the same round\n"
        )?;
        writeln!(f, "{:12} {:>24} {:>24} {:>10}", "sample", "ns a change", "ns a fill", "ns a look")?;
        for subject in &self.subjects {
            let column = |part: fn(&Round) -> Duration| {
                let of =
                    |m: &Measured| m.rounds.iter().map(|round| part(round).as_secs_f64()).collect::<Vec<_>>();
                let (own, peers) = (of(subject), of(peer));
                let ratios = own.iter().zip(&peers).map(|(own, peer)| own / peer).collect();
                let each = 1e9 / f64::from(u32::try_from(EVENTS).unwrap_or(u32::MAX));
                let (quiet, usual) = (percentile(own.clone(), 10) * each, percentile(own, 50) * each);
                format!("{quiet:7.0} {usual:7.0}  {:6.3}", percentile(ratios, 50))
            };
            let looked: u32 = subject.rounds.iter().map(|round| round.looked).sum();
            let looks: Duration = subject.rounds.iter().map(|round| round.looks).sum();
            // Of fewer than one a round it would be the time in which nothing was due.
            let looked = if looked as usize > rounds { looked } else { 0 };
            let look =
                looks.checked_div(looked).map_or_else(|| "–".to_owned(), |look| look.as_nanos().to_string());
            let (changes, fills) = (column(|round| round.changes), column(|round| round.fills));
            writeln!(f, "{:12} {changes:>24} {fills:>24} {look:>10}", subject.name)?;
        }
        for subject in &self.subjects {
            let found: Vec<_> = subject.outcomes.iter().filter(|(_, n)| *n > 0).collect();
            if !found.is_empty() {
                let found: Vec<_> = found.iter().map(|(name, n)| format!("{n} {name}")).collect();
                writeln!(f, "\n{}: {}", subject.name, found.join(", "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_is_done_and_what_is_audited_is_right() {
        let report = measure(0, 8).unwrap();
        let of = |name: &str| report.subjects.iter().find(|subject| subject.name == name).unwrap();
        let none = &of("none").outcomes;
        assert!(none.iter().all(|(_, n)| *n == 0), "{none:?}");
        let all = &of("100%").outcomes;
        let n = |outcome: &str| all.iter().find(|(name, _)| *name == outcome).unwrap().1;
        assert!(n("consistent") > 500 && n("inconsistent") == 0, "{all:?}");
        let shown = report.to_string();
        assert!(shown.lines().any(|line| line.starts_with("1% ")), "{shown}");
    }

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let values: Vec<_> = (0..=10).rev().map(f64::from).collect();
        assert!((percentile(values.clone(), 50) - 5.0).abs() < 1e-9);
        assert!((percentile(values, 90) - 9.0).abs() < 1e-9);
    }
}
