//! What is to be removed where. Pure.

use std::{collections::BTreeSet, time::Duration};

use freshet_crds::binding::{Binding, SourceSpec, StreamLayout};

/// The data set of a Redis, which its replicas have in common with it, and the database in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Server {
    /// `master_replid`.
    pub replication: String,
    /// The database's number.
    pub database: u16,
}

/// What one source of a binding asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The binding, `namespace/name`.
    pub binding: String,
    /// Where its streams are; `None`: it couldn't be asked, and may be anywhere.
    pub server: Option<Server>,
    /// Whether entries can be removed there: a replica takes no writes.
    pub is_master: bool,
    /// The streams that Debezium writes for it.
    pub streams: BTreeSet<String>,
    /// How old entries get; `None`: nothing is removed.
    pub retention: Option<Duration>,
}

/// What is to be done for one wish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// Streams that this one trims, and how old their entries get.
    pub trim: Vec<(String, Duration)>,
    /// A stream that stays as it is, and the binding that says so.
    pub held: Option<(String, String)>,
}

/// Orders for each wish, in their order. Nothing is removed before the longest retention of all that follow a stream,
/// and nothing at all while one of them doesn't set any: what is removed can't be brought back. One that couldn't be
/// asked counts for every stream of the same name.
#[must_use]
pub fn orders(wishes: &[Wish]) -> Vec<Orders> {
    wishes
        .iter()
        .enumerate()
        .map(|(place, wish)| {
            let mut orders = Orders::default();
            let (Some(server), Some(_)) = (&wish.server, wish.retention) else { return orders };
            for stream in &wish.streams {
                let others = || {
                    wishes.iter().enumerate().filter(|(_, other)| {
                        other.streams.contains(stream)
                            && other.server.as_ref().is_none_or(|theirs| theirs == server)
                    })
                };
                if let Some((_, other)) = others().find(|(_, other)| other.retention.is_none()) {
                    orders.held = Some((stream.clone(), other.binding.clone()));
                    continue;
                }
                // The first one that can does it for all; without any, the first one fails and says why.
                let first = others()
                    .find(|(_, other)| other.server.is_some() && other.is_master)
                    .or_else(|| others().find(|(_, other)| other.server.is_some()));
                if first.is_some_and(|(first, _)| first == place) {
                    let longest = others().filter_map(|(_, other)| other.retention).max();
                    orders.trim.extend(longest.map(|longest| (stream.clone(), longest)));
                }
            }
            orders
        })
        .collect()
}

/// The streams that Debezium writes for a source, those that sidecars don't follow among them.
#[must_use]
pub fn written(binding: &Binding, index: usize, source: &SourceSpec) -> BTreeSet<String> {
    let prefix = match &source.layout {
        StreamLayout::Routed { stream } => return BTreeSet::from([stream.clone()]),
        StreamLayout::PerTable { prefix } => prefix,
    };
    let caches = binding.caches.iter().filter(|cache| cache.source == index);
    let mut streams = BTreeSet::from([
        // Schema changes, transactions, logical messages, Debezium's own heartbeats.
        prefix.clone(),
        format!("{prefix}.transaction"),
        format!("{prefix}.message"),
        format!("__debezium-heartbeat.{prefix}"),
    ]);
    for table in caches.flat_map(|cache| cache.table.iter().chain(&cache.depends_on)) {
        streams.insert(format!("{prefix}.{}", topic_part(table)));
        let database = table.split('.').next().unwrap_or(table);
        streams.insert(format!("{prefix}.{}.{}", topic_part(database), freshet_debezium::HEARTBEAT_TABLE));
    }
    streams
}

/// A table's name as Debezium writes it in a topic: what isn't a letter, digit, dot, dash or underscore becomes an
/// underscore.
fn topic_part(table: &str) -> String {
    table.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use freshet_crds::manifest;

    use super::*;

    fn wish(binding: &str, server: Option<&str>, streams: &[&str], minutes: Option<u64>) -> Wish {
        Wish {
            binding: binding.into(),
            server: server.map(|replication| Server { replication: replication.into(), database: 0 }),
            is_master: true,
            streams: streams.iter().map(|stream| (*stream).to_owned()).collect(),
            retention: minutes.map(Duration::from_mins),
        }
    }

    fn trims(orders: &Orders) -> Vec<(&str, u64)> {
        orders.trim.iter().map(|(stream, age)| (stream.as_str(), age.as_secs() / 60)).collect()
    }

    #[test]
    fn of_several_the_longest_counts_and_one_of_them_does_it() {
        let wishes = [
            wish("a/one", Some("x"), &["s", "t"], Some(5)),
            wish("b/two", Some("x"), &["s"], Some(60)),
            wish("c/elsewhere", Some("y"), &["s"], Some(7)),
        ];
        let orders = orders(&wishes);
        assert_eq!(trims(&orders[0]), [("s", 60), ("t", 5)]);
        assert_eq!((trims(&orders[1]), trims(&orders[2])), (vec![], vec![("s", 7)]));
        assert!(orders.iter().all(|orders| orders.held.is_none()));
    }

    #[test]
    fn entries_are_removed_where_that_can_be_done() {
        let replica = Wish { is_master: false, ..wish("a/tails", Some("x"), &["s"], Some(5)) };
        let both = [replica.clone(), wish("b/two", Some("x"), &["s"], Some(1))];
        assert_eq!((trims(&orders(&both)[0]), trims(&orders(&both)[1])), (vec![], vec![("s", 5)]));
        assert_eq!(trims(&orders(&[replica])[0]), [("s", 5)], "to fail, and say so");
    }

    #[test]
    fn one_without_a_retention_holds_the_stream_for_all() {
        let wishes = [
            wish("a/one", Some("x"), &["s", "t"], Some(5)),
            wish("b/two", Some("x"), &["s"], None),
            wish("c/other", Some("x"), &["u"], None),
        ];
        let orders = orders(&wishes);
        assert_eq!(trims(&orders[0]), [("t", 5)]);
        assert_eq!(orders[0].held, Some(("s".into(), "b/two".into())));
        assert_eq!(orders[1], Orders::default(), "it asked for nothing");
    }

    #[test]
    fn one_that_cannot_be_asked_counts_wherever_the_stream_is() {
        let longer = [wish("a/one", Some("x"), &["s"], Some(5)), wish("b/two", None, &["s"], Some(60))];
        assert_eq!(trims(&orders(&longer)[0]), [("s", 60)]);
        assert_eq!(orders(&longer)[1], Orders::default());
        let none = [wish("b/two", None, &["s"], None), wish("a/one", Some("x"), &["s"], Some(5))];
        assert_eq!(orders(&none)[1].held, Some(("s".into(), "b/two".into())));
    }

    #[test]
    fn what_sidecars_do_not_follow_is_trimmed_too() {
        let shop = include_str!("../../../crds/tests/shop.yaml");
        let of = |text: &str| {
            let binding = manifest::read(text).unwrap().binding().unwrap();
            written(&binding, 0, &binding.sources[0]).into_iter().collect::<Vec<_>>()
        };
        let all = [
            "__debezium-heartbeat.shop",
            "shop",
            "shop.inventory.category",
            "shop.inventory.freshet_heartbeat",
            "shop.inventory.product",
            "shop.message",
            "shop.transaction",
        ];
        assert_eq!(of(shop), all);
        assert_eq!(of(&shop.replace("topicPrefix: shop", "stream: shop.cdc")), ["shop.cdc"]);
    }
}
