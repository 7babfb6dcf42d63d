//! What a sidecar counts, as OpenMetrics. Everything is read from the engine when it is scraped, so that
//! counting costs the hot path one relaxed addition.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use freshet_crds::binding::ViewSpec;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use crate::{
    audit::Measure,
    catalog::{Cache, Catalog},
    clock::Tick,
    coherence::Refusal,
    engine::Engine,
    status,
    store::count,
};

/// The API's connections.
#[derive(Debug, Default)]
pub struct ConnectionStats {
    open: AtomicU64,
    accepted: AtomicU64,
    cut: AtomicU64,
}

impl ConnectionStats {
    pub(crate) fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Notes a client that was too slow.
    pub(crate) fn cut(&self) {
        self.cut.fetch_add(1, Ordering::Relaxed);
    }
}

/// The text of a scrape.
#[must_use]
pub fn scrape(engine: &Arc<Engine>, connections: &Arc<ConnectionStats>) -> String {
    let mut registry = Registry::with_prefix("freshet");
    registry.register_collector(Box::new(Metrics {
        engine: Arc::clone(engine),
        connections: Arc::clone(connections),
    }));
    let mut out = String::new();
    // Writing to a String can't fail.
    let _ = text::encode(&mut out, &registry);
    out
}

#[derive(Debug)]
struct Metrics {
    engine: Arc<Engine>,
    connections: Arc<ConnectionStats>,
}

type Labels<'a> = Vec<(&'static str, String)>;

struct Sheet<'a>(DescriptorEncoder<'a>);

impl Sheet<'_> {
    fn family<M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        kind: MetricType,
        rows: impl IntoIterator<Item = (Labels<'static>, M)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit, kind)?;
        for (labels, value) in rows {
            if labels.is_empty() {
                return value.encode(metric);
            }
            value.encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'static>, u64)>,
    ) -> fmt::Result {
        let rows = rows.into_iter().map(|(labels, n)| (labels, ConstCounter::new(n)));
        self.family(name, help, None, MetricType::Counter, rows)
    }

    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        rows: impl IntoIterator<Item = (Labels<'static>, f64)>,
    ) -> fmt::Result {
        let rows = rows.into_iter().map(|(labels, n)| (labels, ConstGauge::new(n)));
        self.family(name, help, unit, MetricType::Gauge, rows)
    }
}

#[expect(clippy::cast_precision_loss, reason = "what is counted here stays far below 2^53")]
fn float(n: u64) -> f64 {
    n as f64
}

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet(encoder);
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        sheet.gauges("build_info", "What is running", None, [(version, 1.0)])?;
        let c = &self.connections;
        sheet.gauges(
            "connections",
            "Open connections of the API",
            None,
            [(vec![], float(count(&c.open)))],
        )?;
        sheet.counters(
            "connections_accepted",
            "Connections the API accepted",
            [(vec![], count(&c.accepted))],
        )?;
        sheet.counters(
            "connections_cut",
            "Connections cut because the client was too slow",
            [(vec![], count(&c.cut))],
        )?;
        let events = &self.engine.events;
        let streams = float(count(&events.stats.streams));
        sheet.gauges("event_streams", "Open streams of events", None, [(vec![], streams)])?;
        sheet.counters("events", "Events told since somebody first listened", [(vec![], events.count())])?;
        let resets = events.stats.resets().map(|(why, n)| (vec![("reason", why.to_owned())], n));
        sheet.counters("event_resets", "Streams that were told to take everything for changed", resets)?;
        let Some(catalog) = self.engine.catalog() else { return Ok(()) };
        caches(&mut sheet, &catalog)?;
        upstreams(&mut sheet, &catalog)?;
        views(&mut sheet, &catalog)?;
        audits(&mut sheet, &catalog)?;
        sources(&mut sheet, &catalog)?;
        let memory = [("limit", catalog.memory), ("used", self.engine.weight())];
        let memory = memory.map(|(kind, bytes)| (vec![("kind", kind.to_owned())], float(bytes)));
        sheet.gauges("memory", "Bytes of cached data over all caches", Some(&Unit::Bytes), memory)
    }
}

fn caches(sheet: &mut Sheet<'_>, catalog: &Catalog) -> fmt::Result {
    let tables = || catalog.caches.values().map(|cache| (cache.spec.name.clone(), &cache.stats));
    let upstreams = || catalog.upstreams.values().map(|u| (u.spec.name.clone(), &u.stats));
    let caches = || tables().chain(upstreams());
    let requests = caches().flat_map(|(name, s)| {
        [("hit", &s.hits), ("stale-hit", &s.stale_hits), ("miss", &s.misses), ("stale", &s.stale)]
            .map(|(outcome, n)| (vec![("cache", name.clone()), ("outcome", outcome.to_owned())], count(n)))
    });
    sheet.counters("cache_requests", "Reads by outcome", requests)?;
    let fills = tables().flat_map(|(name, s)| {
        [
            ("stored", &s.stored),
            ("held-off", &s.held_off),
            ("expired", &s.expired),
            ("fenced", &s.fenced),
            ("refused", &s.fills_refused),
        ]
        .map(|(outcome, n)| (vec![("cache", name.clone()), ("outcome", outcome.to_owned())], count(n)))
    });
    sheet.counters("fills", "Fills by outcome", fills)?;
    let hydrated = tables().map(|(name, s)| (vec![("cache", name)], count(&s.hydrated)));
    sheet.counters("hydrations", "Values that came from a change's image", hydrated)?;
    let refused = tables().flat_map(|(name, s)| {
        Refusal::ALL.map(|why| {
            let labels = vec![("cache", name.clone()), ("reason", why.as_str().to_owned())];
            (labels, count(&s.refused[why as usize]))
        })
    });
    sheet.counters("images_refused", "Images of changes that didn't become values", refused)?;
    let entries = caches().map(|(name, s)| (vec![("cache", name)], float(count(&s.entries))));
    sheet.gauges("cache_entries", "Values held", None, entries)?;
    let bytes = caches().map(|(name, s)| (vec![("cache", name)], float(count(&s.bytes))));
    sheet.gauges("cache", "Bytes held, keys and overhead included", Some(&Unit::Bytes), bytes)?;
    let limits = catalog.caches.values();
    let limits = limits.map(|c| (&c.spec.name, catalog.limit(c)));
    let answers = catalog.upstreams.values().map(|u| (&u.spec.name, catalog.limit_of_answers(u)));
    let limits = limits.chain(answers).map(|(name, most)| (vec![("cache", name.clone())], float(most)));
    let help = "Bytes that may be held: the cache's share, or what all caches without one have together";
    sheet.gauges("cache_limit", help, Some(&Unit::Bytes), limits)
}

/// What is asked of upstreams.
fn upstreams(sheet: &mut Sheet<'_>, catalog: &Catalog) -> fmt::Result {
    let now = Tick::now();
    let upstreams = || catalog.upstreams.values().map(|u| (vec![("cache", u.spec.name.clone())], u));
    let outcomes = upstreams().flat_map(|(labels, u)| {
        let with = move |outcome: &str| [labels.as_slice(), &[("outcome", outcome.to_owned())]].concat();
        u.fetches.by_outcome().map(move |(outcome, n)| (with(outcome), n))
    });
    sheet.counters("upstream_fetches", "Answers fetched from upstreams, by what came out", outcomes)?;
    let background = upstreams().map(|(labels, u)| (labels, count(&u.fetches.in_background)));
    let help = "Fetches that were begun for nobody who waited: refreshes, and behind what was served stale";
    sheet.counters("upstream_background_fetches", help, background)?;
    let under_way = upstreams().map(|(labels, u)| (labels, float(u.under_way() as u64)));
    sheet.gauges("upstream_fetches_under_way", "Fetches under way", None, under_way)?;
    let left_alone = upstreams()
        .map(|(labels, u)| (labels, u.held(now).map_or(0.0, |until| until.since(now).as_secs_f64())));
    let help = "For how long the upstream takes no more requests, as it has said";
    sheet.gauges("upstream_held", help, Some(&Unit::Seconds), left_alone)?;
    let durations = upstreams().map(|(labels, u)| (labels, &u.fetches.durations));
    let help = "How long fetches took, failed ones included";
    sheet.family("upstream_fetch_duration", help, Some(&Unit::Seconds), MetricType::Histogram, durations)
}

/// What is made of upstreams' answers, and of rows.
fn views(sheet: &mut Sheet<'_>, catalog: &Catalog) -> fmt::Result {
    let now = Tick::now();
    let of_answers: Vec<_> = catalog.views.values().map(|view| (view, view.report(now))).collect();
    let of_rows: Vec<_> = catalog.row_views.values().map(|view| (view, view.report())).collect();
    let label = |spec: &ViewSpec| vec![("view", spec.name.clone())];
    let all: Vec<_> = of_answers
        .iter()
        .map(|(view, r)| (&view.spec, &view.stats, r.whole_since, r.items, r.bytes))
        .chain(of_rows.iter().map(|(view, r)| (&view.spec, &view.stats, r.whole_since, r.items, r.bytes)))
        .collect();
    let requests = all.iter().flat_map(|(spec, s, ..)| {
        [("hit", &s.hits), ("stale-hit", &s.stale_hits), ("incomplete", &s.incomplete)]
            .map(|(outcome, n)| ([label(spec), vec![("outcome", outcome.to_owned())]].concat(), count(n)))
    });
    sheet.counters("view_requests", "Reads of views by outcome", requests)?;
    let ranked = all.iter().map(|(spec, s, ..)| (label(spec), count(&s.ranked)));
    sheet.counters("views_ranked", "How often a view's items were ranked", ranked)?;
    let whole = all.iter().map(|(spec, _, since, ..)| (label(spec), float(u64::from(since.is_some()))));
    sheet.gauges("view_whole", "Whether all of a view is there: 1 or 0", None, whole)?;
    let missing = of_answers.iter().map(|(view, r)| (label(&view.spec), float(r.missing.len() as u64)));
    sheet.gauges("view_missing_keys", "Keys of a view whose answers are missing", None, missing)?;
    let items = all.iter().map(|(spec, _, _, items, _)| (label(spec), float(*items as u64)));
    sheet.gauges("view_items", "Items ranked, those beyond the limit included", None, items)?;
    let bytes = all.iter().map(|(spec, .., bytes)| (label(spec), float(*bytes)));
    let help =
        "Bytes of the answers or rows that a view needs, which others may share, and of what was ranked";
    sheet.gauges("view", help, Some(&Unit::Bytes), bytes)
}

/// What the audit has found, of the caches that it looks at.
fn audits(sheet: &mut Sheet<'_>, catalog: &Catalog) -> fmt::Result {
    let audited = || {
        let is_audited = |cache: &&Arc<Cache>| {
            catalog.audit.as_ref().is_some_and(|spec| Measure::of(spec, cache).is_some())
        };
        let caches = catalog.caches.values().filter(is_audited);
        caches.map(|cache| (vec![("cache", cache.spec.name.clone())], &cache.stats.audit))
    };
    let outcomes = audited().flat_map(|(labels, stats)| {
        let with = move |outcome: &str| [labels.as_slice(), &[("outcome", outcome.to_owned())]].concat();
        stats.outcomes().map(move |(outcome, n)| (with(outcome), n))
    });
    sheet.counters("audits", "Looks at what is served, by what came out", outcomes)?;
    let late = audited().map(|(labels, stats)| (labels, &stats.late));
    let help = "How long values that differed were seen before they were gone";
    sheet.family("audit_late", help, Some(&Unit::Seconds), MetricType::Histogram, late)
}

fn sources(sheet: &mut Sheet<'_>, catalog: &Catalog) -> fmt::Result {
    let now = Tick::now();
    let feeds = || catalog.feeds.iter().map(|(feed, _)| (vec![("source", feed.spec.name.clone())], feed));
    let with = |labels: &Labels<'static>, name, value: &str| {
        let mut labels = labels.clone();
        labels.push((name, value.to_owned()));
        labels
    };
    let changes = feeds().flat_map(|(labels, feed)| {
        let s = &feed.stats;
        let kinds = [
            ("row", &s.rows),
            ("table", &s.tables),
            ("oversized", &s.oversized),
            ("heartbeat", &s.heartbeats),
            ("unreadable", &s.unreadable),
        ];
        kinds.map(|(kind, n)| (with(&labels, "kind", kind), count(n)))
    });
    sheet.counters("changes", "Changes applied, by kind", changes)?;
    let entries = feeds().map(|(labels, feed)| (labels, count(&feed.stats.entries)));
    sheet.counters("source_entries", "Entries applied", entries)?;
    let connects = feeds().map(|(labels, feed)| (labels, count(&feed.stats.connects)));
    sheet.counters("source_connects", "Connections made to the source", connects)?;
    let epoch = feeds().map(|(labels, feed)| (labels, float(feed.epoch())));
    sheet.gauges("source_epoch", "Unbroken stretches of the stream so far", None, epoch)?;
    let breaks = feeds().flat_map(|(labels, feed)| {
        let breaks = feed.with_report(|r| r.breaks.clone());
        breaks.into_iter().map(move |(why, n)| (with(&labels, "reason", why.as_str()), n)).collect::<Vec<_>>()
    });
    sheet.counters("source_epoch_changes", "New epochs, by reason", breaks)?;
    let states = feeds().flat_map(|(labels, feed)| {
        let (_, current) = status::judge(catalog, feed, now);
        ["Starting", "Fresh", "Lagging", "Disconnected", "Gapped"]
            .map(|state| (with(&labels, "state", state), f64::from(u8::from(state == current))))
    });
    sheet.gauges("source_state", "1 for the state that the source is in", None, states)?;
    let pending = feeds().map(|(labels, feed)| (labels, float(feed.with_report(|r| r.pending))));
    sheet.gauges("source_pending_entries", "Entries added and not yet applied", None, pending)?;
    let lag = feeds().map(|(labels, feed)| (labels, float(feed.with_report(|r| r.lag_ms)) / 1000.0));
    sheet.gauges("change_lag", "How far what is applied lies behind", Some(&Unit::Seconds), lag)?;
    let delays = feeds().map(|(labels, feed)| (labels, &feed.delays));
    let help = "From an entry's id to its application";
    sheet.family("change_delay", help, Some(&Unit::Seconds), MetricType::Histogram, delays)?;
    let publishing = || feeds().filter(|(_, feed)| status::is_published_to(catalog, feed));
    let published = publishing().flat_map(|(labels, feed)| {
        let s = &feed.publishing.stats;
        [("written", &s.written), ("failed", &s.failed), ("unknown", &s.unknown)]
            .map(|(outcome, n)| (with(&labels, "outcome", outcome), count(n)))
    });
    sheet.counters("published", "What was published through this sidecar, by what came out", published)?;
    let durations = publishing().map(|(labels, feed)| (labels, &feed.publishing.stats.durations));
    let help = "How long requests to publish took until the source had all of it";
    sheet.family("publish_duration", help, Some(&Unit::Seconds), MetricType::Histogram, durations)?;
    let bound = catalog.freshness.bound.as_ref();
    let ages = feeds().filter_map(|(labels, feed)| {
        let at = status::judge(catalog, feed, now).0.applied_through(bound)?;
        Some((labels, now.since(at).as_secs_f64()))
    });
    sheet.gauges("applied_through_age", "Age of the newest proof of freshness", Some(&Unit::Seconds), ages)
}
