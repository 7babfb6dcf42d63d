//! What happens in the databases and in Debezium's memory of them.

use std::collections::{HashMap, HashSet};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Act, Done, Expect, healed};
use crate::process::until;
use crate::torture::carrier::Entry;
use crate::torture::shape::{Source, Table};
use crate::torture::world::PATIENCE;
use crate::torture::writer::Deed;

/// A slot that keeps a place in Postgres's log.
const BOOKMARK: &str = "torture_bookmark";

/// Debezium is killed and started again with its offsets of some time before.
pub(super) fn replay(act: &mut Act<'_>) -> Result<Done> {
    let index = act.any_pipeline();
    let stream = act.items(index);
    let (source, slot) =
        (act.world.pipelines[index].source, act.world.pipelines[index].debezium.settings().slot());
    if source == Source::Postgres {
        act.world
            .postgres
            .query(&format!("SELECT pg_copy_logical_replication_slot('{slot}', '{BOOKMARK}')"))?;
    }
    let kept = act.world.keeper()?.offsets(&act.world.pipelines[index].debezium)?;
    act.await_entries(&stream, 40)?;
    act.world.pipelines[index].debezium.kill()?;
    let last = last_mark(act, &stream)?;
    let seen: HashSet<String> = newest(act, &stream)?.iter().filter_map(place).collect();
    if source == Source::Postgres {
        drop_slot(act, &slot)?;
        act.world
            .postgres
            .query(&format!("SELECT pg_copy_logical_replication_slot('{BOOKMARK}', '{slot}')"))?;
        drop_slot(act, BOOKMARK)?;
    }
    act.world.keeper()?.remember(&act.world.pipelines[index].debezium, Some(&kept))?;
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
    let (source, slot) = (pipeline.source, pipeline.debezium.settings().slot());
    let history = act.world.keeper()?.history(&pipeline.debezium);
    snapshot_after(act, index, |act| {
        act.world.keeper()?.remember(&act.world.pipelines[index].debezium, None)?;
        match source {
            Source::Postgres => drop_slot(act, &slot),
            Source::MariaDb => std::fs::remove_file(&history).context("the history of the tables"),
        }
    })
}

fn snapshot_after(act: &mut Act<'_>, index: usize, forget: impl Fn(&Act<'_>) -> Result<()>) -> Result<Done> {
    let stream = act.items(index);
    act.world.pipelines[index].debezium.kill()?;
    let last = last_mark(act, &stream)?;
    // What is committed meanwhile is in no log that Debezium will read.
    act.last(500, 1500);
    forget(act)?;
    act.world.restart_debezium(index)?;
    let rows = until("rows of a snapshot", PATIENCE, || {
        let rows = since(act, &stream, &last)?.iter().filter(|event| event.value["op"] == "r").count();
        ensure!(rows > 0, "none");
        Ok(rows)
    })?;
    let source = act.world.pipelines[index].source;
    Ok(healed(format!("{source}: {rows} rows or more of a snapshot"), Expect::Lost(vec![source])))
}

pub(super) fn truncate(act: &mut Act<'_>) -> Result<Done> {
    deed(act, Deed::Truncate, Table::Scrap, |_, after| after.iter().any(|event| event.value["op"] == "t"))
}

/// Other transactions move a row each: two keys change.
pub(super) fn swaps(act: &mut Act<'_>) -> Result<Done> {
    deed(act, Deed::Swaps, Table::Item, |_, after| {
        let mut moved: HashMap<&str, usize> = HashMap::new();
        for event in after.iter().filter(|event| event.moves) {
            // PostgreSQL's number of the transaction, and behind it the event's own place; MariaDB's GTID.
            let id = event.value["transaction"]["id"].as_str().unwrap_or_default();
            *moved.entry(id.split(':').next().unwrap_or_default()).or_default() += 1;
        }
        moved.values().any(|moved| *moved > 4)
    })
}

/// PostgreSQL tells of no definition, but what is written after it has another shape in either database.
pub(super) fn redefine(act: &mut Act<'_>) -> Result<Done> {
    let is_wide = |event: &Event| {
        let is_note = event.value["source"]["table"] == "note";
        event.value["after"].as_object().filter(|_| is_note).map(|row| row.contains_key("extra"))
    };
    deed(act, Deed::Redefine, Table::Note, |before, after| {
        let last = before.iter().rev().find_map(is_wide);
        after.iter().filter_map(is_wide).any(|wide| Some(wide) != last)
    })
}

pub(super) fn huge(act: &mut Act<'_>) -> Result<Done> {
    let rows = act.huge;
    deed(act, Deed::Huge(rows), Table::Scrap, |_, after| {
        after.len() >= usize::try_from(rows).unwrap_or(usize::MAX)
    })
}

/// Has a writer do something, and waits until what comes shows it, beside what came right before.
fn deed(
    act: &mut Act<'_>,
    deed: Deed,
    table: Table,
    shows: impl Fn(&[Event], &[Event]) -> bool,
) -> Result<Done> {
    let index = act.any_pipeline();
    let (source, stream) = (act.world.pipelines[index].source, act.world.pipelines[index].stream(table));
    let last = last_mark(act, &stream).unwrap_or_else(|_| "0".to_owned());
    let before = newest(act, &stream)?;
    act.ask(source, deed)?;
    let came = until(&format!("what shows it in {stream}"), PATIENCE, || {
        let after = since(act, &stream, &last)?;
        ensure!(shows(&before, &after), "nothing of {} events does", after.len());
        Ok(after.len())
    })?;
    Ok(healed(format!("{source}: {deed:?}, {came} entries meanwhile"), Expect::Any))
}

fn drop_slot(act: &Act<'_>, slot: &str) -> Result<()> {
    // It is in use until Postgres has noticed that its reader is gone.
    until("the slot is dropped", PATIENCE, || {
        act.world.postgres.query(&format!("SELECT pg_drop_replication_slot('{slot}')")).map(drop)
    })
}

fn last_mark(act: &Act<'_>, stream: &str) -> Result<String> {
    let newest = act.world.keeper()?.newest(stream, None, 1)?;
    Ok(newest.into_iter().next().context("an empty stream")?.mark)
}

/// An entry with a value.
struct Event {
    value: Value,
    /// Whether it is one half of a changed key.
    moves: bool,
}

impl Event {
    fn of(entry: &Entry) -> Option<Self> {
        Some(Self { value: entry.value()?, moves: entry.moves() })
    }
}

/// The entries after this one.
fn since(act: &Act<'_>, stream: &str, mark: &str) -> Result<Vec<Event>> {
    let entries = act.world.keeper()?.after(stream, mark)?;
    Ok(entries.iter().filter_map(Event::of).collect())
}

/// The newest entries, oldest first.
fn newest(act: &Act<'_>, stream: &str) -> Result<Vec<Event>> {
    let entries = act.world.keeper()?.newest(stream, None, 500)?;
    Ok(entries.iter().rev().filter_map(Event::of).collect())
}

/// A row change's place in the database's log.
fn place(Event { value, .. }: &Event) -> Option<String> {
    let source = &value["source"];
    matches!(value["op"].as_str(), Some("c" | "u" | "d"))
        .then(|| format!("{} {} {} {}", source["lsn"], source["file"], source["pos"], source["row"]))
}
