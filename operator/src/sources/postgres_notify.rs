//! Whether a PostgreSQL can be listened to, and tells of its tables.

use freshet_connect::{Resolve, postgres};

use super::{Flaw, ONE_SERVER, Reached, Target, Unreachable};

/// Listens to the channels, of which a source has one. A channel is there for whoever listens.
pub(super) async fn ask(
    postgres: &postgres::Target,
    target: &Target,
    names: &impl Resolve,
) -> Result<Reached, Unreachable> {
    let mut reached = Reached::default();
    for channel in &target.streams {
        let tables = target.tables.iter().map(String::as_str);
        let untold = postgres::probe(postgres, names, channel, tables, ONE_SERVER).await?;
        reached.flaws.extend(untold.into_iter().map(Flaw::Untold));
    }
    Ok(reached)
}
