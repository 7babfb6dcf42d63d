//! What a network does to connections.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Act, Done, Expect, healed};
use crate::process::{Proxy, until};
use crate::torture::carrier::Transport;
use crate::torture::shape::Source;
use crate::torture::world::PATIENCE;

/// Which connections.
#[derive(Clone, Copy, Debug)]
enum Wire {
    /// Of one sidecar to the carrier.
    Link(usize),
    /// Of all sidecars.
    Links,
    /// Of a Debezium to the carrier.
    Sink(usize),
    /// Of a Debezium to its database.
    Log(usize),
}

impl Wire {
    fn proxies<'a>(self, act: &'a Act<'_>) -> Vec<&'a Proxy> {
        match self {
            Self::Link(number) => vec![&act.world.links[number]],
            Self::Links => act.world.links.iter().collect(),
            Self::Sink(index) => vec![&act.world.pipelines[index].sink],
            Self::Log(index) => vec![&act.world.pipelines[index].log],
        }
    }

    fn told(self, act: &Act<'_>) -> String {
        let carrier = act.world.carrier.told();
        match self {
            Self::Link(number) => format!("{carrier} to sidecar {number}"),
            Self::Links => format!("{carrier} to all sidecars"),
            Self::Sink(index) => format!("{}'s Debezium to {carrier}", act.world.pipelines[index].source),
            Self::Log(index) => format!("{} to its Debezium", act.world.pipelines[index].source),
        }
    }

    /// Whether the way from the databases to the carrier is left alone.
    fn is_apart(self) -> bool {
        matches!(self, Self::Link(_) | Self::Links)
    }

    /// What a client says first. PostgreSQL is asked for TLS; MariaDB speaks before it is spoken to.
    fn first_word(self, act: &Act<'_>) -> &'static [u8] {
        match self {
            Self::Log(index) => match act.world.pipelines[index].source {
                Source::Postgres => &[0, 0, 0, 8, 4, 210, 22, 47],
                Source::MariaDb => &[],
            },
            _ => act.world.carrier().first_word(),
        }
    }

    /// A Debezium that connects anew may skip what it hasn't sent (3.6.1 does, after some restarts).
    fn expect_after_loss_of_connection(self, act: &Act<'_>) -> Expect {
        if matches!(self, Self::Log(_)) { Expect::Any } else { act.kept() }
    }

    /// The same, of connections that are certainly gone: what was said before the next one nobody has heard.
    fn expect_of_the_next_connection(self, act: &Act<'_>) -> Expect {
        match (act.world.keeper(), self) {
            (Err(_), Self::Links) => Expect::Lost(act.world.sources()),
            _ => self.expect_after_loss_of_connection(act),
        }
    }
}

fn any_wire(act: &mut Act<'_>, logs: bool) -> Wire {
    let wires = match (act.world.keeper(), logs) {
        (Err(_), _) => 4,
        (Ok(_), false) => 5,
        (Ok(_), true) => 6,
    };
    // Between a file and who reads it there is none.
    let first = if act.world.transport == Transport::File { 4 } else { 0 };
    match act.random.between(first, wires - 1) {
        0 | 1 => Wire::Link(act.any_sidecar()),
        2 | 3 => Wire::Links,
        4 => Wire::Sink(act.any_pipeline()),
        _ => Wire::Log(act.any_pipeline()),
    }
}

pub(super) fn cut(act: &mut Act<'_>) -> Result<Done> {
    let wire = any_wire(act, true);
    let cut: usize = wire.proxies(act).iter().map(|proxy| proxy.cut()).sum();
    ensure!(cut > 0, "no connections from {}", wire.told(act));
    Ok(healed(
        format!("{}: {cut} connections closed", wire.told(act)),
        wire.expect_of_the_next_connection(act),
    )
    .apart(wire.is_apart()))
}

pub(super) fn stall(act: &mut Act<'_>) -> Result<Done> {
    let wire = any_wire(act, true);
    let before: Vec<u64> = wire.proxies(act).iter().map(|proxy| proxy.counts().held).collect();
    wire.proxies(act).iter().for_each(|proxy| proxy.stall());
    let time = act.last(300, 4000);
    let held = until("bytes are held", PATIENCE, || {
        let held =
            wire.proxies(act).into_iter().zip(&before).map(|(proxy, before)| proxy.counts().held - before);
        let held: u64 = held.sum();
        ensure!(held > 0, "none");
        Ok(held)
    });
    wire.proxies(act).iter().for_each(|proxy| proxy.pass());
    let effect = format!("{}: {} blocks held for {} ms", wire.told(act), held?, time.as_millis());
    Ok(healed(effect, wire.expect_after_loss_of_connection(act)).apart(wire.is_apart()))
}

pub(super) fn partition(act: &mut Act<'_>) -> Result<Done> {
    let wire = any_wire(act, true);
    let cut: usize = wire.proxies(act).iter().map(|proxy| proxy.refuse()).sum();
    let time = act.last(300, 4000);
    wire.proxies(act).iter().for_each(|proxy| proxy.pass());
    ensure!(cut > 0, "no connections from {}", wire.told(act));
    let effect = format!("{}: {cut} connections closed, refused for {} ms", wire.told(act), time.as_millis());
    Ok(healed(effect, wire.expect_of_the_next_connection(act)).apart(wire.is_apart()))
}

/// Not between a database and its Debezium: that takes longer, and is a fault of its own.
pub(super) fn half_open(act: &mut Act<'_>) -> Result<Done> {
    let wire = any_wire(act, false);
    let before: u64 = wire.proxies(act).iter().map(|proxy| proxy.counts().passed).sum();
    let dead: usize = wire.proxies(act).iter().map(|proxy| proxy.abandon()).sum();
    ensure!(dead > 0, "no connections from {}", wire.told(act));
    let anew = until("they connect anew", PATIENCE, || {
        // One that gives up is started again by whoever runs it, and connects then.
        act.world.revive()?;
        let passed: u64 = wire.proxies(act).iter().map(|proxy| proxy.counts().passed).sum();
        ensure!(passed >= before + wire.proxies(act).len() as u64, "{} have", passed - before);
        Ok(passed - before)
    })?;
    let expect = wire.expect_of_the_next_connection(act);
    Ok(healed(format!("{}: {dead} half-open, {anew} made anew", wire.told(act)), expect)
        .apart(wire.is_apart()))
}

pub(super) fn delay(act: &mut Act<'_>) -> Result<Done> {
    let wire = any_wire(act, true);
    let by = Duration::from_millis(act.random.between(20, 150));
    wire.proxies(act).iter().for_each(|proxy| proxy.delay(by));
    let seen = round_trip(wire.proxies(act)[0], wire.first_word(act));
    let time = act.last(1000, 3000);
    wire.proxies(act).iter().for_each(|proxy| proxy.pass());
    ensure!(seen? >= by, "nothing was delayed");
    Ok(healed(format!("{}: by {by:?} for {} ms", wire.told(act), time.as_millis()), act.kept())
        .apart(wire.is_apart()))
}

/// How long whoever listens behind a proxy takes to answer what a client says first.
fn round_trip(proxy: &Proxy, word: &[u8]) -> Result<Duration> {
    let mut connection = TcpStream::connect(proxy.address())?;
    connection.set_read_timeout(Some(Duration::from_secs(10)))?;
    let start = Instant::now();
    connection.write_all(word)?;
    connection.read_exact(&mut [0])?;
    Ok(start.elapsed())
}
