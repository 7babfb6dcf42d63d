//! What happens to the streams in Redis, and to Redis as their keeper.

use anyhow::{Context as _, Result, ensure};

use super::kept::{LOST, unread};
use super::{Act, Done, Expect, healed};
use crate::process::until;
use crate::torture::carrier::Keeps as _;
use crate::torture::recovery::{NOTICED, wall_ms};
use crate::torture::world::PATIENCE;

pub(super) fn xtrim(act: &mut Act<'_>) -> Result<Done> {
    unread(act, |act, stream| {
        let trimmed: u64 = act.world.redis()?.master().command(&["XTRIM", stream, "MAXLEN", "0"])?;
        Ok(format!("{trimmed} entries trimmed"))
    })
}

pub(super) fn xdel(act: &mut Act<'_>) -> Result<Done> {
    unread(act, |act, stream| {
        let last: Vec<(String, Vec<String>)> =
            act.world.redis()?.master().command(&["XREVRANGE", stream, "+", "-", "COUNT", "2"])?;
        let ids = last.iter().map(|(id, _)| id.as_str());
        let words: Vec<&str> = ["XDEL", stream].into_iter().chain(ids).collect();
        let deleted: u64 = act.world.redis()?.master().command(&words)?;
        ensure!(deleted == 2, "{deleted} entries deleted");
        Ok("the 2 newest entries deleted".to_owned())
    })
}

pub(super) fn del(act: &mut Act<'_>) -> Result<Done> {
    let index = act.any_pipeline();
    let (stream, source) = (act.any_stream(index)?, act.world.pipelines[index].source);
    let before = act.world.redis()?.added(&stream)?;
    let gone: u64 = act.world.redis()?.master().command(&["DEL", &stream])?;
    ensure!(gone == 1, "{stream} wasn't there");
    Ok(healed(format!("{stream} with {before} entries deleted"), Expect::Lost(vec![source])).apart(true))
}

pub(super) fn flushall(act: &mut Act<'_>) -> Result<Done> {
    let stream = act.items(0);
    let before = act.world.redis()?.added(&stream)?;
    act.world.redis()?.master().command::<String>(&["FLUSHALL"])?;
    let after = act.world.redis()?.added(&stream).unwrap_or(0);
    ensure!(after < before, "{after} entries are left of {before}");
    Ok(healed(format!("{stream}: {after} of {before} entries are left"), Expect::Lost(act.world.sources())))
}

pub(super) fn wrongtype(act: &mut Act<'_>) -> Result<Done> {
    let index = act.any_pipeline();
    let (stream, source) = (act.any_stream(index)?, act.world.pipelines[index].source);
    act.world.redis()?.master().command::<String>(&["SET", &stream, "oops"])?;
    let time = act.last(1500, 3000);
    let kind: String = act.world.redis()?.master().command(&["TYPE", &stream])?;
    act.world.redis()?.master().command::<u64>(&["DEL", &stream])?;
    ensure!(kind == "string", "{stream} was a {kind}");
    Ok(healed(format!("{stream} was a {kind} for {} ms", time.as_millis()), Expect::Lost(vec![source])))
}

/// Redis refuses every XADD with an error that Debezium takes for success: what it sends meanwhile is lost, and
/// nothing in Redis tells.
pub(super) fn refused_writes(act: &mut Act<'_>) -> Result<Done> {
    let set = |act: &Act<'_>, rule: &str| -> Result<String> {
        act.world.redis()?.master().command(&["ACL", "SETUSER", "default", rule])
    };
    let before = act.world.pipelines.iter().map(|pipeline| act.world.newest_beat(pipeline));
    let before = before.collect::<Result<Vec<_>>>()?;
    let stream = act.items(0);
    set(act, "-xadd")?;
    let refused = (|| {
        let entries = act.world.redis()?.added(&stream)?;
        let time = act.last(1500, 3000);
        ensure!(act.world.redis()?.added(&stream)? == entries, "entries were added");
        Ok(time)
    })();
    set(act, "+xadd")?;
    let time = refused?;
    act.world.await_pipeline(wall_ms())?;
    let mut lost = Vec::new();
    for (pipeline, before) in act.world.pipelines.iter().zip(&before) {
        if act.world.lacks_beats(pipeline, before)? {
            lost.push(pipeline.source);
        }
    }
    Ok(healed(
        format!("nothing was written for {} ms; heartbeats lost of {lost:?}", time.as_millis()),
        Expect::Lost(lost),
    ))
}

pub(super) fn old_rdb(act: &mut Act<'_>) -> Result<Done> {
    let stream = act.items(0);
    act.world.redis()?.master().command::<String>(&["SAVE"])?;
    let before = act.await_entries(&stream, LOST)?;
    let master = act.world.redis()?.master;
    act.world.redis_mut()?.both[master].kill()?;
    act.last(50, 1000);
    act.world.redis_mut()?.both[master].restart()?;
    let after = act.world.redis()?.added(&stream)?;
    ensure!(after < before, "{after} entries, not fewer than {before}");
    Ok(healed(format!("{stream} is back at entry {after} of {before}"), Expect::Lost(act.world.sources())))
}

pub(super) fn failover(act: &mut Act<'_>) -> Result<Done> {
    act.world.redis()?.await_replica()?;
    change_master(act)
}

pub(super) fn failover_lost_tail(act: &mut Act<'_>) -> Result<Done> {
    act.world.redis()?.await_replica()?;
    let stream = act.items(0);
    act.world.redis()?.replication.stall();
    let lost = act.await_entries(&stream, LOST);
    let before = match lost {
        Ok(before) => before,
        Err(error) => {
            act.world.redis()?.replication.pass();
            return Err(error);
        }
    };
    let done = change_master(act)?;
    // What Debezium has added meanwhile hides nothing: the new master's history is another one, and shorter.
    let tail = act.world.redis()?.master().info("replication", "master_replid2")?;
    ensure!(tail.chars().any(|c| c != '0'), "the new master never was a replica");
    Ok(Done { effect: format!("{}; {LOST} of {before} entries never reached it", done.effect), ..done })
}

/// Kills the master and puts its replica in its place; the killed one comes back as the replica.
fn change_master(act: &mut Act<'_>) -> Result<Done> {
    let old = act.world.redis()?.master;
    act.world.redis_mut()?.both[old].kill()?;
    act.world.redis()?.replication.cut();
    act.world.redis()?.replication.pass();
    act.last(50, 1000);
    let servers = act.world.redis_mut()?;
    servers.both[1 - old].follow(None)?;
    servers.master = 1 - old;
    act.world.repoint()?;
    let role = act.world.redis()?.master().info("replication", "role")?;
    ensure!(role == "master", "the new master is a {role}");
    act.world.redis_mut()?.both[old].restart()?;
    let link = act.world.redis()?.replication.address();
    act.world.redis_mut()?.both[old].follow(Some(link))?;
    Ok(healed(format!("Redis {} instead of Redis {old}", 1 - old), Expect::Lost(act.world.sources())))
}

/// The sidecars read the replica; it becomes a master, and every connection to it stays as it is.
pub(super) fn silent_promotion(act: &mut Act<'_>) -> Result<Done> {
    act.world.redis()?.await_replica()?;
    let replica = act.world.redis()?.replica().socket_address();
    for link in &act.world.links {
        link.point_to(replica);
        link.cut();
    }
    act.world.await_fresh(act.stage, PATIENCE).context("while the replica was to be followed")?;
    let before = act.world.epochs();
    act.world.redis()?.replica().follow(None)?;
    let noticed = until("every sidecar notices", NOTICED + act.slack, || {
        let same = act.world.epochs().same_as(&before);
        ensure!(same.is_empty(), "{same:?} are in the epoch from before");
        Ok(())
    });
    act.world.promote()?;
    noticed?;
    Ok(healed("every sidecar has changed its epoch while connected", Expect::Lost(act.world.sources())))
}
