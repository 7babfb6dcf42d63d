//! Which streams a feed needs, and what each carries.

use std::{collections::BTreeMap, sync::Arc};

use freshet_crds::{binding::StreamLayout, topics};

use crate::{
    catalog::{Cache, Catalog},
    continuity::StreamState,
    effect::Tables,
    envelope::StreamRole,
    feed::Feed,
    planted::{Bug, planted},
};

/// What a follower does at present, made from one catalog.
#[derive(Debug)]
pub struct Plan {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) tables: Arc<Tables>,
    /// Topics by name: what the binding's tables are written to.
    topics: BTreeMap<String, StreamRole>,
    /// Streams by name: the topics, or the parts of those that are divided.
    pub(crate) streams: BTreeMap<String, StreamRole>,
    /// What changes of this feed void.
    pub(crate) caches: Vec<Arc<Cache>>,
    /// Whether some cache starts warm. There is one topic then.
    warm: bool,
}

impl Plan {
    /// The plan of `feed`; `None` if the catalog has it no more.
    pub(crate) fn of(feed: &Arc<Feed>, catalog: Arc<Catalog>) -> Option<Self> {
        let tables = catalog.feeds.iter().find(|(f, _)| Arc::ptr_eq(f, feed)).map(|(_, t)| Arc::clone(t))?;
        let topics = topics_of(&feed.spec.layout, &tables);
        let caches: Vec<_> = catalog.fed_by(feed).map(Arc::clone).collect();
        let warm = caches.iter().any(|cache| cache.spec.warm_start);
        Some(Self { catalog, tables, streams: topics.clone(), topics, caches, warm })
    }

    /// Whether some cache starts warm.
    pub(crate) fn is_warm(&self) -> bool {
        self.warm
    }

    /// Whether the reading of a stream that stands so starts with the first entry that it has. Where entries are missing
    /// in between, what is left may be older than they were.
    pub(crate) fn starts_with_first(&self, state: Option<StreamState>) -> bool {
        let holes = state.is_some_and(|state| !state.has_no_holes()) && !planted(Bug::HolesIgnored);
        self.warm && self.streams.len() == 1 && !holes
    }

    /// Whether the staleness of anything here is to be bounded by heartbeats: what is published needs none.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        let of_database = |cache: &Arc<Cache>| !cache.is_scope && !cache.spec.published;
        self.catalog.freshness.bound.is_some() && self.caches.iter().any(of_database)
    }

    /// The topics that are read.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.keys().map(String::as_str)
    }

    /// Follows the parts of those topics that are divided. Each part carries what its topic does.
    pub(super) fn divide(&mut self, parts: &Parts) {
        let streams = self.topics.iter().flat_map(|(topic, role)| {
            parts.streams(topic).into_iter().map(move |stream| (stream, role.clone()))
        });
        self.streams = streams.collect();
    }
}

/// How many parts each topic has, of a transport that divides topics: no part is a stream of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts(pub BTreeMap<String, u32>);

impl Parts {
    /// How many parts a topic has; zero of one that isn't divided, or isn't there.
    #[must_use]
    pub fn count(&self, topic: &str) -> u32 {
        self.0.get(topic).copied().unwrap_or_default()
    }

    /// The streams of a topic: itself, or its parts, `<topic>/<number>`.
    #[must_use]
    pub fn streams(&self, topic: &str) -> Vec<String> {
        match self.count(topic) {
            0 => vec![topic.to_owned()],
            count => (0..count).map(|number| format!("{topic}/{number}")).collect(),
        }
    }
}

fn topics_of(layout: &StreamLayout, tables: &Tables) -> BTreeMap<String, StreamRole> {
    match layout {
        StreamLayout::Routed { stream } => BTreeMap::from([(stream.clone(), StreamRole::Routed)]),
        StreamLayout::PerTable { prefix } => tables
            .keys()
            .map(|table| (topics::of_table(prefix, table), StreamRole::Table(table.clone())))
            // The heartbeat that is a row is in some database or schema of the binding's tables.
            .chain(tables.keys().filter_map(|table| {
                Some((topics::of_heartbeats_beside(prefix, table)?, StreamRole::Control))
            }))
            .chain([
                (topics::of_debezium_heartbeats(prefix), StreamRole::Control),
                (topics::of_messages(prefix), StreamRole::Control),
                (topics::of_transactions(prefix), StreamRole::Control),
                (topics::of_schema_changes(prefix), StreamRole::Schema),
            ])
            .collect(),
    }
}
