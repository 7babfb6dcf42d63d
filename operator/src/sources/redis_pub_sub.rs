//! What a Redis says: whether the channels may be subscribed to, and whether it hears all that is published.

use std::collections::BTreeSet;

use freshet_connect::{ConnectError, Resolve, connect_hearing, refusal};

use freshet_crds::binding::UnfitUrl;

use super::{ONE_SERVER, Reached, Unreachable, redis_stream::info};

/// Subscribes to the channels, of which a source has one.
pub(super) async fn ask(
    redis: &freshet_connect::Target,
    channels: &BTreeSet<String>,
    names: &impl Resolve,
) -> Result<Reached, Unreachable> {
    let mut link = connect_hearing(redis, names, ONE_SERVER, |_| true).await?;
    for channel in channels {
        link.subscribe(channel).await.map_err(|error| ConnectError::from(refusal(&error)))?;
    }
    let replication = info(&link, "replication").await?;
    if info(&link, "cluster").await?.lines().any(|line| line.trim_end() == "cluster_enabled:1") {
        return Err(ConnectError::from(UnfitUrl::Loses).into());
    }
    let is_replica = replication.lines().any(|line| line.trim_end() == "role:slave");
    if is_replica { Err(Unreachable::Replica) } else { Ok(Reached::default()) }
}
