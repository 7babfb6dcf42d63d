//! What happens in the databases and in Debezium's memory of them.

use std::collections::{HashMap, HashSet};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Act, Done, Expect, healed};
use crate::process::until;
use crate::torture::shape::{Source, Table};
use crate::torture::world::PATIENCE;
use crate::torture::writer::Deed;

/// A slot that keeps a place in Postgres's log.
const BOOKMARK: &str = "torture_bookmark";

/// Debezium is killed and started again with its offsets of some time before.
pub(super) fn replay(act: &mut Act<'_>) -> Result<Done> {
    let index = act.any_pipeline();
    let stream = act.items(index);
    let (source, settings) =
        (act.world.pipelines[index].source, act.world.pipelines[index].debezium.settings().clone());
    let (offsets, slot) = (settings.offsets(), settings.slot());
    if source == Source::Postgres {
        act.world
            .postgres
            .query(&format!("SELECT pg_copy_logical_replication_slot('{slot}', '{BOOKMARK}')"))?;
    }
    let kept: HashMap<String, String> = act.world.redis().command(&["HGETALL", &offsets])?;
    ensure!(!kept.is_empty(), "no offsets in {offsets}");
    act.await_entries(&stream, 40)?;
    act.world.pipelines[index].debezium.kill()?;
    let last = last_id(act, &stream)?;
    let seen: HashSet<String> = newest(act, &stream)?.iter().filter_map(place).collect();
    if source == Source::Postgres {
        drop_slot(act, &slot)?;
        act.world
            .postgres
            .query(&format!("SELECT pg_copy_logical_replication_slot('{BOOKMARK}', '{slot}')"))?;
        drop_slot(act, BOOKMARK)?;
    }
    for (field, value) in &kept {
        act.world.redis().command::<u64>(&["HSET", &offsets, field, value])?;
    }
    act.world.restart_debezium(index)?;
    let again = until("a change comes again", PATIENCE, || {
        let again =
            since(act, &stream, &last)?.iter().filter_map(place).filter(|place| seen.contains(place)).count();
        ensure!(again > 0, "none that was there before");
        Ok(again)
    })?;
    Ok(healed(format!("{source}: {again} changes or more came again"), Expect::Any))
}

/// The slot goes and the offsets stay: Debezium has to notice that it has missed something.
pub(super) fn slot_dropped(act: &mut Act<'_>) -> Result<Done> {
    let index =
        act.world.pipelines.iter().position(|p| p.source == Source::Postgres).context("a Postgres")?;
    let slot = act.world.pipelines[index].debezium.settings().slot();
    snapshot_after(act, index, |act| drop_slot(act, &slot))
}

/// Debezium forgets everything and begins with a snapshot.
pub(super) fn resnapshot(act: &mut Act<'_>) -> Result<Done> {
    let index = act.any_pipeline();
    let pipeline = &act.world.pipelines[index];
    let (source, settings) = (pipeline.source, pipeline.debezium.settings().clone());
    let history = pipeline.debezium.folder().join("history");
    snapshot_after(act, index, |act| {
        act.world.redis().command::<u64>(&["DEL", &settings.offsets()])?;
        match source {
            Source::Postgres => drop_slot(act, &settings.slot()),
            Source::MariaDb => std::fs::remove_file(&history).context("the history of the tables"),
        }
    })
}

fn snapshot_after(act: &mut Act<'_>, index: usize, forget: impl Fn(&Act<'_>) -> Result<()>) -> Result<Done> {
    let stream = act.items(index);
    act.world.pipelines[index].debezium.kill()?;
    let last = last_id(act, &stream)?;
    // What is committed meanwhile is in no log that Debezium will read.
    act.last(500, 1500);
    forget(act)?;
    act.world.restart_debezium(index)?;
    let rows = until("rows of a snapshot", PATIENCE, || {
        let rows = since(act, &stream, &last)?.iter().filter(|value| value["op"] == "r").count();
        ensure!(rows > 0, "none");
        Ok(rows)
    })?;
    let source = act.world.pipelines[index].source;
    Ok(healed(format!("{source}: {rows} rows or more of a snapshot"), Expect::Lost(vec![source])))
}

pub(super) fn truncate(act: &mut Act<'_>) -> Result<Done> {
    deed(act, Deed::Truncate, Table::Scrap, |events| events.iter().any(|event| event.value["op"] == "t"))
}

/// Other transactions move a row each: two keys change.
pub(super) fn swaps(act: &mut Act<'_>) -> Result<Done> {
    deed(act, Deed::Swaps, Table::Item, |events| {
        let mut moved: HashMap<String, usize> = HashMap::new();
        for event in events.iter().filter(|event| event.moves) {
            *moved.entry(event.value["transaction"]["id"].to_string()).or_default() += 1;
        }
        moved.values().any(|moved| *moved > 4)
    })
}

/// PostgreSQL tells of no definition, but what is written after it has another shape in either database.
pub(super) fn redefine(act: &mut Act<'_>) -> Result<Done> {
    deed(act, Deed::Redefine, Table::Note, |events| {
        let shapes: HashSet<bool> = events
            .iter()
            .filter(|event| event.value["source"]["table"] == Table::Note.name())
            .filter_map(|event| Some(event.value["after"].as_object()?.contains_key("extra")))
            .collect();
        shapes.len() == 2
    })
}

pub(super) fn huge(act: &mut Act<'_>) -> Result<Done> {
    let rows = act.huge;
    deed(act, Deed::Huge(rows), Table::Scrap, |events| {
        events.len() >= usize::try_from(rows).unwrap_or(usize::MAX)
    })
}

/// Has a writer do something, and waits until what came since shortly before shows it.
fn deed(act: &mut Act<'_>, deed: Deed, table: Table, shows: impl Fn(&[Event]) -> bool) -> Result<Done> {
    let index = act.any_pipeline();
    let (source, stream) = (act.world.pipelines[index].source, act.world.pipelines[index].stream(table));
    let before = act.world.redis().command(&["XREVRANGE", &stream, "+", "-", "COUNT", "200"])?;
    let before: Vec<(String, Vec<String>)> = before;
    let first = before.last().map_or("-", |(id, _)| id.as_str());
    act.ask(source, deed)?;
    let came = until(&format!("what shows it in {stream}"), PATIENCE, || {
        let events = events(act, &stream, first)?;
        ensure!(shows(&events), "nothing of {} events does", events.len());
        Ok(events.len() - before.len())
    })?;
    Ok(healed(format!("{source}: {deed:?}, {came} entries meanwhile"), Expect::Any))
}

fn drop_slot(act: &Act<'_>, slot: &str) -> Result<()> {
    // It is in use until Postgres has noticed that its reader is gone.
    until("the slot is dropped", PATIENCE, || {
        act.world.postgres.query(&format!("SELECT pg_drop_replication_slot('{slot}')")).map(drop)
    })
}

fn last_id(act: &Act<'_>, stream: &str) -> Result<String> {
    let last: Vec<(String, Vec<String>)> =
        act.world.redis().command(&["XREVRANGE", stream, "+", "-", "COUNT", "1"])?;
    Ok(last.into_iter().next().context("an empty stream")?.0)
}

/// An entry with a value.
struct Event {
    value: Value,
    /// Whether it is one half of a changed key.
    moves: bool,
}

/// The entries from this one on.
fn events(act: &Act<'_>, stream: &str, from: &str) -> Result<Vec<Event>> {
    let entries: Vec<(String, Vec<String>)> = act.world.redis().command(&["XRANGE", stream, from, "+"])?;
    let event = |fields: &[String]| {
        let value = serde_json::from_str(fields.get(3)?).ok()?;
        Some(Event { value, moves: fields.iter().any(|field| field.starts_with("__DEBEZIUM.NEWKEY")) })
    };
    Ok(entries.iter().filter_map(|(_, fields)| event(fields)).collect())
}

/// The values of entries after this one.
fn since(act: &Act<'_>, stream: &str, id: &str) -> Result<Vec<Value>> {
    Ok(events(act, stream, &format!("({id}"))?.into_iter().map(|event| event.value).collect())
}

/// The values of the newest entries.
fn newest(act: &Act<'_>, stream: &str) -> Result<Vec<Value>> {
    let entries: Vec<(String, Vec<String>)> =
        act.world.redis().command(&["XREVRANGE", stream, "+", "-", "COUNT", "500"])?;
    Ok(entries.iter().filter_map(|(_, fields)| serde_json::from_str(fields.get(3)?).ok()).collect())
}

/// A row change's place in the database's log.
fn place(value: &Value) -> Option<String> {
    let source = &value["source"];
    matches!(value["op"].as_str(), Some("c" | "u" | "d"))
        .then(|| format!("{} {} {} {}", source["lsn"], source["file"], source["pos"], source["row"]))
}
