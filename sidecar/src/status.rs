//! What a sidecar says of itself: the JSON of `/v1/status`.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use freshet_crds::binding::AuditSpec;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::{
    audit::Measure,
    catalog::{Cache, Catalog},
    clock::{Tick, millis},
    coherence::Refusal,
    engine::Engine,
    feed::Feed,
    freshness::{Evidence, Reason, Vouch},
    publishing::{Desk, hindrance},
    store::count,
    upstream::Upstream,
    views::{View, rows::RowView},
};

/// How the binding's file is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BindingState {
    /// It was never there.
    #[default]
    NoBinding,
    /// What it says is in force.
    Current,
    /// It is gone; the last one is in force.
    Deleted,
    /// It can't be used; the last good one, if any, is in force.
    Rejected {
        /// Why.
        error: String,
    },
}

/// The binding's state as it changes.
pub type BindingWatch = watch::Receiver<BindingState>;

impl BindingState {
    /// Its name in status.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NoBinding => "NoBinding",
            Self::Current => "Current",
            Self::Deleted => "BindingDeleted",
            Self::Rejected { .. } => "BindingRejected",
        }
    }
}

/// What is known of a feed and how it is judged, as one word and its reason.
#[must_use]
pub fn judge(catalog: &Catalog, feed: &Arc<Feed>, now: Tick) -> (Evidence, &'static str) {
    let bound = catalog.freshness.bound.as_ref();
    let caches = || catalog.caches.values().filter(|cache| Arc::ptr_eq(&cache.feed, feed));
    let attached = caches().all(|cache| cache.attached.load(Ordering::Acquire));
    let is_published = caches().next().is_some() && caches().all(|cache| cache.spec.published);
    let evidence = if is_published {
        feed.evidence_of_publications(attached)
    } else {
        feed.evidence(attached, bound.map(|b| b.heartbeat))
    };
    let state = match evidence.vouch(bound, now) {
        Vouch::Fresh => "Fresh",
        Vouch::Stale { reason, .. } => match reason {
            Reason::Disconnected => "Disconnected",
            Reason::Lagging => "Lagging",
            Reason::Gapped => "Gapped",
            // The last two are of bindings, and no feed's.
            Reason::Starting | Reason::NoBinding | Reason::BindingTooNew => "Starting",
        },
    };
    (evidence, state)
}

/// Whether every source is fresh.
#[must_use]
pub fn is_fresh(engine: &Engine, now: Tick) -> bool {
    engine.catalog().is_some_and(|c| c.feeds.iter().all(|(feed, _)| judge(&c, feed, now).1 == "Fresh"))
}

/// The status document.
#[must_use]
pub fn report(engine: &Engine, binding: &BindingWatch, now: Tick) -> Value {
    let state = binding.borrow();
    let mut document = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "binding": {"state": state.as_str()},
        "sources": {},
        "caches": {},
    });
    if let BindingState::Rejected { error } = &*state {
        document["binding"]["error"] = json!(error);
    }
    let Some(catalog) = engine.catalog() else { return document };
    document["binding"]["name"] = json!(catalog.binding);
    if !catalog.newer_fields.is_empty() {
        document["binding"]["newerFields"] = json!(catalog.newer_fields);
    }
    document["memory"] = json!({"limit": catalog.memory, "used": engine.weight()});
    document["sources"] = catalog
        .feeds
        .iter()
        .map(|(feed, _)| (feed.spec.name.clone(), source(&catalog, feed, now)))
        .collect::<Map<_, _>>()
        .into();
    let off = catalog.off.iter().map(|name| (name.clone(), json!({"off": "BindingTooNew"})));
    let lag = catalog.freshness.read_lag;
    let on = catalog.caches.values().map(|c| {
        let mut document = cache(c, c.fence.holds_off(now, lag));
        document["limitBytes"] = json!(catalog.limit(c));
        if let Some(spec) = &catalog.audit {
            document["audit"] = audit(spec, c, now);
        }
        (c.spec.name.clone(), document)
    });
    let upstreams = catalog.upstreams.values().map(|u| {
        let mut document = upstream(u, now);
        document["limitBytes"] = json!(catalog.limit_of_answers(u));
        (u.spec.name.clone(), document)
    });
    document["caches"] = on.chain(upstreams).chain(off).collect::<Map<_, _>>().into();
    let off = catalog.views_off.iter().map(|name| (name.clone(), json!({"off": "BindingTooNew"})));
    let views = catalog.views.values().map(|v| (v.spec.name.clone(), view(v, now)));
    let of_rows = catalog.row_views.values().map(|v| (v.spec.name.clone(), row_view(v, now)));
    document["views"] = views.chain(of_rows).chain(off).collect::<Map<_, _>>().into();
    document
}

fn source(catalog: &Catalog, feed: &Arc<Feed>, now: Tick) -> Value {
    let (evidence, state) = judge(catalog, feed, now);
    let bound = catalog.freshness.bound.as_ref();
    let age = |at: Option<Tick>| at.map(|at| millis(now.since(at)));
    let report = feed.with_report(|r| r.clone());
    json!({
        "transport": feed.spec.transport.kind(),
        "state": state,
        "reason": report.error,
        "epoch": feed.epoch(),
        "epochChanges": report.breaks.iter().map(|(why, n)| (why.as_str(), n)).collect::<BTreeMap<_, _>>(),
        "position": report.positions.iter().map(|(name, id)| (name, id.to_string())).collect::<BTreeMap<_, _>>(),
        "watermark": feed.position().map(|text| String::from_utf8_lossy(&text).into_owned()),
        "lagMs": report.lag_ms,
        "pending": report.pending,
        "vouchedBy": match bound {
            Some(bound) if !feed.is_of_database() => format!("Heartbeat{:?}", bound.heartbeat),
            _ => "Continuity".to_owned(),
        },
        "appliedThroughAgeMs": age(evidence.applied_through(bound)),
        "entries": count(&feed.stats.entries),
        "oversized": count(&feed.stats.oversized),
        "unreadable": count(&feed.stats.unreadable),
        "publishing": is_published_to(catalog, feed).then(|| publishing(feed)),
    })
}

/// Whether any cache holds what is published to a source.
pub(crate) fn is_published_to(catalog: &Catalog, feed: &Arc<Feed>) -> bool {
    catalog.caches.values().any(|cache| cache.spec.published && Arc::ptr_eq(&cache.feed, feed))
}

/// What was published through this sidecar, and what keeps it from that.
fn publishing(feed: &Feed) -> Value {
    let Desk { stats, .. } = &feed.publishing;
    let hindrance = hindrance(&feed.spec).map(str::to_owned);
    json!({
        "reason": hindrance.or_else(|| feed.publishing.error()),
        "written": count(&stats.written),
        "failed": count(&stats.failed),
        "unknown": count(&stats.unknown),
    })
}

fn cache(cache: &Cache, held_off: bool) -> Value {
    let stats = &cache.stats;
    let (hits, misses) =
        (count(&stats.hits) + count(&stats.stale_hits), count(&stats.misses) + count(&stats.stale));
    json!({
        "source": cache.feed.spec.name,
        "entries": count(&stats.entries),
        "bytes": count(&stats.bytes),
        "hits": hits,
        "misses": misses,
        // Undefined before the first read, and no number stands for that.
        "hitRatio": (hits + misses > 0).then(|| ratio(hits, hits + misses)),
        "stored": count(&stats.stored) + count(&stats.held_off),
        "fenced": count(&stats.fenced),
        "hydrated": count(&stats.hydrated),
        "imagesRefused": Refusal::ALL
            .into_iter()
            .map(|why| (why.as_str(), count(&stats.refused[why as usize])))
            .filter(|(_, n)| *n > 0)
            .collect::<BTreeMap<_, _>>(),
        "tableSeen": !cache.has_unseen_table(),
        "unseenTables": cache.unseen_tables(),
        "heldOff": held_off,
    })
}

fn upstream(upstream: &Upstream, now: Tick) -> Value {
    let stats = &upstream.stats;
    let (hits, misses) = (count(&stats.hits) + count(&stats.stale_hits), count(&stats.misses));
    let failure = upstream.fetches.last_failure();
    json!({
        "entries": count(&stats.entries),
        "bytes": count(&stats.bytes),
        "hits": hits,
        "misses": misses,
        "hitRatio": (hits + misses > 0).then(|| ratio(hits, hits + misses)),
        "stored": count(&stats.stored),
        "fenced": count(&stats.fenced),
        "upstream": {
            "url": upstream.spec.url.to_string(),
            "staleHits": count(&stats.stale_hits),
            "underWay": upstream.under_way(),
            "inBackground": count(&upstream.fetches.in_background),
            "heldForMs": upstream.held(now).map(|until| millis(until.since(now))),
            "fetches": upstream.fetches.by_outcome().collect::<BTreeMap<_, _>>(),
            "failing": failure.map(|(at, why)| json!({"why": why, "ageMs": millis(now.since(at))})),
        },
    })
}

fn view(view: &View, now: Tick) -> Value {
    let report = view.report(now);
    let missing = report.missing.iter().map(|missing| (&*missing.key, &*missing.why));
    json!({
        "cache": view.spec.cache,
        "keys": view.spec.keys.len(),
        "missing": missing.collect::<BTreeMap<_, _>>(),
        "items": report.items,
        "bytes": report.bytes,
        "wholeForMs": report.whole_since.map(|since| millis(now.since(since))),
        "hits": count(&view.stats.hits),
        "staleHits": count(&view.stats.stale_hits),
        "incomplete": count(&view.stats.incomplete),
        "ranked": count(&view.stats.ranked),
    })
}

fn row_view(view: &RowView, now: Tick) -> Value {
    let report = view.report();
    json!({
        "cache": view.spec.cache,
        "rows": report.rows,
        "incomplete": count(&view.stats.incomplete),
        "why": report.why.map(|why| why.to_string()),
        "items": report.items,
        "bytes": report.bytes,
        "wholeForMs": report.whole_since.map(|since| millis(now.since(since))),
        "hits": count(&view.stats.hits),
        "staleHits": count(&view.stats.stale_hits),
        "ranked": count(&view.stats.ranked),
    })
}

/// What the audit has found of a cache, or why it isn't audited.
fn audit(spec: &AuditSpec, cache: &Cache, now: Tick) -> Value {
    let Some(measure) = Measure::of(spec, cache) else {
        return json!({"off": "values that applications fill are compared with what audit.check.url answers, and there is none"});
    };
    let with = [(measure.images, "images"), (measure.check, "check")];
    let stats = &cache.stats.audit;
    let outcomes: BTreeMap<_, _> = stats.outcomes().collect();
    let of = |names: &[&str]| names.iter().map(|name| outcomes[name]).sum();
    let compared: u64 = of(&["consistent", "late", "inconsistent"]);
    json!({
        "comparedWith": with.into_iter().filter_map(|(is, name)| is.then_some(name)).collect::<Vec<_>>(),
        "compared": compared,
        "consistentRatio": (compared > 0).then(|| ratio(of(&["consistent"]), compared)),
        "lastInconsistentAgeMs": stats.last_inconsistent().map(|at| millis(now.since(at))),
        "outcomes": outcomes,
    })
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn ratio(part: u64, whole: u64) -> f64 {
    (part as f64 / whole as f64 * 10_000.0).round() / 10_000.0
}
