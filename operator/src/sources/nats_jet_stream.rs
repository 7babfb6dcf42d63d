//! What a NATS says of the stream.

use std::collections::BTreeSet;

use freshet_connect::{
    Resolve,
    nats::{self, Found, Kept},
};

use super::{Flaw, ONE_SERVER, Reached, Unreachable};

/// Asks for the streams, of which a source has one: whether they are there, and what they keep.
pub(super) async fn ask(
    target: &nats::Target,
    streams: &BTreeSet<String>,
    names: &impl Resolve,
) -> Result<Reached, Unreachable> {
    let mut reached = Reached::default();
    for stream in streams {
        match nats::probe(target, names, stream, ONE_SERVER).await? {
            Found::Absent => reached.absent.push(stream.clone()),
            Found::There(Kept { until_consumed: true, .. }) => {
                return Err(Unreachable::Consumed(stream.clone()));
            }
            Found::There(Kept { forgetful, per_subject, .. }) => {
                if forgetful {
                    reached.flaws.push(Flaw::Forgetful(stream.clone()));
                }
                if let Some(limit) = per_subject {
                    reached.flaws.push(Flaw::FewPerSubject(stream.clone(), limit));
                }
            }
        }
    }
    Ok(reached)
}
