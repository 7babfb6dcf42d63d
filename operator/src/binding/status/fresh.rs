//! The condition `Fresh`: the sidecars vouch for what they serve.

use super::{Reason, Verdict};
use crate::survey::{Findings, State, Trouble};

/// What follows from what the sidecars say; `None`: that is to stay which was said before, because hardly any of them
/// has been asked yet.
pub(super) fn fresh(injected: u32, findings: &Findings) -> Option<Verdict> {
    let Findings { started, answered, new, .. } = findings;
    let unknown = |reason, message: String| Some(Verdict { holds: None, reason, message });
    if let Some((worst, _)) = findings.troubled.last_key_value() {
        let troubles = findings.troubled.iter().rev().map(|(trouble, pods)| {
            format!("{} in {} of {started} sidecars ({pods}): {}", what(trouble), pods.count, advice(trouble))
        });
        let message = troubles.chain(silence(findings)).collect::<Vec<_>>().join("; ");
        return Some(Verdict::new(false, reason(worst), message));
    }
    if let Some(verdict) = nobody(injected, findings) {
        return Some(verdict);
    }
    if findings.is_early() {
        return None;
    }
    if new == answered {
        return unknown(
            Reason::Starting,
            format!("all sidecars that answer ({answered} of {started}) have only just started"),
        );
    }
    let sure = format!("{} of {started} sidecars vouch for their values", answered - new);
    let starting = (*new > 0).then(|| format!("{new} can't yet, having only just started"));
    let silence = silence(findings);
    let reason = if silence.is_some() { Reason::SomeUnanswered } else { Reason::AllFresh };
    let message = [sure].into_iter().chain(starting).chain(silence).collect::<Vec<_>>().join("; ");
    Some(Verdict::new(true, reason, message))
}

/// What is said where no sidecar says anything.
pub(super) fn nobody(injected: u32, findings: &Findings) -> Option<Verdict> {
    let unknown = |reason, message: String| Some(Verdict { holds: None, reason, message });
    if injected == 0 {
        return unknown(Reason::NoPods, "no pod has a sidecar of this binding".into());
    }
    if findings.started == 0 {
        return unknown(Reason::Starting, format!("none of {injected} sidecars has started yet"));
    }
    if findings.answered == 0 && !findings.is_early() {
        return unknown(Reason::NoneAnswered, silence(findings).unwrap_or_default());
    }
    None
}

/// Who doesn't answer, and what can be done about it.
fn silence(findings: &Findings) -> Option<String> {
    let silent = findings.silent();
    let who = findings.silent.iter().map(|(why, pods)| format!("{why} from {pods}")).collect::<Vec<_>>();
    (silent > 0).then(|| {
        format!(
            "{silent} of {} sidecars don't answer the operator ({}): does a NetworkPolicy keep its namespace from \
             their port freshet-admin?",
            findings.started,
            who.join(", ")
        )
    })
}

fn what(trouble: &Trouble) -> String {
    match trouble {
        Trouble::NoBinding => "no binding".into(),
        Trouble::Source(State::Fresh | State::Other, source) => format!("source {source} isn't fresh"),
        Trouble::Source(State::Starting, source) => format!("source {source} is Starting"),
        Trouble::Source(State::Lagging, source) => format!("source {source} is Lagging"),
        Trouble::Source(State::Gapped, source) => format!("source {source} is Gapped"),
        Trouble::Source(State::Disconnected, source) => format!("source {source} is Disconnected"),
    }
}

fn advice(trouble: &Trouble) -> &'static str {
    match trouble {
        Trouble::NoBinding => "the ConfigMap isn't mounted or can't be read; /status of the pod says more",
        Trouble::Source(State::Fresh | State::Other, _) => "/status of the pod says more",
        Trouble::Source(State::Starting, _) => {
            "no heartbeat has come since they connected; does Debezium write the declared ones?"
        }
        Trouble::Source(State::Lagging, _) => {
            "changes or heartbeats come too late; look at Debezium, and at the load of the source's server and of the pods"
        }
        Trouble::Source(State::Gapped, _) => {
            "changes may have been missed, and the source can't be followed anew yet; is its server there, and no replica?"
        }
        Trouble::Source(State::Disconnected, _) => {
            "no connection to its server; check that, and network policies from the pods' namespace; /status of a pod says why"
        }
    }
}

fn reason(trouble: &Trouble) -> Reason {
    match trouble {
        Trouble::NoBinding => Reason::NoBinding,
        Trouble::Source(State::Fresh | State::Other, _) => Reason::NotFresh,
        Trouble::Source(State::Starting, _) => Reason::Starting,
        Trouble::Source(State::Lagging, _) => Reason::Lagging,
        Trouble::Source(State::Gapped, _) => Reason::Gapped,
        Trouble::Source(State::Disconnected, _) => Reason::Disconnected,
    }
}
