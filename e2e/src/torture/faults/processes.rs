//! Processes killed and started again, and processes stopped for a while.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Act, Done, Expect, healed};
use crate::process::Child;
use crate::torture::carrier::{Carries as _, Keeps as _};
use crate::torture::world::{Pipeline, World};

/// How long a killed part stays away, and a stopped one stopped, in milliseconds.
const AWAY: (u64, u64) = (50, 1500);
const STOPPED: (u64, u64) = (300, 5000);

pub(super) fn kill_sidecar(act: &mut Act<'_>) -> Result<Done> {
    let number = act.any_sidecar();
    let before = act.world.sidecars[number].process().pid();
    act.world.sidecars[number].kill()?;
    ensure!(act.world.sidecars[number].process().exited()?.is_some(), "sidecar {number} lives");
    act.stage.instances[number].fetch_add(1, Ordering::AcqRel);
    act.last(AWAY.0, AWAY.1);
    act.world.sidecars[number].start_again()?;
    let after = act.world.sidecars[number].process().pid();
    Ok(healed(format!("sidecar {number}: process {before}, then {after}"), Expect::Any).apart(true))
}

/// Nobody reads the replica now: nothing comes of it.
pub(super) fn kill_replica(act: &mut Act<'_>) -> Result<Done> {
    let servers = act.world.redis_mut()?;
    servers.await_replica()?;
    let (replica, link) = (1 - servers.master, servers.replication.address());
    servers.both[replica].kill()?;
    ensure!(servers.both[replica].process().exited()?.is_some(), "the replica lives");
    let away = act.last(AWAY.0, AWAY.1);
    let servers = act.world.redis_mut()?;
    servers.both[replica].restart()?;
    servers.both[replica].follow(Some(link))?;
    servers.await_replica()?;
    Ok(healed(format!("away for {}, and follows again", ms(away)), Expect::Kept).apart(true))
}

pub(super) fn kill_redis(act: &mut Act<'_>) -> Result<Done> {
    let stream = act.items(0);
    let servers = act.world.redis_mut()?;
    let (before, entries) = (servers.master().info("server", "run_id")?, servers.added(&stream)?);
    servers.master_mut().kill()?;
    act.last(AWAY.0, AWAY.1);
    let servers = act.world.redis_mut()?;
    servers.restart()?;
    let after = servers.master().info("server", "run_id")?;
    ensure!(before != after, "the run id is the same");
    let left = servers.added(&stream).unwrap_or(0);
    let sources = act.world.sources();
    Ok(healed(format!("another run id; {left} of {entries} entries are left"), Expect::Lost(sources)))
}

/// What a server in files has acknowledged it has again.
pub(super) fn kill_carrier(act: &mut Act<'_>) -> Result<Done> {
    let streams: Vec<String> = act.world.pipelines.iter().flat_map(Pipeline::streams).collect();
    let entries = |act: &Act<'_>| -> Result<Vec<u64>> {
        streams.iter().map(|stream| act.world.keeper()?.added(stream)).collect()
    };
    let had = entries(act)?;
    let killed = restart_carrier(act)?;
    let has = entries(act)?;
    ensure!(has.iter().zip(&had).all(|(has, had)| has >= had), "{has:?} entries are left of {had:?}");
    Ok(healed(format!("{killed}; {has:?} entries, after {had:?}"), Expect::Kept))
}

/// What was said meanwhile nobody has heard.
pub(super) fn kill_ether(act: &mut Act<'_>) -> Result<Done> {
    let killed = restart_carrier(act)?;
    Ok(healed(killed, Expect::Lost(act.world.sources())))
}

fn restart_carrier(act: &mut Act<'_>) -> Result<String> {
    let process = carrier(act.world)?;
    let before = process.pid();
    process.kill()?;
    ensure!(process.exited()?.is_some(), "it lives");
    act.last(AWAY.0, AWAY.1);
    act.world.carrier.any_mut().restart()?;
    let after = carrier(act.world)?.pid();
    Ok(format!("process {before}, then {after}"))
}

fn carrier(world: &mut World) -> Result<&mut Child> {
    world.carrier.any_mut().process().context("it has no process of its own")
}

pub(super) fn kill_debezium(act: &mut Act<'_>) -> Result<Done> {
    let index = act.any_pipeline();
    let pipeline = &mut act.world.pipelines[index];
    let before = pipeline.debezium.process().pid();
    pipeline.debezium.kill()?;
    ensure!(pipeline.debezium.process().exited()?.is_some(), "Debezium lives");
    act.last(AWAY.0, AWAY.1);
    act.world.restart_debezium(index)?;
    let pipeline = &mut act.world.pipelines[index];
    let after = pipeline.debezium.process().pid();
    Ok(healed(format!("{}'s: process {before}, then {after}", pipeline.source), Expect::Any))
}

pub(super) fn kill_postgres(act: &mut Act<'_>) -> Result<Done> {
    act.world.postgres.kill_all()?;
    ensure!(act.world.postgres.client().is_err(), "Postgres accepts connections");
    let away = act.last(AWAY.0, AWAY.1);
    act.world.postgres.restart()?;
    Ok(healed(format!("no connections for {}", ms(away)), Expect::Any))
}

pub(super) fn kill_mariadb(act: &mut Act<'_>) -> Result<Done> {
    act.world.mariadb.kill()?;
    ensure!(act.world.mariadb.client().is_err(), "MariaDB accepts connections");
    let away = act.last(AWAY.0, AWAY.1);
    act.world.mariadb.restart()?;
    Ok(healed(format!("no connections for {}", ms(away)), Expect::Any))
}

pub(super) fn pause_sidecar(act: &mut Act<'_>) -> Result<Done> {
    let number = act.any_sidecar();
    Ok(pause(act, move |world| Ok(world.sidecars[number].process()))?.apart(true))
}

pub(super) fn pause_carrier(act: &mut Act<'_>) -> Result<Done> {
    pause(act, carrier)
}

pub(super) fn pause_debezium(act: &mut Act<'_>) -> Result<Done> {
    let index = act.any_pipeline();
    pause(act, |world| Ok(world.pipelines[index].debezium.process()))
}

pub(super) fn pause_mariadb(act: &mut Act<'_>) -> Result<Done> {
    pause(act, |world| Ok(world.mariadb.process()))
}

pub(super) fn pause_postgres(act: &mut Act<'_>) -> Result<Done> {
    act.world.postgres.pause()?;
    let time = act.last(STOPPED.0, STOPPED.1);
    act.world.postgres.resume()?;
    Ok(healed(format!("stopped for {}", ms(time)), act.kept()))
}

fn pause(act: &mut Act<'_>, process: impl Fn(&mut World) -> Result<&mut Child>) -> Result<Done> {
    process(act.world)?.pause()?;
    let time = act.last(STOPPED.0, STOPPED.1);
    process(act.world)?.resume()?;
    Ok(healed(format!("stopped for {}", ms(time)), act.kept()))
}

fn ms(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
