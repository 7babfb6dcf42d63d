//! Entries of change streams: whatever they are, the values that they might concern are void.
//!
//! An input is a stream's role, `T<table>`, `R`, `S` or `C`, and then its entries, each the parts name, value, name,
//! value and so on.

use std::collections::{HashMap, HashSet};

use freshet_crds::manifest;
use freshet_sidecar::{
    accounts::Accounts,
    catalog::Catalog,
    change::{Change, Op, SourceReason, TableId},
    effect::{Effect, Tables, concerned, effects},
    envelope::{Deletes, StreamRole, read},
};
use serde_json::Value;

use crate::{Bound, parts, recorded};

/// Caches of every kind over two tables.
const BINDING: &str = r"
apiVersion: freshet.dev/v1alpha1
kind: CacheBinding
metadata: {name: shop}
spec:
  sources: [{name: cdc, redisStream: {url: 'redis://redis', stream: shop.cdc}}]
  caches:
  - {name: plain, table: inventory.product}
  - {name: hydrated, table: inventory.product, onChange: Hydrate}
  - {name: typed, table: inventory.product, key: [{column: id, type: Integer}]}
  - {name: folded, table: inventory.category, key: [{column: name, type: Text, collation: CaseInsensitive}]}
  - {name: composite, table: inventory.stock}
  - {name: pages, dependsOn: [inventory.product, inventory.category]}
";

/// What an entry of an input may cost in memory, in bytes per byte: a column is two bytes of text or more and some
/// hundred bytes when read, in each cache.
const FACTOR: usize = 512;

/// The tables of the binding, with nothing learnt of them.
fn catalog() -> Catalog {
    let manifest = manifest::read(BINDING).expect("the binding is a manifest");
    Catalog::build(manifest.binding().expect("the binding is valid"), manifest.newer, None)
}

/// Reads the entries in order and looks at what comes of each.
pub(crate) fn run(input: &[u8]) {
    let catalog = catalog();
    let tables = &catalog.feeds[0].1;
    let mut groups = parts::groups(input);
    let Some(role) = groups.next().and_then(|parts| role(parts[0])) else { return };
    let mut reader = Deletes::default();
    let mut accounts = Accounts::default();
    accounts.follow(role == StreamRole::Routed, tables.keys().map(|name| TableId::of(name)).collect());
    let mut deleted: Option<Vec<u8>> = None;
    for group in groups {
        let fields: Vec<(Vec<u8>, Vec<u8>)> = group
            .chunks(2)
            .map(|pair| (pair[0].to_vec(), pair.get(1).copied().unwrap_or_default().to_vec()))
            .collect();
        let bound = Bound::of(FACTOR, &group.concat());
        let change = reader.read(&role, &fields);
        let effects: Vec<_> = effects(&change, concerned(&change, tables)).into_iter().collect();
        accounts.note(&change);
        accounts.settle();
        drop(bound);
        let concern = Concern::of(&role, &fields, deleted.as_deref());
        concern.check(&change, &effects, tables);
        images(&fields, &effects);
        deleted = match &change {
            Change::Row(row) if row.op == Op::Delete => {
                Some(parts_of(&fields).map_or(Vec::new(), |p| p.0.to_vec()))
            }
            Change::Row(_) | Change::Table { .. } | Change::Source { .. } | Change::Other => None,
            _ => deleted,
        };
        // Alone, an entry says at least as much.
        if matches!(change, Change::Source { .. }) {
            assert!(matches!(read(&role, &fields), Change::Source { .. }));
        }
    }
}

fn role(text: &[u8]) -> Option<StreamRole> {
    let (kind, name) = text.split_first()?;
    Some(match kind {
        b'T' => StreamRole::Table(std::str::from_utf8(name).ok()?.to_owned()),
        b'R' => StreamRole::Routed,
        b'S' => StreamRole::Schema,
        b'C' => StreamRole::Control,
        _ => return None,
    })
}

/// What an entry might concern, found by reading it in another, slower and more generous way.
#[derive(Debug)]
enum Concern {
    Nothing,
    Table(Vec<String>),
    Everything,
    /// It is JSON that can't be made a tree of: a number too large for one, half a surrogate pair.
    Something,
}

impl Concern {
    fn of(role: &StreamRole, fields: &[(Vec<u8>, Vec<u8>)], deleted: Option<&[u8]>) -> Self {
        let most = match role {
            StreamRole::Table(name) => Self::Table(vec![name.clone()]),
            StreamRole::Routed | StreamRole::Schema => Self::Everything,
            StreamRole::Control => return Self::Nothing,
        };
        let Some((key, value)) = parts_of(fields) else { return most };
        let text = value;
        let value = payload(text);
        if value.is_none() && serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok() {
            return if matches!(role, StreamRole::Table(_)) { most } else { Self::Something };
        }
        if value.as_ref().is_some_and(Value::is_null) {
            return if deleted == Some(key) { Self::Nothing } else { most };
        }
        if matches!(role, StreamRole::Table(_)) {
            return most;
        }
        let Some(Value::Object(value)) = value else { return most };
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let Some(source) = value.get("source") else {
            let marker = matches!(text(value.get("status")).as_deref(), Some("BEGIN" | "END"));
            let beat = value.keys().all(|name| name == "ts_ms");
            return if !value.contains_key("op") && (marker || beat) { Self::Nothing } else { most };
        };
        if text(value.get("op")).as_deref() == Some("m") && value.contains_key("message") {
            return Self::Nothing;
        }
        let change =
            || value.get("tableChanges")?.as_array()?.first()?.get("id")?.as_str().map(str::to_owned);
        if value.get("op").is_none_or(Value::is_null) {
            return change().map_or(most, |id| Self::Table(vec![id.replace('"', "")]));
        }
        let [database, schema, table] = ["db", "schema", "table"].map(|name| text(source.get(name)));
        let Some(table) = table.filter(|table| !table.is_empty()) else { return most };
        let named = |outer: Option<String>| outer.filter(|outer| !outer.is_empty());
        match (named(schema), named(database)) {
            (Some(schema), _) => Self::Table(vec![format!("{schema}.{table}")]),
            (None, Some(database)) => Self::Table(vec![format!("{database}.{table}")]),
            (None, None) => Self::Table(Vec::new()),
        }
    }

    /// Fails unless the change and its effects void all of it.
    fn check(&self, change: &Change<'_>, effects: &[Effect<'_>], tables: &Tables) {
        match self {
            Self::Nothing => {}
            Self::Something => assert!(!matches!(change, Change::Garbage(_)), "it isn't harmless"),
            // Everything is one table if the entry itself can be read.
            Self::Everything => assert!(
                matches!(
                    change,
                    Change::Source { why: SourceReason::Unreadable(_) | SourceReason::Redefined, .. }
                ),
                "it might concern anything, and is {change:?}"
            ),
            Self::Table(_) if matches!(change, Change::Source { .. }) => {}
            Self::Table(names) => {
                assert!(
                    !matches!(change, Change::Other | Change::Garbage(_) | Change::Heartbeat(_)),
                    "it concerns {names:?}, and is {change:?}"
                );
                let caches = names.iter().filter_map(|name| tables.get(name)).flat_map(|table| {
                    table
                        .rows
                        .iter()
                        .map(|cache| (cache, true))
                        .chain(table.dependents.iter().map(|c| (c, false)))
                });
                for (cache, of_rows) in caches {
                    let voided = effects.iter().any(|effect| match effect {
                        Effect::VoidCache { cache: voided, .. } => voided.id == cache.id,
                        Effect::VoidRow { cache: voided, .. } => of_rows && voided.id == cache.id,
                        _ => false,
                    });
                    assert!(
                        voided || of_rows && is_unaddressable(change),
                        "{} isn't void after {change:?}: {effects:?}",
                        cache.spec.name
                    );
                }
            }
        }
    }
}

/// Whether no request can ask for the row: a column of its key is null.
fn is_unaddressable(change: &Change<'_>) -> bool {
    match change {
        Change::Row(row) | Change::Tombstone(row) => {
            row.key.iter().flatten().any(|(_, scalar)| format!("{scalar:?}") == "Null")
        }
        _ => false,
    }
}

/// Fails unless every image that may become a value is its event's own, whole and new.
fn images(fields: &[(Vec<u8>, Vec<u8>)], effects: &[Effect<'_>]) {
    let mut voided = HashSet::new();
    for effect in effects {
        match effect {
            Effect::VoidRow { cache, key } => _ = voided.insert((cache.id, key.as_str())),
            Effect::Hydrate { cache, key, image, .. } => {
                assert!(voided.contains(&(cache.id, key.as_str())), "an image comes after its row's void");
                let (_, value) = parts_of(fields).expect("an image comes from an event");
                let (Some(event), Ok(image)) = (payload(value), serde_json::from_str::<Value>(image)) else {
                    continue;
                };
                assert_eq!(event["after"], image);
                assert!(matches!(event["op"].as_str(), Some("c" | "u")), "{}", event["op"]);
                assert!(event["source"]["snapshot"].is_null());
                assert!(!image.to_string().contains("__debezium_unavailable_value"));
            }
            _ => {}
        }
    }
}

/// The key and the value of an entry of either format.
fn parts_of(fields: &[(Vec<u8>, Vec<u8>)]) -> Option<(&[u8], &[u8])> {
    let field = |name: &[u8]| fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_slice());
    match fields {
        [(key, value)] => Some((key, value)),
        _ => Some((field(b"key")?, field(b"value")?)),
    }
}

/// JSON, without the schema around it; null is the sink's word for it as well.
fn payload(bytes: &[u8]) -> Option<Value> {
    if bytes == b"default" {
        return Some(Value::Null);
    }
    let value: Value = serde_json::from_slice(bytes).ok()?;
    match value {
        Value::Object(mut wrapped)
            if wrapped.len() == 2
                && wrapped.get("schema").is_some_and(Value::is_object)
                && wrapped.contains_key("payload") =>
        {
            wrapped.remove("payload")
        }
        other => Some(other),
    }
}

/// Every kind of entry that was recorded, in streams of its own and in one for all, and some that never were.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (_, entries) in recorded::recordings().expect("the recordings are there") {
        for routed in [false, true] {
            let mut streams: HashMap<String, Vec<Vec<Vec<u8>>>> = HashMap::new();
            for entry in &entries {
                let role = match entry.stream.as_str() {
                    "shop.cdc" => "R".to_owned(),
                    _ if routed => "R".to_owned(),
                    "shop" => "S".to_owned(),
                    other => match other.strip_prefix("shop.").filter(|name| name.contains('.')) {
                        Some(table) => format!("T{table}"),
                        None => "C".to_owned(),
                    },
                };
                let fields = entry.fields.iter();
                let fields =
                    fields.flat_map(|(name, value)| [name.clone().into_bytes(), value.clone().into_bytes()]);
                streams.entry(role).or_default().push(fields.collect());
            }
            // Two at a time, so that a tombstone follows its delete.
            for (role, entries) in streams {
                for pair in entries.windows(2) {
                    let mut groups = vec![vec![role.clone().into_bytes()]];
                    groups.extend(pair.iter().cloned());
                    seeds.push(parts::join(&groups));
                }
            }
        }
    }
    seeds.sort();
    seeds.dedup();
    seeds.retain(|seed| seed.len() <= 16 << 10);
    for (role, key, value) in TRAPS {
        seeds.push(parts::join(&[vec![*role], vec![*key, *value]]));
    }
    seeds
}

const TRAPS: &[(&str, &str, &str)] = &[
    ("Tinventory.product", "default", "default"),
    ("R", "{\"id\":1}", "null"),
    (
        "Tinventory.product",
        "{\"id\":1}",
        "{\"status\":\"BEGIN\",\"event_count\":null,\"data_collections\":null}",
    ),
    ("R", "{\"id\":1}", "{\"status\":\"BEGIN\",\"op\":\"c\",\"event_count\":null,\"data_collections\":null}"),
    ("R", "{\"serverName\":\"a\"}", "{\"ts_ms\":1,\"op\":\"c\"}"),
    ("R", "{\"id\":1}", "{\"op\":\"x\",\"source\":{\"schema\":\"inventory\",\"table\":\"product\"}}"),
    ("R", "{\"id\":null}", "{\"op\":\"d\",\"source\":{\"schema\":\"inventory\",\"table\":\"product\"}}"),
    ("R", "{\"id\":[1]}", "{\"op\":\"d\",\"source\":{\"schema\":\"inventory\",\"table\":\"product\"}}"),
    ("R", "[1]", "{\"op\":\"d\",\"source\":{\"schema\":\"inventory\",\"table\":\"product\"}}"),
    (
        "R",
        "{\"id\":1}",
        "{\"op\":\"d\",\"source\":{\"db\":\"inventory\",\"table\":\"product\",\"file\":\"b.1\",\"pos\":4}}",
    ),
    (
        "R",
        "{\"id\":1}",
        "{\"source\":{},\"ddl\":\"\",\"tableChanges\":[{\"id\":\"\\\"inventory\\\".\\\"product\\\"\"}]}",
    ),
    ("S", "{}", "{\"source\":{},\"tableChanges\":[]}"),
];
