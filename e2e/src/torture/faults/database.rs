//! What a network does between a database and its Debezium, without telling either.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::{Act, Done, Expect, healed};
use crate::process::{Silence, until};
use crate::torture::app::{Got, Place};
use crate::torture::recovery::wall_ms;
use crate::torture::shape::Cache;
use crate::torture::world::{BOUND, PATIENCE};

/// How long after the bound a sidecar may say what it knows: what asking all of them takes.
const ASKING: Duration = Duration::from_secs(1);

/// Nothing comes through for longer than values may be unproven, not even a new connection; then all that was held back
/// does.
pub(super) fn partition(act: &mut Act<'_>) -> Result<Done> {
    let index = act.any_pipeline();
    let silence = any_silence(act);
    let (items, source) = (act.items(index), act.world.pipelines[index].source);
    act.world.pipelines[index].log.silence(silence);
    let began = Instant::now();
    await_lagging(act, index)?;
    let noticed = began.elapsed();
    let seen = |act: &Act<'_>| -> Result<_> {
        let (_, beat) = act.world.newest_beat(&act.world.pipelines[index])?;
        // Where the database isn't heard, nothing else comes either.
        let entries = if silence == Silence::ToServer { 0 } else { act.world.keeper()?.added(&items)? };
        Ok((beat, entries))
    };
    let (before, committed) = (seen(act)?, act.stage.counts.operations().transactions);
    act.last(300, 3000);
    until("something is committed meanwhile", PATIENCE, || {
        ensure!(act.stage.counts.operations().transactions > committed, "nothing is");
        Ok(())
    })?;
    let after = seen(act)?;
    ensure!(before == after, "{source}: {after:?} came through, after {before:?}");
    let held = act.world.pipelines[index].log.counts().held;
    act.world.pipelines[index].log.pass();
    let effect = format!(
        "{source} to its Debezium: {}, lagging after {} ms, nothing came for {} ms, {held} blocks held",
        told(silence),
        noticed.as_millis(),
        began.elapsed().as_millis()
    );
    Ok(healed(effect, Expect::Any))
}

/// The connections that are there are dead, and nobody is told: Debezium has to find that out, and makes others.
pub(super) fn half_open(act: &mut Act<'_>) -> Result<Done> {
    let index = act.any_pipeline();
    let silence = any_silence(act);
    let source = act.world.pipelines[index].source;
    let (log, revived) = (&act.world.pipelines[index].log, act.world.revived);
    let (passed, held) = (log.counts().passed, log.counts().held);
    let dead = log.abandon_to(silence);
    ensure!(dead > 0, "no connections from {source} to its Debezium");
    let (began, since) = (Instant::now(), wall_ms());
    let mut lagged = None;
    let anew = until("a heartbeat through another connection", PATIENCE * 2, || {
        let (now, pipeline) = (wall_ms(), &act.world.pipelines[index]);
        let newest = act.world.newest_beat(pipeline)?.1.ms;
        if newest > since && pipeline.log.counts().passed > passed {
            return Ok(Ok(pipeline.log.counts().passed - passed));
        }
        let unproven = Duration::from_millis(now.saturating_sub(newest));
        if lagged.is_none() && unproven > BOUND {
            lagged = Some(began.elapsed());
            if let Err(error) = await_lagging(act, index) {
                return Ok(Err(error));
            }
        }
        anyhow::bail!("the newest is {} ms old", unproven.as_millis())
    })??;
    let log = &act.world.pipelines[index].log;
    ensure!(log.counts().held > held, "nothing was sent over them");
    ensure!(act.world.revived == revived, "Debezium was started again");
    let effect = format!(
        "{source} to its Debezium: {dead} half-open, {}, {anew} made anew, a heartbeat after {} ms{}",
        told(silence),
        began.elapsed().as_millis(),
        lagged.map_or(String::new(), |after| format!(", lagging after {} ms", after.as_millis()))
    );
    Ok(healed(effect, Expect::Any))
}

fn any_silence(act: &mut Act<'_>) -> Silence {
    *act.random.pick(&[Silence::Both, Silence::ToServer, Silence::ToClient])
}

fn told(silence: Silence) -> &'static str {
    match silence {
        Silence::Both => "both silent",
        Silence::ToServer => "the database hears nothing",
        Silence::ToClient => "Debezium hears nothing",
    }
}

/// Waits until every sidecar says that this source is lagging, as soon as the contract has it, and takes nothing from
/// its caches for fresh.
pub(super) fn await_lagging(act: &Act<'_>, index: usize) -> Result<()> {
    let source = act.world.pipelines[index].source;
    until("every sidecar says that it is lagging", BOUND + ASKING + act.slack, || {
        for (number, sidecar) in act.world.sidecars.iter().enumerate() {
            let told = &sidecar.status()?["sources"][source.name()];
            ensure!(told["state"] == "Lagging", "sidecar {number}, {source}: {told}");
        }
        Ok(())
    })?;
    for sidecar in 0..act.world.sidecars.len() {
        let mut app = act.world.app(act.stage, sidecar);
        for cache in Cache::ALL {
            let place = Place { source, cache, number: cache.probe() };
            let got = app.get(place, false).with_context(|| format!("sidecar {sidecar}, {place:?}"))?;
            ensure!(matches!(got, Got::Miss { vouched: false, .. }), "sidecar {sidecar} is lagging: {got:?}");
        }
    }
    Ok(())
}
