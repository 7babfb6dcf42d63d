//! Which streams a feed needs, and what each carries.

use std::{collections::BTreeMap, sync::Arc};

use freshet_crds::{binding::StreamLayout, topics};

use crate::{
    catalog::{Cache, Catalog},
    effect::Tables,
    envelope::StreamRole,
    feed::Feed,
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
}

impl Plan {
    /// The plan of `feed`; `None` if the catalog has it no more.
    pub(crate) fn of(feed: &Arc<Feed>, catalog: Arc<Catalog>) -> Option<Self> {
        let tables = catalog.feeds.iter().find(|(f, _)| Arc::ptr_eq(f, feed)).map(|(_, t)| Arc::clone(t))?;
        let streams = streams(&feed.spec.layout, &tables);
        let caches = catalog.fed_by(feed).map(Arc::clone).collect();
        Some(Self { catalog, tables, streams, caches })
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
