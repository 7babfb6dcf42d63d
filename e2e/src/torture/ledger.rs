//! What was committed when, and what an answer may therefore say. Pure: instants are given, as time since the start.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::shape::{Cache, Key};

/// Time since the run's start.
pub(crate) type Moment = Duration;

/// A subject's value; `None`: there is no such row.
pub(crate) type Value = Option<Arc<str>>;

/// Versions kept of each subject. An older one has long been overwritten, and is a violation wherever it turns up.
const KEPT: usize = 100;

/// Reads kept of each key, to be told with a violation.
const TOLD: usize = 6;

/// A committed value, or one whose commit is under way.
#[derive(Clone, Debug)]
struct Version {
    value: Value,
    /// Before the commit was sent.
    sent: Moment,
    outcome: Outcome,
    /// Whether somebody was given it.
    served: bool,
}

/// How a commit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nobody knows yet.
    Pending,
    /// It was acknowledged at this instant, or found to have happened.
    Committed(Moment),
    /// It didn't happen.
    Aborted,
}

/// All versions of a subject in commit order.
#[derive(Debug, Default)]
struct History {
    /// The number of the first one kept.
    first: u64,
    versions: VecDeque<Version>,
}

/// Commits that were announced together.
#[derive(Debug)]
#[must_use = "a commit ends somehow"]
pub(crate) struct Ticket(Vec<(Key, u64)>);

/// An answer that vouched for its value.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) sidecar: usize,
    /// Which start of the sidecar answered.
    pub(crate) instance: u64,
    pub(crate) cache: Cache,
    pub(crate) key: Key,
    pub(crate) value: Value,
    pub(crate) sent: Moment,
    pub(crate) answered: Moment,
    /// Its Cache-Status.
    pub(crate) status: String,
}

/// What must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// A value was served that nobody committed.
    NeverCommitted,
    /// A value was served that had been overwritten for longer than the bound.
    Stale,
    /// An older value was served after a newer one.
    Backwards,
    /// A value that the database doesn't have was served although all was quiet.
    Lost,
    /// Values didn't become hits although all was quiet.
    NotFilled,
    /// A sidecar wasn't fresh, or took no fills, soon enough after a fault.
    SlowRecovery,
    /// Values were dropped although nothing was lost.
    Dropped,
    /// A fault that loses entries wasn't noticed.
    Unnoticed,
    /// An answer that the contract doesn't know.
    Unexpected,
    /// Too few reads were hits.
    HitRatio,
    /// A part of the world couldn't be made to do what it has to.
    World,
    /// The database itself said something else than this ledger: the torture's own fault.
    Ledger,
}

/// A rule that was broken.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    pub(crate) at: Moment,
    pub(crate) what: String,
    pub(crate) key: Option<Key>,
    pub(crate) context: Vec<String>,
}

/// How far a sidecar has served a key.
#[derive(Debug, Default)]
struct Seen {
    instance: u64,
    /// The newest version served, at least, and when that was answered.
    floor: Option<(u64, Moment)>,
    recent: VecDeque<String>,
}

/// Everything that is known of commits and answers.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    histories: HashMap<Key, History>,
    seen: HashMap<(usize, Cache, Key), Seen>,
    /// How long ago the values of hits had been overwritten.
    pub(crate) staleness: Vec<Duration>,
}

impl Rule {
    /// Its name in reports.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NeverCommitted => "never-committed",
            Self::Stale => "stale",
            Self::Backwards => "backwards",
            Self::Lost => "lost-invalidation",
            Self::NotFilled => "not-filled",
            Self::SlowRecovery => "slow-recovery",
            Self::Dropped => "dropped-without-loss",
            Self::Unnoticed => "loss-unnoticed",
            Self::Unexpected => "unexpected-answer",
            Self::HitRatio => "hit-ratio",
            Self::World => "world",
            Self::Ledger => "ledger",
        }
    }
}

impl Violation {
    pub(crate) fn new(rule: Rule, at: Moment, what: impl Into<String>) -> Self {
        Self { rule, at, what: what.into(), key: None, context: Vec::new() }
    }
}

impl Ledger {
    /// Notes what a commit that is about to be sent will make true.
    pub(crate) fn announce(&mut self, changes: Vec<(Key, Value)>, sent: Moment) -> Ticket {
        let mut ticket = Vec::with_capacity(changes.len());
        for (key, value) in changes {
            let history = self.histories.entry(key).or_insert_with(History::absent);
            ticket.push((key, history.push(value, sent)));
        }
        Ticket(ticket)
    }

    /// Notes how a commit ended. What was served and is found not to have been committed is a violation.
    pub(crate) fn settle(&mut self, ticket: Ticket, outcome: Outcome, at: Moment) -> Vec<Violation> {
        let mut violations = Vec::new();
        for (key, number) in ticket.0 {
            let Some(history) = self.histories.get_mut(&key) else { continue };
            let Some(version) = history.get_mut(number) else { continue };
            version.outcome = outcome;
            if outcome == Outcome::Aborted && version.served {
                let what = format!("{key}: {:?} was served and its commit failed", version.value);
                let context = history.told(at);
                violations.push(Violation {
                    key: Some(key),
                    context,
                    ..Violation::new(Rule::NeverCommitted, at, what)
                });
                let of_key = self.seen.iter_mut().filter(|((_, _, other), _)| *other == key);
                of_key.for_each(|(_, seen)| seen.floor = None);
            }
        }
        violations
    }

    /// Judges an answer. With `bound`, a value may have been overwritten for that long before the request was sent.
    pub(crate) fn served(&mut self, read: &Read, bound: Option<Duration>) -> Option<Violation> {
        let history = self.histories.entry(read.key).or_insert_with(History::absent);
        let seen = self.seen.entry((read.sidecar, read.cache, read.key)).or_default();
        if seen.instance != read.instance {
            *seen = Seen { instance: read.instance, ..Seen::default() };
        }
        let violation = |rule, what: String, history: &History, seen: &Seen| {
            let what = format!(
                "{} of sidecar {}, {}: {what}; asked at {}, answered at {}: {}",
                read.cache.name(),
                read.sidecar,
                read.key,
                told(read.sent),
                told(read.answered),
                read.status
            );
            let context =
                history.told(read.answered).into_iter().chain(seen.recent.iter().cloned()).collect();
            Some(Violation { key: Some(read.key), context, ..Violation::new(rule, read.answered, what) })
        };
        let Some(newest) = history.newest(&read.value, read.answered) else {
            let what = format!("{:?} was never committed, or very long ago", read.value);
            return violation(Rule::NeverCommitted, what, history, seen);
        };
        if let Some(overwritten) = history.overwritten(newest) {
            let age = read.sent.saturating_sub(overwritten);
            if bound.is_some_and(|bound| age > bound) {
                let what = format!("{:?} had been overwritten for {}", read.value, told(age));
                return violation(Rule::Stale, what, history, seen);
            }
            if !age.is_zero() && self.staleness.len() < 1_000_000 {
                self.staleness.push(age);
            }
        }
        if let Some((floor, since)) = seen.floor
            && newest < floor
            && since < read.sent
        {
            let what =
                format!("{:?} came after a newer value had been served at {}", read.value, told(since));
            let found = violation(Rule::Backwards, what, history, seen);
            // Told once, not at every further read of the same value.
            seen.floor = Some((newest, read.answered));
            return found;
        }
        // Equal values, absences above all, may stand for several versions: the oldest is all that was surely seen.
        let oldest = history.oldest(&read.value, seen.floor.map_or(0, |(floor, _)| floor));
        if let Some(oldest) = oldest
            && seen.floor.is_none_or(|(floor, _)| oldest > floor)
        {
            seen.floor = Some((oldest, read.answered));
        }
        if seen.recent.len() == TOLD {
            seen.recent.pop_front();
        }
        seen.recent.push_back(format!(
            "sidecar {} answered {:?} at {}: {}",
            read.sidecar,
            read.value,
            told(read.answered),
            read.status
        ));
        if let Some(version) = history.get_mut(newest) {
            version.served = true;
        }
        None
    }

    /// Compares what the database itself answered. A difference is a fault of the torture.
    pub(crate) fn read(
        &mut self,
        key: Key,
        value: &Value,
        sent: Moment,
        answered: Moment,
    ) -> Option<Violation> {
        let history = self.histories.entry(key).or_insert_with(History::absent);
        let what = match history.newest(value, answered) {
            None => "was never committed".to_owned(),
            Some(newest) => {
                let overwritten = history.overwritten(newest).filter(|at| *at < sent)?;
                format!("had been overwritten for {}", told(sent.saturating_sub(overwritten)))
            }
        };
        let what = format!("{key}: the database answered {value:?}, which {what}");
        Some(Violation {
            key: Some(key),
            context: history.told(answered),
            ..Violation::new(Rule::Ledger, answered, what)
        })
    }
}

impl History {
    /// The state of what nobody has written yet.
    fn absent() -> Self {
        let mut history = Self::default();
        history.push(None, Moment::ZERO);
        history.versions[0].outcome = Outcome::Committed(Moment::ZERO);
        history
    }

    fn push(&mut self, value: Value, sent: Moment) -> u64 {
        if self.versions.len() == KEPT {
            self.versions.pop_front();
            self.first += 1;
        }
        self.versions.push_back(Version { value, sent, outcome: Outcome::Pending, served: false });
        self.first + self.versions.len() as u64 - 1
    }

    fn get_mut(&mut self, number: u64) -> Option<&mut Version> {
        self.versions.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    fn numbered(&self) -> impl DoubleEndedIterator<Item = (u64, &Version)> {
        let first = self.first;
        let versions = self.versions.iter().enumerate();
        versions.map(move |(i, v)| (first + i as u64, v)).filter(|(_, v)| v.outcome != Outcome::Aborted)
    }

    /// The newest version with this value whose commit had been sent by then.
    fn newest(&self, value: &Value, by: Moment) -> Option<u64> {
        self.numbered().rev().find(|(_, v)| v.value == *value && v.sent <= by).map(|(number, _)| number)
    }

    /// The oldest version with this value, from that number on.
    fn oldest(&self, value: &Value, from: u64) -> Option<u64> {
        self.numbered().find(|(number, v)| *number >= from && v.value == *value).map(|(number, _)| number)
    }

    /// When it was known at the latest that a version was no longer the current one.
    fn overwritten(&self, number: u64) -> Option<Moment> {
        let later = self.numbered().filter(|(other, _)| *other > number);
        later
            .filter_map(|(_, version)| match version.outcome {
                Outcome::Committed(at) => Some(at),
                _ => None,
            })
            .min()
    }

    fn told(&self, at: Moment) -> Vec<String> {
        let from = self.versions.len().saturating_sub(12);
        let told = |(number, v): (u64, &Version)| {
            format!("version {number}: {:?}, sent at {}, {:?}", v.value, told(v.sent), v.outcome)
        };
        let versions = self.numbered().skip(from).map(told);
        std::iter::once(format!("found at {}", self::told(at))).chain(versions).collect()
    }
}

/// A moment as it stands in reports.
pub(crate) fn told(moment: Moment) -> String {
    format!("{:.3} s", moment.as_secs_f64())
}

#[cfg(test)]
mod tests;
