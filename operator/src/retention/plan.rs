//! What is to be removed where. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
    time::Duration,
};

use freshet_crds::{
    binding::{Binding, CacheSpec, RedisSpec, SourceSpec, StreamLayout},
    topics,
};

/// The data set of a Redis, which its replicas have in common with it, and the database in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Server {
    /// `master_replid`.
    pub replication: String,
    /// `master_replid2`: what it was called before a failover, as a replica that is behind may still say.
    pub former: Option<String>,
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

/// What is to be done. Wishes are named by their places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The streams to be trimmed, by the server that they are at.
    pub jobs: BTreeMap<(String, u16), Vec<Job>>,
    /// For each wish a stream that stays as it is, and the binding that says so.
    pub held: Vec<Option<(String, String)>>,
}

/// One stream that is to be trimmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its name.
    pub stream: String,
    /// How old its entries get.
    pub retention: Duration,
    /// The wishes by whose connection it can be done: by the first whose user may.
    pub by: Vec<usize>,
    /// The wishes that it is done for.
    pub of: Vec<usize>,
}

// === impl Server ===

impl Server {
    /// Whether both may have the same data: one of them may have been asked before a failover, or be behind it.
    fn may_be(&self, other: &Self) -> bool {
        self.database == other.database && self.names().any(|name| other.names().any(|theirs| theirs == name))
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        iter::once(&self.replication).chain(&self.former)
    }
}

/// Nothing is removed before the longest retention of all that follow a stream, and nothing at all while one of them
/// doesn't set any: what is removed can't be brought back. One that couldn't be asked counts for every stream of the
/// same name.
#[must_use]
pub fn plan(wishes: &[Wish]) -> Plan {
    let mut plan = Plan { held: vec![None; wishes.len()], ..Plan::default() };
    let mut members: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (place, wish) in wishes.iter().enumerate() {
        if let (Some(server), Some(_)) = (&wish.server, wish.retention) {
            for stream in &wish.streams {
                members.entry((at(server, wishes), stream)).or_default().push(place);
            }
        }
    }
    for ((server, stream), of) in members {
        let concerns = |theirs: &Server| {
            of.iter().filter_map(|place| wishes[*place].server.as_ref()).any(|ours| ours.may_be(theirs))
        };
        let all = || {
            wishes
                .iter()
                .filter(|wish| wish.streams.contains(stream) && wish.server.as_ref().is_none_or(concerns))
        };
        if let Some(holding) = all().find(|wish| wish.retention.is_none()) {
            for place in of {
                plan.held[place].get_or_insert_with(|| (stream.clone(), holding.binding.clone()));
            }
            continue;
        }
        let Some(retention) = all().filter_map(|wish| wish.retention).max() else { continue };
        let masters: Vec<_> = of.iter().copied().filter(|place| wishes[*place].is_master).collect();
        // Without any the others fail, and say why.
        let by = if masters.is_empty() { of.clone() } else { masters };
        plan.jobs.entry(server).or_default().push(Job { stream: stream.clone(), retention, by, of });
    }
    plan
}

/// The server at which a wish's streams are trimmed: a replica's is its master, under whatever name that was reached.
fn at(server: &Server, wishes: &[Wish]) -> (String, u16) {
    let masters = || wishes.iter().filter(|wish| wish.is_master).filter_map(|wish| wish.server.as_ref());
    let same = masters()
        .find(|master| (&master.replication, master.database) == (&server.replication, server.database));
    let at = same.or_else(|| masters().find(|master| master.may_be(server))).unwrap_or(server);
    (at.replication.clone(), at.database)
}

/// The sources whose streams the operator trims, with their places in the binding: those in Redis. Other servers remove
/// old entries by themselves.
pub fn trimmed(binding: &Binding) -> impl Iterator<Item = (usize, &SourceSpec, &RedisSpec)> {
    let sources = binding.sources.iter().enumerate();
    sources.filter_map(|(index, source)| Some((index, source, source.transport.redis_stream()?)))
}

/// The streams that Debezium writes for a source, those that sidecars don't follow among them.
#[must_use]
pub fn written(binding: &Binding, index: usize, source: &SourceSpec) -> BTreeSet<String> {
    let prefix = match &source.layout {
        StreamLayout::Routed { stream } => return BTreeSet::from([stream.clone()]),
        StreamLayout::PerTable { prefix } => prefix,
    };
    let caches = binding.caches.iter().filter(|cache| cache.source == index);
    let tables = caches.flat_map(CacheSpec::tables);
    let of_tables = tables.flat_map(|table| {
        iter::once(topics::of_table(prefix, table)).chain(topics::of_heartbeats_beside(prefix, table))
    });
    let others = [
        topics::of_schema_changes(prefix),
        topics::of_transactions(prefix),
        topics::of_messages(prefix),
        topics::of_debezium_heartbeats(prefix),
    ];
    of_tables.chain(others).collect()
}

#[cfg(test)]
mod tests {
    use freshet_crds::manifest;

    use super::*;

    fn server(replication: &str, former: Option<&str>) -> Server {
        Server { replication: replication.into(), former: former.map(str::to_owned), database: 0 }
    }

    fn wish(binding: &str, at: Option<&str>, streams: &[&str], minutes: Option<u64>) -> Wish {
        Wish {
            binding: binding.into(),
            server: at.map(|at| server(at, None)),
            is_master: true,
            streams: streams.iter().map(|stream| (*stream).to_owned()).collect(),
            retention: minutes.map(Duration::from_mins),
        }
    }

    /// `stream@server minutes by of` of each job.
    fn jobs(plan: &Plan) -> Vec<String> {
        let all = plan.jobs.iter().flat_map(|((server, _), jobs)| jobs.iter().map(move |job| (server, job)));
        all.map(|(server, job)| {
            format!("{}@{server} {} {:?} {:?}", job.stream, job.retention.as_secs() / 60, job.by, job.of)
        })
        .collect()
    }

    fn held(stream: &str, by: &str) -> (String, String) {
        (stream.into(), by.into())
    }

    #[test]
    fn of_several_the_longest_counts_and_any_of_them_may_do_it() {
        let plan = plan(&[
            wish("a/one", Some("x"), &["s", "t"], Some(5)),
            wish("b/two", Some("x"), &["s"], Some(60)),
            wish("c/elsewhere", Some("y"), &["s"], Some(7)),
        ]);
        assert_eq!(jobs(&plan), ["s@x 60 [0, 1] [0, 1]", "t@x 5 [0] [0]", "s@y 7 [2] [2]"]);
        assert_eq!(plan.held, [None, None, None]);
    }

    #[test]
    fn entries_are_removed_where_that_can_be_done() {
        let replica = Wish { is_master: false, ..wish("a/tails", Some("x"), &["s"], Some(5)) };
        let both = plan(&[replica.clone(), wish("b/two", Some("x"), &["s"], Some(1))]);
        assert_eq!(jobs(&both), ["s@x 5 [1] [0, 1]"]);
        assert_eq!(jobs(&plan(&[replica])), ["s@x 5 [0] [0]"], "to fail, and say so");
    }

    #[test]
    fn a_replica_that_is_behind_a_failover_is_known_by_the_former_name() {
        let behind = |minutes| Wish { is_master: false, ..wish("a/tails", Some("old"), &["s"], minutes) };
        let promoted =
            Wish { server: Some(server("new", Some("old"))), ..wish("b/two", None, &["s"], Some(1)) };
        let longer = plan(&[behind(Some(5)), promoted.clone()]);
        assert_eq!(jobs(&longer), ["s@new 5 [1] [0, 1]"]);
        let holding = plan(&[behind(None), promoted.clone()]);
        assert_eq!((jobs(&holding), &holding.held[1]), (vec![], &Some(held("s", "a/tails"))));
        // Two that were one: each is trimmed, and neither before the other's retention.
        let copied = plan(&[wish("a/one", Some("old"), &["s"], Some(5)), promoted]);
        assert_eq!(jobs(&copied), ["s@new 5 [1] [1]", "s@old 5 [0] [0]"]);
    }

    #[test]
    fn one_without_a_retention_holds_the_stream_for_all() {
        let plan = plan(&[
            wish("a/one", Some("x"), &["s", "t"], Some(5)),
            wish("b/two", Some("x"), &["s"], None),
            wish("c/other", Some("x"), &["u"], None),
        ]);
        assert_eq!(jobs(&plan), ["t@x 5 [0] [0]"]);
        assert_eq!(plan.held, [Some(held("s", "b/two")), None, None], "the others asked for nothing");
    }

    #[test]
    fn one_that_cannot_be_asked_counts_wherever_the_stream_is() {
        let longer =
            plan(&[wish("a/one", Some("x"), &["s"], Some(5)), wish("b/two", None, &["s"], Some(60))]);
        assert_eq!(jobs(&longer), ["s@x 60 [0] [0]"]);
        let none = plan(&[wish("b/two", None, &["s"], None), wish("a/one", Some("x"), &["s"], Some(5))]);
        assert_eq!((jobs(&none), &none.held[1]), (vec![], &Some(held("s", "b/two"))));
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
