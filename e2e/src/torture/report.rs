//! What a run comes to, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::ledger::{Violation, told};
use super::stage::Operations;

/// Violations told in full.
const TOLD: usize = 30;

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The seed that repeats it.
    pub seed: u64,
    /// What carried the changes, by its name in a binding.
    pub transport: &'static str,
    /// How long it ran, start and end included.
    pub seconds: f64,
    /// How the databases' streams were laid out.
    pub layout: Vec<String>,
    /// What was done.
    pub operations: Operations,
    /// Hits of all reads while no fault was on.
    pub hit_ratio_outside_faults: f64,
    /// How long the values of hits had been overwritten: median, 99th percentile, worst.
    pub staleness_ms: [f64; 3],
    /// Faults by name.
    pub faults: BTreeMap<&'static str, FaultReport>,
    /// Audits made.
    pub audits: u32,
    /// Hits that audits compared with the databases.
    pub audited: usize,
    /// How often a Debezium was started again because it didn't come back by itself.
    pub debezium_revived: u32,
    /// Violations by rule.
    pub violations: BTreeMap<&'static str, u32>,
    /// The first of them.
    pub told: Vec<Told>,
}

/// One kind of fault.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FaultReport {
    /// How often it was made and seen to take effect.
    pub made: u32,
    /// From the first heartbeat after it, written by the database and read from the stream, until every sidecar was
    /// fresh and had stored a fill in each cache, in milliseconds.
    pub recovery_ms: Vec<u64>,
    /// From its healing to that heartbeat: how long databases, Debezium and the carrier took, in milliseconds.
    pub pipeline_ms: Vec<u64>,
    /// What the last one did.
    pub effect: String,
}

/// A violation as it is told.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    rule: &'static str,
    at: String,
    what: String,
    during: String,
    context: Vec<String>,
}

impl Report {
    /// Whether nothing happened that must not.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    pub(crate) fn add(&mut self, violation: Violation, during: &str) -> Option<&Told> {
        *self.violations.entry(violation.rule.as_str()).or_default() += 1;
        if self.told.len() >= TOLD {
            return None;
        }
        self.told.push(Told {
            rule: violation.rule.as_str(),
            at: told(violation.at),
            what: violation.what,
            during: during.to_owned(),
            context: violation.context,
        });
        self.told.last()
    }
}

/// The median, the value that 99 of 100 don't exceed, and the largest, in milliseconds.
pub(crate) fn spread(values: &[Duration]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let at = |percent: usize| {
        let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted.get(index).map_or(0.0, |value| (value.as_secs_f64() * 10_000.0).round() / 10.0)
    };
    [at(50), at(99), at(100)]
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let o = &self.operations;
        writeln!(
            f,
            "torture of {} with seed {}, {:.0} s, {}",
            self.transport,
            self.seed,
            self.seconds,
            self.layout.join(", ")
        )?;
        writeln!(
            f,
            "  writes   {} transactions, {} changes of rows and groups, {} failed, {} commits uncertain",
            o.transactions, o.changes, o.failed, o.uncertain
        )?;
        writeln!(
            f,
            "  reads    {} answered, {} hits, {} not vouched for, {} unanswered",
            o.reads, o.hits, o.not_vouched, o.unanswered
        )?;
        writeln!(
            f,
            "  fills    {} accepted ({} came late), {} fenced, {} of an earlier start, {} given up",
            o.fills_accepted, o.fills_late, o.fills_fenced, o.fills_refused, o.fills_given_up
        )?;
        writeln!(
            f,
            "  hits     {:.1} % outside faults; overwritten for {:.0} ms (p50), {:.0} ms (p99), {:.0} ms (worst)",
            self.hit_ratio_outside_faults * 100.0,
            self.staleness_ms[0],
            self.staleness_ms[1],
            self.staleness_ms[2]
        )?;
        writeln!(
            f,
            "  audits   {}, of {} hits; Debezium revived {} times",
            self.audits, self.audited, self.debezium_revived
        )?;
        writeln!(
            f,
            "  {:<20} {:>5}  {:>19}  {:>19}",
            "fault", "made", "pipeline p50/max ms", "recovery p50/max ms"
        )?;
        for (name, fault) in &self.faults {
            let of = |values: &[u64]| {
                let mut sorted = values.to_vec();
                sorted.sort_unstable();
                match sorted.as_slice() {
                    [] => "-".to_owned(),
                    [.., max] => format!("{}/{max}", sorted[sorted.len() / 2]),
                }
            };
            let (pipeline, recovery) = (of(&fault.pipeline_ms), of(&fault.recovery_ms));
            writeln!(f, "  {name:<20} {:>5}  {pipeline:>19}  {recovery:>19}  {}", fault.made, fault.effect)?;
        }
        if self.is_clean() {
            return writeln!(f, "no violations");
        }
        for (rule, count) in &self.violations {
            writeln!(f, "VIOLATIONS of {rule}: {count}")?;
        }
        self.told.iter().try_for_each(|told| write!(f, "{told}"))
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} at {}, {}: {}", self.rule, self.at, self.during, self.what)?;
        self.context.iter().try_for_each(|line| writeln!(f, "    {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_of_nothing_is_nothing() {
        let told = |values: &[Duration]| format!("{:?}", spread(values));
        assert_eq!(told(&[]), "[0.0, 0.0, 0.0]");
        let values: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(told(&values), "[101.0, 199.0, 200.0]");
    }
}
