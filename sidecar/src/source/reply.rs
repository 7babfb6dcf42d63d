//! Redis's replies, read by hand: the library's own types copy every entry into maps.

use std::time::Duration;

use redis::Value;

use crate::{
    continuity::{ServerIdentity, StreamState},
    position::EntryId,
    replication::MasterLink,
    tail::{Entries, RawEntry},
};

/// A reply that isn't what the command answers.
#[derive(Debug, thiserror::Error)]
#[error("unexpected reply to {0}")]
pub(crate) struct Unexpected(pub(crate) &'static str);

/// Takes an `XREAD` reply apart: streams with their entries; nil means none.
pub(crate) fn xread(value: Value) -> Result<Entries, Unexpected> {
    const BAD: Unexpected = Unexpected("XREAD");
    match value {
        Value::Nil => Ok(Vec::new()),
        Value::Array(streams) => streams
            .into_iter()
            .map(|stream| {
                let [name, list] = pair(stream).ok_or(BAD)?;
                Ok((text(&name).ok_or(BAD)?, entries(list)?))
            })
            .collect(),
        _ => Err(BAD),
    }
}

/// Takes a list of entries apart, as `XREAD` nests and `XREVRANGE` answers it.
pub(crate) fn entries(value: Value) -> Result<Vec<RawEntry>, Unexpected> {
    const BAD: Unexpected = Unexpected("a read of a stream");
    let Value::Array(list) = value else { return Err(BAD) };
    list.into_iter()
        .map(|entry| {
            let [id, fields] = pair(entry).ok_or(BAD)?;
            let id = text(&id).and_then(|id| id.parse().ok()).ok_or(BAD)?;
            let Value::Array(fields) = fields else { return Err(BAD) };
            let mut fields = fields.into_iter();
            let mut pairs = Vec::with_capacity(fields.len() / 2);
            while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
                pairs.push((bytes(name).ok_or(BAD)?, bytes(value).ok_or(BAD)?));
            }
            Ok((id, pairs))
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
    let id = |name| field(name).and_then(text).and_then(|id| id.parse().ok()).ok_or(BAD);
    let last = id("last-generated-id")?;
    let number = |name| match field(name) {
        Some(Value::Int(number)) => u64::try_from(*number).map_err(|_| BAD),
        _ => Err(BAD),
    };
    let before = match field("first-entry") {
        Some(Value::Array(entry)) => {
            let id: Option<EntryId> = entry.first().and_then(text).and_then(|id| id.parse().ok());
            id.ok_or(BAD)?.before()
        }
        // Nil, where there is none.
        _ => last,
    };
    let (added, length, removed) = (number("entries-added")?, number("length")?, id("max-deleted-entry-id")?);
    Ok(StreamState { last, added, length, before, removed })
}

/// Reads who the server is from the texts of `INFO server` and `INFO replication`.
pub(crate) fn identity(server: &Value, replication: &Value) -> Result<ServerIdentity, Unexpected> {
    const BAD: Unexpected = Unexpected("INFO");
    Ok(ServerIdentity {
        run_id: field(server, "run_id").ok_or(BAD)?,
        replication_id: field(replication, "master_replid").ok_or(BAD)?,
        role: field(replication, "role").ok_or(BAD)?,
    })
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
