//! One change after the other, each of a row whose value is cached.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use freshet_e2e::process::http::{Client, Response, Target};
use freshet_e2e::random::Random;

use super::database::Session;
use super::peer::Peer;

/// How sampled values begin.
pub(super) const MARK: &str = "sample ";

/// The pause between two questions: a loop without one would take a core from what is measured.
const PAUSE: Duration = Duration::from_micros(200);

/// Changes come at a random phase of what ticks in Debezium: its poll, and a heartbeat now and then.
const PHASE_US: u64 = 40_000;

/// How long an old value may be served before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Times from a commit's return on; what was sooner is zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// To the entry in Redis, by the clock in its id: whole milliseconds.
    pub(super) added: Duration,
    /// To the peer having read it.
    pub(super) read: Duration,
    /// To the first answer that wasn't the old value.
    pub(super) gone: Duration,
}

pub(super) struct Sampler {
    client: Client,
    session: Session,
    peer: Peer,
    /// The same in every run.
    random: Random,
    number: usize,
}

impl Sampler {
    pub(super) fn new(target: Target, session: Session, peer: Peer) -> Self {
        Self { client: Client::new(target), session, peer, random: Random::new(1), number: 0 }
    }

    /// Takes so many samples, each of another row, and tells how many say nothing.
    pub(super) fn take(&mut self, samples: usize) -> Result<(Vec<Sample>, usize)> {
        let (mut taken, mut discarded) = (Vec::with_capacity(samples), 0);
        for id in 1..=samples {
            self.fill(id).with_context(|| format!("filling {id}"))?;
            thread::sleep(Duration::from_micros(self.random.below(PHASE_US)));
            match self.sample(id).with_context(|| format!("sample {id}"))? {
                Some(sample) => taken.push(sample),
                None => discarded += 1,
            }
        }
        Ok((taken, discarded))
    }

    /// Has the row's value cached, as its application would.
    fn fill(&mut self, id: usize) -> Result<()> {
        let (path, deadline) = (path(id), Instant::now() + PATIENCE);
        loop {
            let answer = self.client.request("GET", &path, &[], "")?;
            if is_hit(&answer) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "no hit: {answer:?}");
            if let Some(lease) = answer.header("freshet-lease") {
                let headers = [("freshet-lease", lease), ("content-type", "text/plain")];
                self.client.request("PUT", &path, &headers, "old")?;
            } else {
                thread::sleep(Duration::from_millis(5));
            }
        }
    }

    fn sample(&mut self, id: usize) -> Result<Option<Sample>> {
        self.number += 1;
        let (path, value) = (path(id), format!("{MARK}{}", self.number));
        self.session.change(id, &value)?;
        let (committed, wall_ms) = (Instant::now(), wall_ms());
        let gone = loop {
            let answer = self.client.request("GET", &path, &[], "")?;
            let at = Instant::now();
            if !is_hit(&answer) {
                let status = answer.header("cache-status").unwrap_or_default();
                if status.contains("fwd=stale") {
                    break None;
                }
                ensure!(status.contains("fwd=miss"), "{answer:?}");
                break Some(at);
            }
            if at > committed + PATIENCE {
                bail!("the old value is still served");
            }
            thread::sleep(PAUSE);
        };
        let arrival = self.peer.arrival(&value)?;
        Ok(gone.map(|gone| Sample {
            added: Duration::from_millis(arrival.added_ms.saturating_sub(wall_ms)),
            read: arrival.at.saturating_duration_since(committed),
            gone: gone.saturating_duration_since(committed),
        }))
    }
}

fn path(id: usize) -> String {
    format!("/v1/items/{id}")
}

fn is_hit(answer: &Response) -> bool {
    answer.header("cache-status").is_some_and(|status| status.starts_with("freshet; hit"))
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
