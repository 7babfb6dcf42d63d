//! The condition `StreamsKept`: entries stay as long as the binding says, and no longer.

use std::time::Duration;

use super::{Kept, Outcome, Reason, Verdict};
use crate::retention::Became;

/// Of several faults the worst one gives the reason: what loses entries, what lets them grow, and what holds them.
pub(super) fn kept(outcome: &Outcome<'_>) -> Verdict {
    if outcome.accepted.is_err() {
        let message = "streams are looked at once the binding is accepted";
        return Verdict { holds: None, reason: Reason::NotAccepted, message: message.into() };
    }
    let mut faults = Vec::new();
    for (source, said) in outcome.sources {
        if let Some(policy) = said.as_ref().ok().and_then(|reached| reached.evicting.as_ref()) {
            faults.push((
                Reason::MayEvict,
                format!(
                    "{source}: with maxmemory-policy {policy} Redis removes whole streams when its memory is full, and \
                     each time all that is cached is lost: set it to noeviction or volatile-lru"
                ),
            ));
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
                format!("{source}: nothing is removed from {stream}, because the binding {by} follows it without a \
                         retention: set one there, too; the longest counts"),
            )),
            Some(Became::Trimmed) | None => {}
        }
    }
    let worst = [Reason::MayEvict, Reason::NotTrimmed, Reason::Held]
        .into_iter()
        .find(|reason| faults.iter().any(|(other, _)| other == reason));
    if let Some(worst) = worst {
        let messages: Vec<_> = faults.into_iter().map(|(_, message)| message).collect();
        return Verdict::new(false, worst, messages.join("; "));
    }
    if outcome.sources.iter().any(|(_, said)| said.is_err()) {
        let message = "not all sources can be asked: see SourcesReachable";
        return Verdict { holds: None, reason: Reason::Unreachable, message: message.into() };
    }
    let messages: Vec<_> = outcome.kept.iter().map(sentence).collect();
    Verdict::new(true, Reason::Kept, messages.join("; "))
}

fn sentence(kept: &Kept) -> String {
    let Kept { source, retention, became } = kept;
    match (retention, became) {
        (None, _) => format!("{source}: nothing is removed, since there is no retention"),
        (Some(retention), Some(_)) => {
            format!("{source}: entries older than {} are removed", spelled(*retention))
        }
        (Some(retention), None) => {
            format!("{source}: entries older than {} will be removed", spelled(*retention))
        }
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
