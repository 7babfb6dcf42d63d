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
    /// Streams by name.
    pub(crate) streams: BTreeMap<String, StreamRole>,
    /// What changes of this feed void.
    pub(crate) caches: Vec<Arc<Cache>>,
    /// Whether some cache starts warm. There is one stream then.
    warm: bool,
}

impl Plan {
    /// The plan of `feed`; `None` if the catalog has it no more.
    pub(crate) fn of(feed: &Arc<Feed>, catalog: Arc<Catalog>) -> Option<Self> {
        let tables = catalog.feeds.iter().find(|(f, _)| Arc::ptr_eq(f, feed)).map(|(_, t)| Arc::clone(t))?;
        let streams = streams(&feed.spec.layout, &tables);
        let caches: Vec<_> = catalog.fed_by(feed).map(Arc::clone).collect();
        let warm = caches.iter().any(|cache| cache.spec.warm_start);
        Some(Self { catalog, tables, streams, caches, warm })
    }

    /// Whether some cache starts warm.
    pub(crate) fn is_warm(&self) -> bool {
        self.warm
    }

    /// Whether the reading of a stream that stands so starts with the first entry that it has. Where entries are missing
    /// in between, what is left may be older than they were.
    pub(crate) fn starts_with_first(&self, state: Option<StreamState>) -> bool {
        let holes = state.is_some_and(|state| !state.has_no_holes()) && !planted(Bug::HolesIgnored);
        self.warm && !holes
    }
}

fn streams(layout: &StreamLayout, tables: &Tables) -> BTreeMap<String, StreamRole> {
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
