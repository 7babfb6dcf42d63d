//! Redis's replies, read by hand: the library's own types copy every entry into maps.

use std::time::Duration;

use redis::Value;

use crate::{
    continuity::{ServerIdentity, StreamState},
    position::{EntryId, Place},
    record::{Batch, Reading, Record},
    replication::MasterLink,
};

/// A reply that isn't what the command answers.
#[derive(Debug, thiserror::Error)]
#[error("unexpected reply to {0}")]
pub(crate) struct Unexpected(pub(crate) &'static str);

/// Takes the reply apart of an `XREAD` of `count` entries: streams with their entries; nil means none.
pub(crate) fn xread(value: Value, count: usize) -> Result<Reading, Unexpected> {
    const BAD: Unexpected = Unexpected("XREAD");
    let streams = match value {
        Value::Nil => Vec::new(),
        Value::Array(streams) => streams,
        _ => return Err(BAD),
    };
    let mut reading = Reading { batches: Vec::with_capacity(streams.len()), at_end: true };
    for stream in streams {
        let [name, list] = pair(stream).ok_or(BAD)?;
        let records = entries(list)?;
        reading.at_end &= records.len() < count;
        reading.batches.push(Batch { stream: text(&name).ok_or(BAD)?, records, through: None });
    }
    Ok(reading)
}

/// Takes a list of entries apart, as `XREAD` nests and `XREVRANGE` answers it.
pub(crate) fn entries(value: Value) -> Result<Vec<Record>, Unexpected> {
    const BAD: Unexpected = Unexpected("a read of a stream");
    let Value::Array(list) = value else { return Err(BAD) };
    list.into_iter()
        .map(|entry| {
            let [id, values] = pair(entry).ok_or(BAD)?;
            let id: EntryId = text(&id).and_then(|id| id.parse().ok()).ok_or(BAD)?;
            let Value::Array(values) = values else { return Err(BAD) };
            let mut values = values.into_iter();
            let mut fields = Vec::with_capacity(values.len() / 2);
            while let (Some(name), Some(value)) = (values.next(), values.next()) {
                fields.push((bytes(name).ok_or(BAD)?, bytes(value).ok_or(BAD)?));
            }
            Ok(Record { place: id.into(), written_ms: Some(id.ms), fields })
        })
        .collect()
}

/// Reads `XINFO STREAM`'s flat list of names and values.
pub(crate) fn stream_state(value: Value) -> Result<StreamState, Unexpected> {
    const BAD: Unexpected = Unexpected("XINFO STREAM (Redis 7.0 or newer is needed)");
    let pairs: Vec<(Value, Value)> = match value {
        Value::Map(pairs) => pairs,
        Value::Array(list) => {
            let mut list = list.into_iter();
            std::iter::from_fn(|| Some((list.next()?, list.next()?))).collect()
        }
        _ => return Err(BAD),
    };
    let field = |name: &str| pairs.iter().find(|(n, _)| text(n).as_deref() == Some(name)).map(|(_, v)| v);
    let id = |name| {
        Ok(Place::from(field(name).and_then(text).and_then(|id| id.parse::<EntryId>().ok()).ok_or(BAD)?))
    };
    let last = id("last-generated-id")?;
    let number = |name| match field(name) {
        Some(Value::Int(number)) => u64::try_from(*number).map_err(|_| BAD),
        _ => Err(BAD),
    };
    let before = match field("first-entry") {
        Some(Value::Array(entry)) => {
            let id: Option<EntryId> = entry.first().and_then(text).and_then(|id| id.parse().ok());
            Place::from(id.ok_or(BAD)?).before()
        }
        // Nil, where there is none.
        _ => last,
    };
    let (added, length, removed) = (number("entries-added")?, number("length")?, id("max-deleted-entry-id")?);
    Ok(StreamState { last, added: Some(added), length, before, removed, incarnation: None })
}

/// Reads who the server is from the texts of `INFO server` and `INFO replication`, and whether it is a master.
///
/// `run_id` is new with every start of a server, `master_replid` with every promotion and with every start without a
/// replica's memory.
pub(crate) fn identity(server: &Value, replication: &Value) -> Result<(ServerIdentity, bool), Unexpected> {
    const BAD: Unexpected = Unexpected("INFO");
    let run_id = field(server, "run_id").ok_or(BAD)?;
    let replication_id = field(replication, "master_replid").ok_or(BAD)?;
    let role = field(replication, "role").ok_or(BAD)?;
    let history = format!("{run_id} {replication_id} {role}");
    Ok((ServerIdentity { history, connection: None }, role == "master"))
}

/// Reads a replica's link to its master from the text of `INFO replication`; `None` of a master.
pub(crate) fn master_link(replication: &Value) -> Result<Option<MasterLink>, Unexpected> {
    const BAD: Unexpected = Unexpected("INFO");
    if field(replication, "role").ok_or(BAD)? == "master" {
        return Ok(None);
    }
    let number = |name| field(replication, name)?.parse().ok();
    Ok(Some(MasterLink {
        up: field(replication, "master_link_status").is_some_and(|status| status == "up"),
        // -1 where there is none, and then the link isn't up.
        silent: Duration::from_secs(number("master_last_io_seconds_ago").unwrap_or_default()),
        offset: number("slave_repl_offset").unwrap_or_default(),
    }))
}

/// Whether a server is a node of a Cluster, from the text of `INFO cluster`.
pub(crate) fn is_of_cluster(cluster: &Value) -> bool {
    field(cluster, "cluster_enabled").is_some_and(|enabled| enabled == "1")
}

/// The value of a line of `INFO`.
fn field(info: &Value, name: &str) -> Option<String> {
    let info = text(info)?;
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(|v| v.trim().to_owned())
}

fn pair(value: Value) -> Option<[Value; 2]> {
    match value {
        Value::Array(list) => list.try_into().ok(),
        _ => None,
    }
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.into_bytes()),
        _ => None,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.clone()),
        _ => None,
    }
}
