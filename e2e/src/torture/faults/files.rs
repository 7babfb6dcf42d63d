//! What happens to files, and to whoever writes them.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::database::await_lagging;
use super::{Act, Done, Expect, healed};
use crate::process::until;
use crate::torture::carrier::{Carrier, Still};
use crate::torture::shape::Source;
use crate::torture::world::PATIENCE;

/// Lines that are cut off a file's end, at most, where it isn't all of them.
const CUT: u64 = 5;

/// The file is cut, to nothing or by a few lines, and its recorder goes on at once, perhaps to behind where it was.
pub(super) fn cut(act: &mut Act<'_>) -> Result<Done> {
    let (source, all, lines) = (act.any_source(), act.random.chance(50), act.random.between(1, CUT));
    let (had, has) = between_lines(act, source, |path, text| {
        // What comes at once then is more than what is cut off.
        act.await_entries(&format!("{}.cdc", source.name()), 2 * CUT)?;
        let cut = usize::try_from(lines)?;
        let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).rev().collect();
        let left = ends.get(cut).copied().filter(|_| !all).unwrap_or(0);
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(left as u64)?;
        Ok((text.len(), left))
    })?;
    ensure!(has < had, "nothing was cut of {had} bytes");
    Ok(healed(format!("{source}: {has} of {had} bytes are left"), Expect::Lost(vec![source])).apart(true))
}

/// Another file takes its place: one with nothing in it, or with the second half of its lines.
pub(super) fn replaced(act: &mut Act<'_>) -> Result<Done> {
    let (source, nothing) = (act.any_source(), act.random.chance(50));
    let has = between_lines(act, source, |path, text| {
        let middle = text[text.len() / 2..].find('\n').map_or(text.len(), |at| text.len() / 2 + at + 1);
        let left = if nothing { "" } else { &text[middle..] };
        let other = path.with_extension("new");
        fs::write(&other, left)?;
        fs::rename(&other, path)?;
        Ok(left.len())
    })?;
    let effect = format!("{source}: another file with {has} bytes");
    Ok(healed(effect, Expect::Lost(vec![source])).apart(true))
}

/// It is removed, and a moment later its recorder makes it anew.
pub(super) fn gone(act: &mut Act<'_>) -> Result<Done> {
    let source = act.any_source();
    let away = act.random.between(50, 3000);
    let had = between_lines(act, source, |path, text| {
        fs::remove_file(path)?;
        thread::sleep(Duration::from_millis(away));
        Ok(text.len())
    })?;
    let effect = format!("{source}: {had} bytes removed, no file for {away} ms");
    Ok(healed(effect, Expect::Lost(vec![source])).apart(true))
}

/// Its recorder stands still for longer than values may be unproven, between two lines or in the midst of one.
pub(super) fn stopped(act: &mut Act<'_>) -> Result<Done> {
    let (index, in_mid_line) = (act.any_pipeline(), act.random.chance(50));
    let further = act.random.between(100, 2000);
    let source = act.world.pipelines[index].source;
    let held = still(act, source, in_mid_line)?;
    let text = fs::read_to_string(held.path)?;
    ensure!(text.ends_with('\n') != in_mid_line, "it ends with {:?}", text.lines().last());
    await_lagging(act, index)?;
    thread::sleep(Duration::from_millis(further));
    ensure!(fs::metadata(held.path)?.len() == text.len() as u64, "something was written");
    drop(held);
    let place = if in_mid_line { "in the midst of a line" } else { "between two lines" };
    Ok(healed(format!("{source}: nothing was written, from {place} on"), Expect::Kept).apart(true))
}

/// Does something to a file, given its text, of which every sidecar has read all.
fn between_lines<T>(act: &Act<'_>, source: Source, run: impl FnOnce(&Path, &str) -> Result<T>) -> Result<T> {
    let held = still(act, source, false)?;
    let text = fs::read_to_string(held.path)?;
    let lines = text.lines().count().to_string();
    until("every sidecar has read all of it", PATIENCE, || {
        for sidecar in &act.world.sidecars {
            let position = &sidecar.status()?["sources"][source.name()]["position"];
            let read = position.as_object().and_then(|streams| streams.values().next());
            ensure!(read.and_then(serde_json::Value::as_str) == Some(&lines), "{position}, not {lines}");
        }
        Ok(())
    })?;
    run(held.path, &text).with_context(|| format!("changing {}", held.path.display()))
}

fn still<'a>(act: &'a Act<'_>, source: Source, in_mid_line: bool) -> Result<Still<'a>> {
    match &act.world.carrier {
        Carrier::Files(files) => files.still(source, in_mid_line),
        other => bail!("{} is not a file", other.told()),
    }
}
