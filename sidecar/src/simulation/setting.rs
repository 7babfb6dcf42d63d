//! What stays the same through a run, and the binding that it means.

use std::collections::BTreeMap;

use freshet_crds::{Heartbeat, binding::Binding, manifest};
use freshet_e2e::random::Random;

use super::{MAX_STALENESS, READ_LAG, SERVE_STALE, SKEW, debezium::Settings, kinds::Kind, rest, views};
use crate::{
    bounds::{Memory, tests::Rooms},
    catalog::{Catalog, Newer},
};

/// What stays the same through a run.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are what a run is drawn from")]
pub(crate) struct Setting {
    pub(crate) seed: u64,
    /// Everything in one stream.
    pub(crate) routed: bool,
    /// MariaDB, not PostgreSQL.
    pub(crate) binlog: bool,
    /// The declared heartbeat; without one continuity alone vouches.
    pub(crate) heartbeat: Option<Heartbeat>,
    pub(crate) serve_stale: bool,
    /// Entries asked of each stream.
    pub(crate) count: usize,
    /// Heartbeats are messages outside any transaction, which name no commit before them.
    pub(crate) bare_beats: bool,
    /// Some fills name what their values depend on.
    pub(crate) depends: bool,
    /// Caches that hydrate start warm.
    pub(crate) warm: bool,
    /// There are views of rows.
    pub(crate) ranks: bool,
    /// One more cache reads a REST service through.
    pub(crate) reads_through: bool,
    /// Milliseconds that the database's clock is ahead.
    pub(crate) ahead: i64,
    pub(crate) debezium: Settings,
    /// How much room each memory has, where it is less than outside of tests.
    pub(crate) rooms: Rooms,
}

impl Setting {
    pub(crate) fn of(seed: u64) -> Self {
        let mut dice = Random::new(seed);
        let binlog = dice.one_in(4);
        let routed = dice.one_in(2);
        let heartbeat =
            dice.weighted(&[(5, Some(Heartbeat::Database)), (1, Some(Heartbeat::Debezium)), (2, None)]);
        let warm = routed && heartbeat == Some(Heartbeat::Database) && seed % 2 == 1;
        Self {
            seed,
            routed,
            binlog,
            heartbeat,
            warm,
            ranks: warm && ranks(seed),
            serve_stale: dice.one_in(4),
            count: dice.weighted(&[(2, 2), (3, 6), (3, 1000)]),
            ahead: dice.weighted(&[
                (2, 0),
                (1, i64::try_from(SKEW).unwrap()),
                (1, -i64::try_from(SKEW).unwrap()),
            ]),
            // Mostly as recommended.
            debezium: if dice.one_in(3) {
                Settings::of(u8::try_from(dice.below(256)).unwrap())
            } else {
                Settings::of(0b0010_1011)
            },
            bare_beats: !binlog && dice.one_in(6),
            depends: seed % 5 == 4,
            reads_through: reads_through(seed),
            rooms: rooms(&mut dice),
        }
    }

    /// The caches that it has.
    pub(crate) fn kinds(&self) -> &'static [Kind] {
        Kind::all(self.depends)
    }

    /// The cache of a step.
    pub(crate) fn kind(&self, n: u8) -> Kind {
        self.kinds()[usize::from(n) % self.kinds().len()]
    }

    /// Whether nothing is forgotten for want of room.
    pub(crate) fn has_ample_room(&self) -> bool {
        self.rooms.iter().all(Option::is_none)
    }
}

/// Whether a run that starts warm has views of rows.
pub(super) fn ranks(seed: u64) -> bool {
    seed % 4 == 1 && !seed.is_multiple_of(5)
}

/// Whether a run has a REST service.
pub(super) fn reads_through(seed: u64) -> bool {
    seed % 7 == 3
}

/// In one of four runs, half of the memories are so small that they overflow. The books have room for a heartbeat, or a
/// new epoch would begin with each, and nothing would ever be cached.
fn rooms(dice: &mut Random) -> Rooms {
    let small = dice.one_in(4);
    let room = |memory: usize| {
        let least = if memory == Memory::Unsettled as usize { 7 } else { 0 };
        let room = least + dice.weighted(&[(2, 1), (2, 2), (2, 3), (1, 8)]);
        (small && dice.one_in(2)).then_some(room)
    };
    std::array::from_fn(room)
}

pub(crate) fn catalog(
    setting: &Setting,
    absent: &[Kind],
    details: &BTreeMap<Kind, bool>,
    shapes: u8,
    epoch: u64,
    old: Option<&Catalog>,
) -> Catalog {
    let layout = if setting.routed { "stream: shop.cdc" } else { "topicPrefix: shop" };
    let freshness = setting.heartbeat.map(|heartbeat| {
        let on_stale = if setting.serve_stale {
            format!("onStale: Serve, serveStaleFor: {SERVE_STALE}ms, ")
        } else {
            String::new()
        };
        format!(
            "freshness: {{maxStaleness: {MAX_STALENESS}ms, heartbeat: {heartbeat:?}, {on_stale}readLag: {READ_LAG}ms, clockSkew: {SKEW}ms}},"
        )
    });
    let caches: Vec<String> = setting
        .kinds()
        .iter()
        .filter(|kind| kind.cache() == **kind && !absent.contains(kind))
        .map(|kind| kind.definition(details.get(kind).copied().unwrap_or_default(), setting.warm))
        .chain(setting.reads_through.then(rest::definition))
        .collect();
    let text = format!(
        "{{apiVersion: freshet.dev/v1alpha1, kind: CacheBinding, metadata: {{name: t}}, spec: {{
           sources: [{{name: cdc, redisStream: {{url: 'redis://localhost', {layout}}}}}],
           {} caches: [{}], views: [{}{}], epoch: 'e{epoch}'}}}}",
        freshness.unwrap_or_default(),
        caches.join(", "),
        views::definitions(setting, absent, shapes),
        if setting.reads_through { rest::view() } else { "" },
    );
    let binding =
        Binding::parse(&manifest::read(&text).unwrap().object).unwrap_or_else(|e| panic!("{text}: {e:?}"));
    Catalog::build(binding, Newer::default(), old)
}
