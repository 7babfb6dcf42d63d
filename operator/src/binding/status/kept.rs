//! The condition `StreamsKept`: entries stay as long as the binding says, and no longer.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{Kept, Outcome, Reason, Verdict};
use crate::{retention::Became, sources::Flaw};

/// Of several faults the worst one gives the reason: what loses entries, what lets them grow, and what holds them.
/// `last` is how the condition stands.
pub(super) fn kept(outcome: &Outcome<'_>, last: Option<&Condition>) -> Verdict {
    if outcome.accepted.is_err() {
        let message = "streams are looked at once the binding is accepted";
        return Verdict { holds: None, reason: Reason::NotAccepted, message: message.into() };
    }
    let mut faults = Vec::new();
    for (source, said) in outcome.sources {
        for flaw in said.iter().flat_map(|reached| &reached.flaws) {
            let (reason, words) = told(flaw);
            faults.push((reason, format!("{source}: {words}")));
        }
    }
    for Kept { source, became, .. } in outcome.kept {
        match became {
            Some(Became::Failed(error)) => {
                faults.push((
                    Reason::NotTrimmed,
                    format!("{source}: entries older than the retention aren't removed: {error}"),
                ));
            }
            Some(Became::Held(stream, by)) => faults.push((
                Reason::Held,
                format!("{source}: nothing is removed from {stream}, because the binding {by} follows it and sets no \
                         retention, or isn't accepted: mend it there; the longest retention counts"),
            )),
            Some(Became::Waiting(_) | Became::Trimmed) | None => {}
        }
    }
    let worst = [
        Reason::NoTriggers,
        Reason::MayEvict,
        Reason::InMemory,
        Reason::Compacted,
        Reason::Divided,
        Reason::NotTrimmed,
        Reason::Held,
    ];
    let worst = worst.into_iter().find(|reason| faults.iter().any(|(other, _)| other == reason));
    if let Some(worst) = worst {
        let messages: Vec<_> = faults.into_iter().map(|(_, message)| message).collect();
        return Verdict::new(false, worst, messages.join("; "));
    }
    if outcome.sources.iter().any(|(_, said)| said.is_err()) {
        let message = "not all sources can be asked: see SourcesReachable";
        return Verdict { holds: None, reason: Reason::Unreachable, message: message.into() };
    }
    if let Some(waiting) = waiting(outcome.kept) {
        let message = format!(
            "nothing is removed from any stream, because it isn't known what these bindings want: {waiting}. The \
             operator's log says what keeps it from looking at them"
        );
        return Verdict { holds: None, reason: Reason::Waiting, message };
    }
    if outcome.kept.iter().any(Kept::is_open) {
        let message = "the streams are looked at soon".to_owned();
        let as_before = last.and_then(|last| as_before(outcome, last));
        return as_before.unwrap_or(Verdict { holds: None, reason: Reason::Waiting, message });
    }
    let messages: Vec<_> = outcome.kept.iter().map(sentence).collect();
    Verdict::new(true, Reason::Kept, messages.join("; "))
}

/// What comes of it, and what to do.
fn told(flaw: &Flaw) -> (Reason, String) {
    match flaw {
        Flaw::Evicting(policy) => (
            Reason::MayEvict,
            format!(
                "with maxmemory-policy {policy} Redis removes whole streams when its memory is full, and each time all \
                 that is cached is lost: set it to noeviction or volatile-lru"
            ),
        ),
        Flaw::Forgetful(stream) => (
            Reason::InMemory,
            format!(
                "the stream {stream} is in the memory of one server, whose next start loses it, and all that is cached \
                 with it: make it with storage file, or with replicas"
            ),
        ),
        Flaw::FewPerSubject(stream, limit) => (
            Reason::Compacted,
            format!(
                "the stream {stream} keeps {limit} messages of a subject (max_msgs_per_subject) and removes older ones \
                 from its middle: sidecars that haven't read them lose all that is cached: remove that limit; max_age \
                 and max_bytes remove from the beginning alone"
            ),
        ),
        Flaw::Compacted(topic) => (
            Reason::Compacted,
            format!(
                "the topic {topic} is compacted: what is read late, or from its beginning, lacks changes, and a \
                 truncate, which has no key, can't be written to it at all: set cleanup.policy=delete"
            ),
        ),
        Flaw::PerhapsCompacted(topic) => (
            Reason::Compacted,
            format!(
                "whether the topic {topic} is compacted can't be told, so that caches with warmStart start cold: grant \
                 DescribeConfigs on it"
            ),
        ),
        Flaw::Untold(table) => (
            Reason::NoTriggers,
            format!(
                "nothing tells of changes of {table}: it has no triggers, or isn't there, and what is cached of it lives for its \
                 ttl: run what `freshet-operator triggers` prints"
            ),
        ),
        Flaw::Divided(topic, partitions) => (
            Reason::Divided,
            format!(
                "the topic {topic} has {partitions} partitions, and nothing tells the order of what is in different \
                 ones: caches with warmStart start cold, and views over their rows aren't whole: give it one"
            ),
        ),
    }
}

/// The bindings that keep everything from being removed.
fn waiting(kept: &[Kept]) -> Option<&str> {
    kept.iter().find_map(|kept| match &kept.became {
        Some(Became::Waiting(bindings)) => Some(bindings.as_str()),
        _ => None,
    })
}

/// The verdict of a moment ago, on the same binding, which another replica may have come to: that it isn't looked at
/// again yet is no news. It doesn't last: what can't be looked at is soon known to be waiting.
fn as_before(outcome: &Outcome<'_>, last: &Condition) -> Option<Verdict> {
    let reasons = [Reason::Kept, Reason::NotTrimmed, Reason::Held];
    let reason = reasons.into_iter().find(|reason| reason.as_str() == last.reason)?;
    let (holds, message) = (Some(last.status == "True"), last.message.clone());
    (last.observed_generation == outcome.generation).then_some(Verdict { holds, reason, message })
}

fn sentence(kept: &Kept) -> String {
    match kept.retention {
        None => format!("{}: nothing is removed, since there is no retention", kept.source),
        Some(retention) => format!("{}: entries older than {} are removed", kept.source, spelled(retention)),
    }
}

// === impl Kept ===

impl Kept {
    /// Whether something is to be removed and nothing is known of it yet.
    pub(in crate::binding) fn is_open(&self) -> bool {
        self.retention.is_some() && self.became.is_none()
    }
}

/// A duration as it could be written in a binding.
fn spelled(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let parts = units.iter().map(|(unit, size)| {
        let many = rest / size;
        rest %= size;
        if many > 0 { format!("{many}{unit}") } else { String::new() }
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_spelled_as_they_are_read() {
        for text in ["24h", "90m", "7d", "1d1h1m1s1ms", "61s"] {
            let duration = freshet_crds::quantity::duration(text).unwrap();
            assert_eq!(freshet_crds::quantity::duration(&spelled(duration)), Some(duration), "{text}");
        }
        assert_eq!(spelled(Duration::from_hours(24)), "1d");
    }
}
