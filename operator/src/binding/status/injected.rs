//! The condition `Injected`: all pods that ask for the binding have a sidecar.

use freshet_crds::PodCounts;

use super::{Reason, Verdict};
use crate::fleet::Tally;

pub(super) fn injected(tally: &Tally) -> Verdict {
    let PodCounts { matched, missing, outdated, .. } = tally.counts;
    if matched == 0 {
        return Verdict {
            holds: None,
            reason: Reason::NoPods,
            message: "no pod asks for this binding".into(),
        };
    }
    if missing > 0 {
        let message = format!(
            "{missing} of {matched} pods that ask for this binding have no sidecar. Where something about a pod stood \
             against it, an Event of its owner, or of the pod, said so when it was made; pods that were made before \
             the binding, or while injection was switched off, get one when they are made anew"
        );
        return Verdict::new(false, Reason::MissedInjection, message);
    }
    if outdated > 0 {
        let fields: Vec<_> = tally.fields.iter().map(ToString::to_string).collect();
        let message = format!(
            "{outdated} of {matched} pods have a sidecar that differs from what would be injected now ({}): it \
             changes when they are made anew",
            fields.join(", ")
        );
        return Verdict::new(true, Reason::Outdated, message);
    }
    Verdict::new(true, Reason::AllInjected, "every pod that asks for this binding has its sidecar")
}
