//! What a NATS says: whether the subjects may be subscribed to.

use std::collections::BTreeSet;

use freshet_connect::{Resolve, nats};

use super::{ONE_SERVER, Reached, Unreachable};

/// Listens to the subjects, of which a source has one, as sidecars do.
pub(super) async fn ask(
    target: &nats::Target,
    subjects: &BTreeSet<String>,
    names: &impl Resolve,
) -> Result<Reached, Unreachable> {
    for subject in subjects {
        nats::probe_subject(target, names, subject, ONE_SERVER).await?;
    }
    Ok(Reached::default())
}
