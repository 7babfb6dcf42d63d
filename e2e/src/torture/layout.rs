//! How the databases' streams are laid out: drawn from the seed, and said to the sidecars.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::carrier::Transport;
use super::shape::{Cache, Source, Table};
use super::world::{CLOCK_SKEW, MAX_STALENESS};
use crate::process::debezium::Routing;
use crate::random::Random;

/// The layout of each source, every one as likely as the other where the transport leaves a choice.
pub(crate) fn draw(transport: Transport, sources: &[Source], random: &mut Random) -> Vec<(Source, Routing)> {
    let routings = [Routing::OneStream, Routing::PerTable];
    let drawn = |source: &Source| (*source, transport.routing(*random.pick(&routings)));
    sources.iter().map(drawn).collect()
}

/// A layout, for people.
pub(crate) fn told(transport: Transport, source: Source, routing: Routing) -> String {
    match (transport, routing) {
        (Transport::NatsJetStream, _) => format!("{source} in a stream of subjects"),
        (Transport::Kafka, _) => format!("{source} in one topic"),
        (Transport::RedisPubSub | Transport::PostgresNotify, _) => format!("{source} on a channel"),
        (Transport::Nats, _) => format!("{source} under a subject"),
        (Transport::File, Routing::OneStream) => format!("{source} in a file of one stream"),
        (Transport::File, Routing::PerTable) => format!("{source} in a file of a stream per table"),
        (_, Routing::OneStream) => format!("{source} in one stream"),
        (_, Routing::PerTable) => format!("{source} in a stream per table"),
    }
}

/// The binding of a sidecar whose way to the transport begins at `link`, or is in this folder.
pub(crate) fn binding(
    transport: Transport,
    link: SocketAddr,
    folder: &Path,
    layout: &[(Source, Routing)],
) -> String {
    // Without keys in its entries, it is the binding that says which columns they are.
    let key = if transport.has_keys() { "" } else { ", key: [{column: id}]" };
    let hydrate = if transport.keeps() { ", onChange: Hydrate" } else { "" };
    // Over channels and subjects nothing tells how far a database is: what is vouched for is that nothing that was said was
    // missed, and that needs no bound.
    let freshness = match transport {
        Transport::RedisPubSub | Transport::Nats => String::new(),
        _ => format!(
            "  freshness: {{maxStaleness: {}ms, heartbeat: Database, readLag: {}ms, clockSkew: {}ms}}\n",
            MAX_STALENESS.as_millis(),
            read_lag(transport).as_millis(),
            CLOCK_SKEW.as_millis()
        ),
    };
    let (mut sources, mut caches) = (Vec::new(), Vec::new());
    for (source, routing) in layout {
        let name = source.name();
        let read = transport.binding(link, folder, *source, *routing);
        sources.push(format!("  - {{name: {name}, {read}}}\n"));
        for cache in Cache::ALL {
            let what = match cache {
                Cache::Items => format!("table: {}{key}", Table::Item.name()),
                Cache::Rows => format!("table: {}{key}{hydrate}", Table::Item.name()),
                Cache::Notes => format!("table: {}{key}", Table::Note.name()),
                Cache::Scraps => format!("table: {}{key}", Table::Scrap.name()),
                Cache::Sums => format!("dependsOn: [{}, {}]", Table::Note.name(), Table::Scrap.name()),
            };
            caches.push(format!("  - {{name: {name}-{}, source: {name}, {what}}}\n", cache.name()));
        }
    }
    let (sources, caches) = (sources.concat(), caches.concat());
    format!(
        "apiVersion: freshet.dev/v1alpha1\nkind: CacheBinding\nmetadata: {{name: torture}}\nspec:\n  sources:\n{sources}  \
         caches:\n{caches}{freshness}"
    )
}

/// How long a change's delivery and its visibility may be apart, by that binding.
pub(crate) fn read_lag(transport: Transport) -> Duration {
    match transport {
        // The default.
        Transport::RedisPubSub | Transport::Nats => Duration::from_secs(1),
        _ => Duration::from_millis(300),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_seeds_draw_every_layout() {
        let drawn = |seed| draw(Transport::RedisStream, &Source::ALL, &mut Random::new(seed).fork(1));
        let of = |postgres, mariadb| {
            let wanted = [(Source::Postgres, postgres), (Source::MariaDb, mariadb)];
            (1..=20).any(|seed| drawn(seed) == wanted)
        };
        for postgres in [Routing::OneStream, Routing::PerTable] {
            for mariadb in [Routing::OneStream, Routing::PerTable] {
                assert!(of(postgres, mariadb), "{postgres:?}, {mariadb:?}");
            }
        }
        assert_eq!(drawn(7), drawn(7));
    }
}
