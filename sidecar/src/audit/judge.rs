//! What an observation means.

use std::time::Duration;

use super::Outcome;
use crate::{clock::Tick, coherence::Seq, entry::Entry};

/// Without a heartbeat that comes through the database's log nothing proves that a change has been delivered: this is
/// how long it may take.
pub const UNPROVEN: Duration = Duration::from_secs(10);

/// How often an answer may differ from what is cached, and from the answer before, until that is no chance.
const ROUNDS: u8 = 5;

/// What a value says, as far as it takes to compare it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// These bytes.
    Value(u128),
    /// That there is no such row.
    Absent,
}

/// What the stream says of a row's hydrated value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No change of it was seen.
    Unknown,
    /// None may be there: the row was deleted, its image isn't fit, or all of the cache was void.
    Nothing,
    /// It is this image.
    Image(u128),
}

/// A cached value, told apart from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// What it says.
    pub content: Content,
    /// Whether it came from a change's image.
    pub hydrated: bool,
    seq: Seq,
    stored: Tick,
}

/// What would be served for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing is vouched for.
    Unvouched,
    /// Nothing is cached.
    Nothing,
    /// This.
    Value(Sighting),
}

/// A difference between what is cached and what the application answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspicion {
    sighting: Sighting,
    answer: Content,
    /// When that was answered.
    answered: Tick,
    /// When the value was first seen to differ.
    since: Tick,
    rounds: u8,
}

/// What is known of changes' delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The instant through which the database's log has been applied, by a heartbeat that came through it.
    pub applied_through: Option<Tick>,
    /// Whether such heartbeats are declared.
    pub proven: bool,
    /// How far clocks may differ.
    pub clock_skew: Duration,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: this came out.
    Done(Outcome),
    /// Look again later.
    PutOff(Option<Suspicion>),
    /// Ask the application about this.
    Ask(Sighting),
    /// Nothing more, but the value is wrong and has to go.
    Drop(Sighting),
}

impl Sighting {
    /// Of an entry.
    #[must_use]
    pub fn of(entry: &Entry) -> Self {
        let content = if entry.absent { Content::Absent } else { Content::Value(entry.digest()) };
        Self { content, hydrated: entry.hydrated, seq: entry.seq, stored: entry.stored }
    }
}

impl Delivery {
    /// Whether every change has been applied that a reader can have seen by `at`.
    fn covers(&self, at: Tick, now: Tick) -> bool {
        if !self.proven {
            return now.since(at) >= UNPROVEN;
        }
        // A heartbeat's instant is the database's, whose clock may be ahead.
        self.applied_through.is_some_and(|through| through >= at + self.clock_skew)
    }
}

/// Judges what is seen for a key. `asks`: whether the application can be asked.
#[must_use]
pub fn seen(
    seen: Seen,
    expected: Expected,
    suspicion: Option<Suspicion>,
    asks: bool,
    delivery: &Delivery,
    now: Tick,
) -> Step {
    let sighting = match seen {
        Seen::Unvouched => return Step::Done(Outcome::Unvouched),
        Seen::Value(sighting) if suspicion.is_none_or(|s| s.sighting == sighting) => sighting,
        Seen::Value(_) | Seen::Nothing => {
            let late = |s: Suspicion| Outcome::Late(now.since(s.since));
            return Step::Done(suspicion.map_or(Outcome::Absent, late));
        }
    };
    match (sighting.hydrated, expected, suspicion) {
        (true, Expected::Unknown, _) => Step::Done(Outcome::Unknown),
        (true, Expected::Image(image), _) if sighting.content == Content::Value(image) => {
            Step::Done(Outcome::Consistent)
        }
        (true, ..) => Step::Drop(sighting),
        (false, ..) if !asks => Step::Done(Outcome::Unknown),
        (false, _, Some(s)) if !delivery.covers(s.answered, now) => Step::PutOff(Some(s)),
        (false, ..) => Step::Ask(sighting),
    }
}

/// Judges the application's answer about a sighting; `None`: it didn't give any.
#[must_use]
pub fn answered(
    sighting: Sighting,
    answer: Option<Content>,
    suspicion: Option<Suspicion>,
    now: Tick,
) -> Step {
    let Some(answer) = answer else { return Step::Done(Outcome::Failed) };
    if answer == sighting.content {
        return Step::Done(Outcome::Consistent);
    }
    match suspicion {
        // The last answer has been delivered, and was about this very value: the same one again is no change that is
        // on its way, and so many different ones aren't either.
        Some(s) if s.answer == answer || s.rounds >= ROUNDS => Step::Drop(sighting),
        Some(s) => Step::PutOff(Some(Suspicion { answer, answered: now, rounds: s.rounds + 1, ..s })),
        None => Step::PutOff(Some(Suspicion { sighting, answer, answered: now, since: now, rounds: 1 })),
    }
}
