//! The condition `TablesCaptured`: events of every table that caches use have been seen.

use super::{Outcome, Reason, Verdict, fresh};

/// So many tables are named.
const NAMED: usize = 10;

/// As [`fresh::fresh`]. That no event of a table came proves nothing: it may be quiet. So this is never false.
pub(super) fn captured(outcome: &Outcome<'_>) -> Option<Verdict> {
    if outcome.accepted.is_err() {
        let message = "tables are looked at once the binding is accepted";
        return Some(Verdict { holds: None, reason: Reason::NotAccepted, message: message.into() });
    }
    let unseen = &outcome.findings.unseen;
    if unseen.is_empty() && outcome.findings.answered > 0 {
        let message = "some sidecar has seen events of every table that caches use";
        return Some(Verdict::new(true, Reason::AllSeen, message));
    }
    if let Some(verdict) = fresh::nobody(outcome.tally.counts.injected, outcome.findings) {
        return Some(verdict);
    }
    if outcome.findings.is_early() {
        return None;
    }
    let mut names: Vec<_> = unseen.iter().take(NAMED).map(String::as_str).collect();
    let more = format!("{} more", unseen.len() - names.len());
    if unseen.len() > NAMED {
        names.push(&more);
    }
    let message = format!(
        "no sidecar has seen an event of {} since its start: nothing has changed there, or Debezium doesn't capture \
         it; `freshet-operator check` compares the binding with Debezium's settings and the database's publication",
        names.join(", ")
    );
    Some(Verdict { holds: None, reason: Reason::NeverSeen, message })
}
