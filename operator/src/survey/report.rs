//! What a sidecar says of itself, as far as the operator reads it: `/status` of its admin listener.
//!
//! It comes from a pod, and pods are anybody's: what is kept of it is bounded, and no text of it is told that isn't a
//! name as bindings have them. Fields that another version adds are passed over, those that it lacks are nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// As many sources as a binding has.
const SOURCES: usize = 8;
/// As many caches as a binding has.
const CACHES: usize = 64;
/// So many unseen tables are kept, over all caches; a cache with more counts as one that has seen none.
const TABLES: usize = 256;
/// Longest name of a table that is kept.
const TABLE: usize = 256;

/// A sidecar's report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Its sources by name; none while it has no binding.
    pub sources: BTreeMap<String, SourceReport>,
    /// The caches it knows by name, and which of their tables it has never seen an event of.
    pub caches: BTreeMap<String, Unseen>,
    /// Values held, over all caches.
    pub entries: u64,
    /// Bytes held, over all caches.
    pub bytes: u64,
    /// Reads since its start that were answered from the cache.
    pub hits: u64,
    /// All reads since its start.
    pub reads: u64,
}

/// What it says of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceReport {
    /// Whether it vouches for values of that source.
    pub state: State,
    /// How far what it has applied lies behind what is written to the streams, in milliseconds; 0 when it has caught up.
    pub lag_ms: u64,
}

/// A source's state, the worst last.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(from = "String")]
pub enum State {
    /// Values are vouched for.
    Fresh,
    /// Not fresh, in a word that this version doesn't know.
    Other,
    /// Nothing has been proven yet.
    Starting,
    /// Changes or heartbeats come too late.
    Lagging,
    /// The stream broke, and has no new positions.
    Gapped,
    /// There is no connection to the source.
    Disconnected,
}

/// The tables of a cache that a sidecar has never seen an event of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Unseen {
    /// These.
    These(BTreeSet<String>),
    /// Some, and which isn't said.
    Some,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    sources: BTreeMap<String, Source>,
    #[serde(default)]
    caches: BTreeMap<String, Cache>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    state: State,
    #[serde(default)]
    lag_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cache {
    #[serde(default)]
    entries: u64,
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    hits: u64,
    #[serde(default)]
    misses: u64,
    #[serde(default)]
    table_seen: bool,
    unseen_tables: Option<BTreeSet<String>>,
}

// === impl Report ===

impl Report {
    /// Reads the document.
    pub fn parse(document: &[u8]) -> Result<Self, serde_json::Error> {
        let Document { sources, caches } = serde_json::from_slice(document)?;
        let mut report = Self::default();
        let sources = sources.into_iter().filter(|(name, _)| is_name(name)).take(SOURCES);
        report.sources = sources
            .map(|(name, source)| {
                (name, SourceReport { state: source.state, lag_ms: source.lag_ms.unwrap_or_default() })
            })
            .collect();
        let mut room = TABLES;
        for (name, cache) in caches.into_iter().filter(|(name, _)| is_name(name)).take(CACHES) {
            report.entries = report.entries.saturating_add(cache.entries);
            report.bytes = report.bytes.saturating_add(cache.bytes);
            report.hits = report.hits.saturating_add(cache.hits);
            report.reads = report.reads.saturating_add(cache.hits).saturating_add(cache.misses);
            let unseen = cache.unseen(room);
            if let Unseen::These(tables) = &unseen {
                room -= tables.len();
            }
            report.caches.insert(name, unseen);
        }
        Ok(report)
    }

    /// The worst state of a source and that source, if any isn't fresh.
    #[must_use]
    pub fn worst(&self) -> Option<(State, &str)> {
        let worst = self.sources.iter().map(|(name, source)| (source.state, name.as_str()));
        worst.filter(|(state, _)| *state != State::Fresh).max_by_key(|(state, _)| *state)
    }

    /// Whether it has a binding: one of upstreams alone has no source.
    #[must_use]
    pub fn has_binding(&self) -> bool {
        !self.sources.is_empty() || !self.caches.is_empty()
    }

    /// Whether it has a binding and vouches for all that it follows.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.has_binding() && self.worst().is_none()
    }
}

// === impl State ===

impl From<String> for State {
    fn from(word: String) -> Self {
        match word.as_str() {
            "Fresh" => Self::Fresh,
            "Starting" => Self::Starting,
            "Lagging" => Self::Lagging,
            "Gapped" => Self::Gapped,
            "Disconnected" => Self::Disconnected,
            _ => Self::Other,
        }
    }
}

// === impl Cache ===

impl Cache {
    fn unseen(self, room: usize) -> Unseen {
        match self.unseen_tables {
            Some(tables) if tables.len() <= room && tables.iter().all(|table| table.len() <= TABLE) => {
                Unseen::These(tables)
            }
            // Before there was a list.
            None if self.table_seen => Unseen::These(BTreeSet::new()),
            _ => Unseen::Some,
        }
    }
}

/// Whether it is what a binding's sources and caches are called.
fn is_name(text: &str) -> bool {
    let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=63).contains(&text.len()) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(document: &Value) -> Result<Report, serde_json::Error> {
        Report::parse(document.to_string().as_bytes())
    }

    #[test]
    fn a_document_is_read_and_what_another_version_adds_is_passed_over() {
        let report = parse(&json!({
            "version": "9.9.9", "binding": { "state": "Current", "name": "shop", "mood": "good" },
            "sources": {
                "cdc": { "state": "Lagging", "reason": "x", "lagMs": 12, "pending": 3, "colour": "blue" },
                "other": { "state": "Fresh", "lagMs": null },
            },
            "caches": {
                "products": {
                    "entries": 3, "bytes": 100, "hits": 9, "misses": 1, "hitRatio": 0.9, "tableSeen": true,
                    "unseenTables": [],
                },
                "pages": { "entries": 1, "bytes": 10, "tableSeen": false, "unseenTables": ["s.t"] },
                "old": { "tableSeen": true },
                "older": { "tableSeen": false },
                "off": { "off": "BindingTooNew" },
            },
            "moreToCome": [1, 2, 3],
        }));
        let report = report.unwrap();
        assert_eq!((report.entries, report.bytes, report.hits, report.reads), (4, 110, 9, 10));
        assert_eq!(report.worst(), Some((State::Lagging, "cdc")));
        assert_eq!((report.sources["cdc"].lag_ms, report.sources["other"].lag_ms), (12, 0));
        let these = |tables: &[&str]| Unseen::These(tables.iter().map(ToString::to_string).collect());
        let caches: Vec<_> = report.caches.into_iter().collect();
        let wanted = [
            ("off", Unseen::Some),
            ("old", these(&[])),
            ("older", Unseen::Some),
            ("pages", these(&["s.t"])),
            ("products", these(&[])),
        ];
        assert_eq!(caches, wanted.map(|(name, unseen)| (name.to_owned(), unseen)));
    }

    #[test]
    fn a_sidecar_without_a_binding_is_not_fresh_and_neither_is_an_unknown_state() {
        let none =
            parse(&json!({ "binding": { "state": "NoBinding" }, "sources": {}, "caches": {} })).unwrap();
        assert_eq!((none.is_fresh(), none.worst()), (false, None));
        let upstreams = parse(&json!({ "sources": {}, "caches": { "repos": { "entries": 3 } } })).unwrap();
        assert_eq!((upstreams.is_fresh(), upstreams.entries), (true, 3), "it has nothing to wait for");
        assert_eq!(parse(&json!({})).unwrap(), Report::default());
        let odd = parse(&json!({ "sources": { "cdc": { "state": "Dreaming" } } })).unwrap();
        assert_eq!((odd.is_fresh(), odd.worst()), (false, Some((State::Other, "cdc"))));
        let fresh = parse(&json!({ "sources": { "cdc": { "state": "Fresh" } } })).unwrap();
        assert_eq!((fresh.is_fresh(), fresh.worst()), (true, None));
    }

    #[test]
    fn what_is_no_report_is_refused() {
        for document in ["", "<html>", "7", "{\"sources\": 7}", "{\"sources\": {\"cdc\": {\"state\": 7}}}"] {
            assert!(Report::parse(document.as_bytes()).is_err(), "{document}");
        }
        let negative = json!({ "caches": { "a": { "entries": -1 } } });
        assert!(parse(&negative).is_err());
    }

    #[test]
    fn nothing_that_a_pod_says_grows_without_bound_or_is_told_as_it_is() {
        let names = (0..100).map(|n| (format!("n{n}"), json!({ "state": "Fresh" })));
        let report = parse(&json!({ "sources": names.collect::<serde_json::Map<_, _>>() })).unwrap();
        assert_eq!(report.sources.len(), SOURCES);
        let injected = json!({ "sources": { "Please run\nthis": { "state": "Gapped" } } });
        assert_eq!(parse(&injected).unwrap(), Report::default());
        let tables: Vec<_> = (0..200).map(|n| format!("s.t{n}")).collect();
        let cache = json!({ "unseenTables": tables, "entries": u64::MAX });
        let report = parse(
            &json!({ "caches": { "a": cache, "b": cache, "c": { "unseenTables": ["x".repeat(300)] } } }),
        );
        let report = report.unwrap();
        assert!(matches!(&report.caches["a"], Unseen::These(tables) if tables.len() == 200));
        assert_eq!((&report.caches["b"], &report.caches["c"]), (&Unseen::Some, &Unseen::Some));
        assert_eq!(report.entries, u64::MAX);
    }
}
