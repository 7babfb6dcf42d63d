//! Step 6: say how it stands. Pure: conditions from what was found, and whether they are worth a write.

use std::time::Duration;

use freshet_crds::CacheBindingStatus;
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use super::validate::Rejected;
use crate::{
    fleet::Tally,
    retention::Became,
    sources::{Reached, Unreachable},
    survey::Findings,
};

mod captured;
mod fresh;
mod injected;
mod kept;
mod numbers;
mod reason;
mod sources;

pub use numbers::lag;
pub use reason::Reason;

/// The least time between two writes, but for what people and programs wait for: see [`write()`].
pub const PACE: Duration = Duration::from_secs(30);
/// Longest message that the API server takes.
const MESSAGE: usize = 32 * 1024;

/// The conditions, in the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionType {
    /// The binding is sound and rendered.
    Accepted,
    /// The operator reached all sources.
    SourcesReachable,
    /// Entries stay in the streams as long as the binding says, and no longer.
    StreamsKept,
    /// Events of every table that caches use have been seen.
    TablesCaptured,
    /// All pods that ask for it have a sidecar.
    Injected,
    /// The sidecars vouch for what they serve.
    Fresh,
    /// The sum of `Accepted`, `SourcesReachable` and `Injected`.
    Ready,
}

/// One condition without its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// True, false, or not known.
    pub holds: Option<bool>,
    /// Why.
    pub reason: Reason,
    /// The same in a sentence.
    pub message: String,
}

/// What became of one source's retention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The source.
    pub source: String,
    /// How old entries get.
    pub retention: Option<Duration>,
    /// What became of it; `None`: nothing yet.
    pub became: Option<Became>,
}

/// What the steps before have found.
pub struct Outcome<'o> {
    /// The generation they worked on.
    pub generation: Option<i64>,
    /// Whether the binding was rendered.
    pub accepted: Result<(), &'o Rejected>,
    /// What each source said; empty if none was asked.
    pub sources: &'o [(String, Result<Reached, Unreachable>)],
    /// What became of each source's retention; empty if the binding isn't accepted.
    pub kept: &'o [Kept],
    /// The pods.
    pub tally: &'o Tally,
    /// What their sidecars say.
    pub findings: &'o Findings,
}

/// What to do with a new status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Write it.
    Now,
    /// Nothing of it is urgent, and the last write was so recently that it has to wait for so long.
    Later(Duration),
    /// It says what the last one said.
    Never,
}

/// The status that follows from the outcome. Conditions that stay as they are keep their time.
#[must_use]
pub fn status(
    outcome: &Outcome<'_>,
    before: Option<&CacheBindingStatus>,
    now: Timestamp,
) -> CacheBindingStatus {
    let accepted = accepted(outcome);
    let sources = sources::sources(outcome);
    let last = |kind: ConditionType| {
        before.and_then(|status| status.conditions.iter().find(|c| c.type_ == kind.as_str()))
    };
    let kept = kept::kept(outcome, last(ConditionType::StreamsKept));
    let injected = injected::injected(outcome.tally);
    let ready = ready(&accepted, &sources, &injected);
    let captured = captured::captured(outcome);
    let fresh = fresh::fresh(outcome.tally.counts.injected, outcome.findings);
    let verdicts = [
        (ConditionType::Accepted, Some(accepted)),
        (ConditionType::SourcesReachable, Some(sources)),
        (ConditionType::StreamsKept, Some(kept)),
        (ConditionType::TablesCaptured, captured),
        (ConditionType::Injected, Some(injected)),
        (ConditionType::Fresh, fresh),
        (ConditionType::Ready, Some(ready)),
    ];
    let conditions = verdicts.into_iter().map(|(kind, verdict)| {
        let last = last(kind);
        let verdict = match (verdict, last) {
            (Some(verdict), _) => verdict,
            // It stays as it was.
            (None, Some(last)) => {
                return Condition { observed_generation: outcome.generation, ..last.clone() };
            }
            (None, None) => Verdict {
                holds: None,
                reason: Reason::Asking,
                message: "the sidecars are being asked".into(),
            },
        };
        let status = verdict.status();
        let since = last.filter(|last| last.status == status).map(|last| last.last_transition_time.clone());
        Condition {
            type_: kind.as_str().into(),
            status: status.into(),
            reason: verdict.reason.as_str().into(),
            message: shortened(verdict.message),
            observed_generation: outcome.generation,
            // Whole seconds, as the API server keeps them: otherwise every comparison would find a difference.
            last_transition_time: since.unwrap_or_else(|| Time(whole_second(now))),
        }
    });
    let mut status = CacheBindingStatus {
        observed_generation: outcome.generation,
        conditions: conditions.collect(),
        pods: Some(outcome.tally.counts),
        ..CacheBindingStatus::default()
    };
    numbers::add(&mut status, outcome.findings, before);
    status
}

/// Whether to write `after` over `before`, of which the last write was so long ago. At once goes the answer to a new
/// generation, what breaks, and what was broken in the binding or its sources, or made its sidecars' values not fresh.
/// The rest may change with every pod: a Job's come and go all the time, and some can't be injected.
#[must_use]
pub fn write(
    before: Option<&CacheBindingStatus>,
    after: &CacheBindingStatus,
    age: Option<Duration>,
) -> Write {
    let Some(before) = before else { return Write::Now };
    if before == after {
        return Write::Never;
    }
    if before.observed_generation != after.observed_generation || is_urgent(before, after) {
        return Write::Now;
    }
    match age.and_then(|age| PACE.checked_sub(age)) {
        Some(rest) if !rest.is_zero() => Write::Later(rest),
        _ => Write::Now,
    }
}

fn is_urgent(before: &CacheBindingStatus, after: &CacheBindingStatus) -> bool {
    let is_false = |status: &CacheBindingStatus, kind: ConditionType| {
        status.conditions.iter().any(|c| c.type_ == kind.as_str() && c.status == "False")
    };
    let turns = |kind| is_false(before, kind) != is_false(after, kind);
    let breaks = |kind| !is_false(before, kind) && is_false(after, kind);
    turns(ConditionType::Accepted)
        || turns(ConditionType::SourcesReachable)
        || turns(ConditionType::StreamsKept)
        || turns(ConditionType::Fresh)
        || breaks(ConditionType::Ready)
}

/// The conditions of `after` that have another status or reason than in `before`.
pub fn turned<'c>(
    before: &'c CacheBindingStatus,
    after: &'c CacheBindingStatus,
) -> impl Iterator<Item = &'c Condition> {
    after.conditions.iter().filter(|now| {
        let last = before.conditions.iter().find(|last| last.type_ == now.type_);
        last.is_none_or(|last| (&last.status, &last.reason) != (&now.status, &now.reason))
    })
}

fn accepted(outcome: &Outcome<'_>) -> Verdict {
    match outcome.accepted {
        Ok(()) => Verdict::new(true, Reason::Rendered, "the sidecars' configuration is rendered"),
        Err(rejected) => {
            let reason = match rejected {
                Rejected::Unreadable(_) => Reason::Unreadable,
                Rejected::Invalid(_) => Reason::Invalid,
                Rejected::ConfigMapTaken(_) => Reason::ConfigMapTaken,
                Rejected::RenderFailed(_) => Reason::RenderFailed,
            };
            let note = "sidecars keep to what was rendered last";
            Verdict::new(false, reason, format!("{rejected}; {note}"))
        }
    }
}

/// Accepted, sources reachable, and no injection missed. A binding without pods is ready.
fn ready(accepted: &Verdict, sources: &Verdict, injected: &Verdict) -> Verdict {
    let wrong = [accepted, sources].into_iter().find(|v| v.holds != Some(true));
    let wrong = wrong.or((injected.holds == Some(false)).then_some(injected));
    if let Some(wrong) = wrong {
        return Verdict { holds: Some(false), ..wrong.clone() };
    }
    if injected.reason == Reason::NoPods {
        return Verdict::new(
            true,
            Reason::NoPods,
            "everything is in place; no pod asks for this binding yet",
        );
    }
    Verdict::new(true, Reason::Serving, "everything is in place")
}

fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn shortened(mut text: String) -> String {
    if text.len() > MESSAGE {
        text.truncate(text.floor_char_boundary(MESSAGE));
    }
    text
}

// === impl Verdict ===

impl Verdict {
    fn new(holds: bool, reason: Reason, message: impl Into<String>) -> Self {
        Self { holds: Some(holds), reason, message: message.into() }
    }

    fn status(&self) -> &'static str {
        match self.holds {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        }
    }
}

// === impl ConditionType ===

impl ConditionType {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::SourcesReachable => "SourcesReachable",
            Self::StreamsKept => "StreamsKept",
            Self::TablesCaptured => "TablesCaptured",
            Self::Injected => "Injected",
            Self::Fresh => "Fresh",
            Self::Ready => "Ready",
        }
    }
}

#[cfg(test)]
mod tests;
