//! How the databases' streams are laid out: drawn from the seed, and said to the sidecars.

use std::net::SocketAddr;

use super::shape::{Cache, Source, Table};
use super::world::{CLOCK_SKEW, MAX_STALENESS};
use crate::process::debezium::Routing;
use crate::random::Random;

/// The layout of each source, every one as likely as the other.
pub(crate) fn draw(sources: &[Source], random: &mut Random) -> Vec<(Source, Routing)> {
    let routings = [Routing::OneStream, Routing::PerTable];
    sources.iter().map(|source| (*source, *random.pick(&routings))).collect()
}

/// A layout, for people.
pub(crate) fn told(source: Source, routing: Routing) -> String {
    match routing {
        Routing::OneStream => format!("{source} in one stream"),
        Routing::PerTable => format!("{source} in a stream per table"),
    }
}

/// The binding of a sidecar that reads this Redis.
pub(crate) fn binding(redis: SocketAddr, layout: &[(Source, Routing)]) -> String {
    let (mut sources, mut caches) = (Vec::new(), Vec::new());
    for (source, routing) in layout {
        let name = source.name();
        let streams = match routing {
            Routing::OneStream => format!("stream: {name}.cdc"),
            Routing::PerTable => format!("topicPrefix: {name}"),
        };
        sources.push(format!("  - {{name: {name}, redisStream: {{url: 'redis://{redis}', {streams}}}}}\n"));
        for cache in Cache::ALL {
            let what = match cache {
                Cache::Items => format!("table: {}", Table::Item.name()),
                Cache::Rows => format!("table: {}, onChange: Hydrate", Table::Item.name()),
                Cache::Notes => format!("table: {}", Table::Note.name()),
                Cache::Scraps => format!("table: {}", Table::Scrap.name()),
                Cache::Sums => format!("dependsOn: [{}, {}]", Table::Note.name(), Table::Scrap.name()),
            };
            caches.push(format!("  - {{name: {name}-{}, source: {name}, {what}}}\n", cache.name()));
        }
    }
    let (sources, caches) = (sources.concat(), caches.concat());
    format!(
        "apiVersion: freshet.dev/v1alpha1\nkind: CacheBinding\nmetadata: {{name: torture}}\nspec:\n  sources:\n{sources}  \
         caches:\n{caches}  freshness: {{maxStaleness: {}ms, heartbeat: Database, readLag: 300ms, clockSkew: {}ms}}\n",
        MAX_STALENESS.as_millis(),
        CLOCK_SKEW.as_millis()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_seeds_draw_every_layout() {
        let drawn = |seed| draw(&Source::ALL, &mut Random::new(seed).fork(1));
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
