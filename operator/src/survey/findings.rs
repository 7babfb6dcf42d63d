//! What the sidecars of one binding say, summed up. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Standing,
    ask::NoAnswer,
    report::{Report, State, Unseen},
};

/// So many pods are named; of the others there is a count.
const NAMED: usize = 3;

/// The tables that each cache of a binding uses.
pub type Tables = BTreeMap<String, BTreeSet<String>>;

/// The sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Sidecars that have started.
    pub started: u32,
    /// Of those, the ones that haven't been asked yet.
    pub waiting: u32,
    /// Those that answer.
    pub answered: u32,
    /// Of those, the ones that have only just started and don't vouch for everything yet.
    pub new: u32,
    /// Those that don't answer, with the reason.
    pub silent: BTreeMap<NoAnswer, Few>,
    /// Those that can't vouch for everything, new ones aside; the worst last.
    pub troubled: BTreeMap<Trouble, Few>,
    /// The tables of the binding's caches of which no sidecar has seen an event.
    pub unseen: BTreeSet<String>,
    /// How far what a sidecar has applied lies behind what is written, at most: of the first source and pod by name among
    /// equals.
    pub worst_lag: Option<Lag>,
    /// Reads that were answered from the caches.
    pub hits: u64,
    /// All reads.
    pub reads: u64,
    /// Values held.
    pub entries: u64,
    /// Bytes held.
    pub bytes: u64,
}

/// What keeps a sidecar from vouching for its values, the worst last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// A source isn't fresh.
    Source(State, String),
    /// It has no binding.
    NoBinding,
}

/// Some pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Few {
    /// How many.
    pub count: u32,
    names: Vec<String>,
}

/// How far a sidecar is behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Rounded; see [`Findings::of`]. 0 when it has caught up.
    pub milliseconds: u64,
    /// Of this source.
    pub source: String,
    /// In this pod.
    pub pod: String,
}

// === impl Findings ===

impl Findings {
    /// Sums up how the sidecars of these pods stand, in the order of their names. `rounded` makes lags of about the
    /// same length equal, so that it isn't another pod's each time.
    #[must_use]
    pub fn of<'s>(
        pods: impl Iterator<Item = (&'s str, Standing<'s>)>,
        tables: &Tables,
        rounded: impl Fn(u64) -> u64,
    ) -> Self {
        let mut sum = Self::default();
        let mut seen = BTreeSet::new();
        for (pod, standing) in pods {
            sum.started += 1;
            let report = match standing {
                Standing::Waiting => {
                    sum.waiting += 1;
                    continue;
                }
                Standing::Silent(why) => {
                    sum.silent.entry(why).or_default().add(pod);
                    continue;
                }
                Standing::New(report) => {
                    sum.new += 1;
                    report
                }
                Standing::Says(report) => {
                    sum.trouble(pod, report);
                    report
                }
            };
            sum.answered += 1;
            sum.numbers(pod, report, &rounded);
            seen.extend(tables.iter().flat_map(|(cache, tables)| {
                tables.iter().map(String::as_str).filter(|table| has_seen(report, cache, table))
            }));
        }
        let wanted = tables.values().flatten().map(String::as_str);
        sum.unseen = wanted.filter(|table| !seen.contains(table)).map(str::to_owned).collect();
        sum
    }

    /// Whether too few have been asked to say anything: most of them have yet to be.
    #[must_use]
    pub fn is_early(&self) -> bool {
        self.waiting * 2 > self.started
    }

    /// How many don't answer.
    #[must_use]
    pub fn silent(&self) -> u32 {
        self.silent.values().map(|few| few.count).sum()
    }

    /// How many can't vouch for everything.
    #[must_use]
    pub fn troubled(&self) -> u32 {
        self.troubled.values().map(|few| few.count).sum()
    }

    fn trouble(&mut self, pod: &str, report: &Report) {
        let trouble = match report.worst() {
            Some((state, source)) => Trouble::Source(state, source.to_owned()),
            None if !report.has_binding() => Trouble::NoBinding,
            None => return,
        };
        self.troubled.entry(trouble).or_default().add(pod);
    }

    fn numbers(&mut self, pod: &str, report: &Report, rounded: impl Fn(u64) -> u64) {
        for (total, more) in [
            (&mut self.hits, report.hits),
            (&mut self.reads, report.reads),
            (&mut self.entries, report.entries),
            (&mut self.bytes, report.bytes),
        ] {
            *total = total.saturating_add(more);
        }
        for (source, said) in &report.sources {
            let milliseconds = rounded(said.lag_ms);
            let place = (source.as_str(), pod);
            let longer = self.worst_lag.as_ref().is_none_or(|worst| {
                let other = (worst.source.as_str(), worst.pod.as_str());
                milliseconds > worst.milliseconds || (milliseconds == worst.milliseconds && place < other)
            });
            if longer {
                self.worst_lag = Some(Lag { milliseconds, source: source.clone(), pod: pod.to_owned() });
            }
        }
    }
}

fn has_seen(report: &Report, cache: &str, table: &str) -> bool {
    match report.caches.get(cache) {
        Some(Unseen::These(unseen)) => !unseen.contains(table),
        Some(Unseen::Some) | None => false,
    }
}

// === impl Few ===

impl Few {
    fn add(&mut self, pod: &str) {
        self.count += 1;
        if self.names.len() < NAMED {
            self.names.push(pod.to_owned());
        }
    }
}

impl std::fmt::Display for Few {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.names.join(", "))?;
        match self.count as usize - self.names.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
