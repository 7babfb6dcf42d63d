//! Reading the top of a view from a sidecar, beside what an application does with Redis for the same.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use freshet_e2e::process::http::Connection;
use freshet_e2e::process::{Redis, Reply, RestServer, Sidecar, until};
use redis::Commands as _;

use super::products::{list, product, score};
use super::{TOP, manifest};
use crate::Spread;

/// Items of the view.
const ITEMS: usize = 10_000;

/// How the top is read, the peers last.
const WAYS: [&str; 4] = [
    "the view, over TCP",
    "the view, over the Unix socket",
    "Redis: GET of the text, kept by somebody",
    "Redis: ZREVRANGE, then MGET",
];

/// How long reads take.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    ways: Vec<Spread>,
}

impl Reading {
    /// All ways take turns.
    pub(super) fn measure(program: &Path, samples: usize) -> Result<Self> {
        let products = list(ITEMS);
        let rest = RestServer::start(move |_| {
            Reply::json(products.clone()).header("Cache-Control", "max-age=86400")
        })?;
        let sidecar = Sidecar::builder(program, &manifest(&rest.url())).start()?;
        let path = format!("/v1/views/top?n={TOP}");
        let top = until("the view is whole", Duration::from_secs(30), || {
            let answer = sidecar.get(&path)?;
            ensure!(answer.status == 200, "{}", answer.text());
            Ok(answer.body)
        })?;
        let server = Redis::start()?;
        let mut redis = server.connection()?;
        for n in 0..ITEMS {
            let key = format!("product:{n}");
            let () = redis.set(&key, product(n))?;
            let () = redis.zadd("top", &key, score(n))?;
        }
        let () = redis.set("top:text", &top)?;
        let (mut tcp, mut unix) = (Connection::open(&sidecar.tcp())?, Connection::open(&sidecar.socket())?);
        let last = isize::try_from(TOP)? - 1;
        let mut times = vec![Vec::with_capacity(samples); WAYS.len()];
        for round in 0..samples + samples / 10 {
            for (way, times) in times.iter_mut().enumerate() {
                let begun = Instant::now();
                let read: Vec<u8> = match way {
                    0 => tcp.request("GET", &path, &[], b"")?.body,
                    1 => unix.request("GET", &path, &[], b"")?.body,
                    2 => redis.get("top:text")?,
                    _ => {
                        let keys: Vec<String> = redis.zrevrange("top", 0, last)?;
                        let items: Vec<String> = redis.mget(keys)?;
                        format!("[{}]", items.join(",")).into_bytes()
                    }
                };
                let took = begun.elapsed();
                ensure!(read == top, "{} isn't what the view shows", WAYS[way]);
                // A tenth is for getting warm.
                if round >= samples / 10 {
                    times.push(took);
                }
            }
        }
        Ok(Self { ways: times.into_iter().map(|times| times.into_iter().collect()).collect() })
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the top {TOP} of {ITEMS} (µs): {:>25} {:>8} {:>8}   ratio p50", "p50", "p99", "max")?;
        let peer = self.ways.last().cloned().unwrap_or_default();
        for (name, spread) in WAYS.iter().zip(&self.ways) {
            let us = |thousandth| spread.at(thousandth).as_secs_f64() * 1e6;
            let ratio = spread.ratio(&peer, 500);
            writeln!(f, "{name:44} {:8.1} {:8.1} {:8.0} {ratio:8.2}", us(500), us(990), us(1000))?;
        }
        Ok(())
    }
}
