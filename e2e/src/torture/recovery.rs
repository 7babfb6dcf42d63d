//! How the world is doing: what sidecars say of themselves, when the pipeline is through again, and when sidecars
//! vouch for values and take fills.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};

use super::app::{App, Filled, Got, Place};
use super::carrier::{Beat, Entry};
use super::ledger::Moment;
use super::shape::{Cache, Source};
use super::stage::Stage;
use super::world::{PATIENCE, Pipeline, World};
use crate::process::until;

/// How soon after a fault's end every sidecar has to be fresh and take fills again.
pub(crate) const RECOVERY: Duration = Duration::from_secs(5);

/// How soon a loss is noticed once the pipeline is up: the continuity period, or a heartbeat, which is sooner.
pub(crate) const NOTICED: Duration = Duration::from_millis(2500);

/// The epochs of every sidecar's sources, and why they changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epochs(BTreeMap<(usize, Source), (u64, String)>);

impl Epochs {
    /// Which sidecars' sources are in the same epoch as before.
    pub(crate) fn same_as(&self, before: &Self) -> Vec<(usize, Source)> {
        let same = self.0.iter().filter(|(key, (epoch, _))| before.0.get(key).map(|b| b.0) == Some(*epoch));
        same.map(|(key, _)| *key).collect()
    }

    /// What changed, as text.
    pub(crate) fn changes(&self, before: &Self) -> Vec<String> {
        let changed = self.0.iter().filter(|(key, now)| before.0.get(key) != Some(now));
        changed
            .map(|((n, source), (epoch, why))| format!("sidecar {n}, {source}: epoch {epoch}, {why}"))
            .collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl World {
    /// The epochs of all sidecars that answer.
    pub(crate) fn epochs(&self) -> Epochs {
        let mut epochs = Epochs::default();
        for (number, sidecar) in self.sidecars.iter().enumerate() {
            let Ok(status) = sidecar.status() else { continue };
            for source in self.sources() {
                let source_status = &status["sources"][source.name()];
                if let Some(epoch) = source_status["epoch"].as_u64() {
                    epochs.0.insert((number, source), (epoch, source_status["epochChanges"].to_string()));
                }
            }
        }
        epochs
    }

    /// Waits until, of each source, a heartbeat that the database wrote after `since` is in the streams that the
    /// sidecars read. Debeziums that have ended are started again.
    pub(crate) fn await_pipeline(&mut self, since: u64) -> Result<()> {
        let mut last_resort = std::time::Instant::now() + Duration::from_secs(15);
        until("a heartbeat of every source", PATIENCE * 2, || {
            if self.revive()? > 0 {
                // On a busy machine a start takes longer than the patience with one that runs.
                last_resort = std::time::Instant::now() + Duration::from_secs(40);
            }
            let behind = self
                .pipelines
                .iter()
                .position(|p| !self.newest_beat(p).is_ok_and(|(_, beat)| beat.ms > since));
            let Some(index) = behind else { return Ok(()) };
            if std::time::Instant::now() > last_resort {
                // One that lives and does nothing: what a person would do, too.
                self.revived += 1;
                self.pipelines[index].debezium.kill()?;
                self.pipelines[index].debezium.launch()?;
                last_resort += Duration::from_secs(40);
            }
            bail!("none of {}", self.pipelines[index].source)
        })
    }

    /// Whether heartbeats are missing in a stream between this one and its end: each is one more than the one before it,
    /// or has come before.
    pub(crate) fn lacks_beats(&self, pipeline: &Pipeline, (entry, beat): &(Entry, Beat)) -> Result<bool> {
        let later = self.keeper()?.after(&pipeline.beats(), &entry.mark)?;
        let later = later.iter().filter_map(Entry::beat).map(|beat| beat.number);
        let numbers: Vec<u64> = [beat.number].into_iter().chain(later).collect();
        Ok(numbers.windows(2).any(|pair| pair[1] > pair[0] + 1))
    }

    /// The newest heartbeat of a database in its stream.
    pub(crate) fn newest_beat(&self, pipeline: &Pipeline) -> Result<(Entry, Beat)> {
        let stream = pipeline.beats();
        let mut before = None;
        // There may be a whole huge transaction between two of them.
        for most in [200, 2000, 20_000, 20_000] {
            let entries = self.keeper()?.newest(&stream, before.as_deref(), most)?;
            let Some(last) = entries.last() else { break };
            before = Some(last.mark.clone());
            let found = entries.into_iter().find_map(|entry| entry.beat().map(|beat| (entry, beat)));
            if let Some(found) = found {
                return Ok(found);
            }
        }
        bail!("no heartbeat in {stream}")
    }

    /// Waits until every sidecar is fresh and has stored a fill in each of its caches; how long that took.
    pub(crate) fn await_fresh(&mut self, stage: &Stage, within: Duration) -> Result<Moment> {
        let start = stage.now();
        self.await_vouched(within)?;
        self.await_fills(stage, within.saturating_sub(stage.now().saturating_sub(start)))?;
        Ok(stage.now().saturating_sub(start))
    }

    /// Waits until every source of every sidecar is fresh.
    pub(crate) fn await_vouched(&self, within: Duration) -> Result<()> {
        until("every source of every sidecar is fresh", within, || {
            for (number, sidecar) in self.sidecars.iter().enumerate() {
                let status = sidecar.status()?;
                for source in self.sources() {
                    let told = &status["sources"][source.name()];
                    ensure!(told["state"] == "Fresh", "sidecar {number}, {source}: {told}");
                }
            }
            Ok(())
        })
    }

    /// Waits until every sidecar has stored a fill in each of its caches, whatever is there.
    pub(crate) fn await_fills(&self, stage: &Stage, within: Duration) -> Result<()> {
        let start = stage.now();
        for sidecar in 0..self.sidecars.len() {
            let mut app = self.app(stage, sidecar);
            for place in self.probes() {
                let left = within.saturating_sub(stage.now().saturating_sub(start));
                until(&format!("sidecar {sidecar} takes a fill of {place:?}"), left, || {
                    fill(&mut app, place)
                })?;
            }
        }
        Ok(())
    }

    /// The places that nobody writes.
    pub(crate) fn probes(&self) -> Vec<Place> {
        let sources = self.sources().into_iter();
        sources
            .flat_map(|source| Cache::ALL.map(|cache| Place { source, cache, number: cache.probe() }))
            .collect()
    }

    pub(crate) fn app<'a>(&self, stage: &'a Stage, sidecar: usize) -> App<'a> {
        App::new(stage, sidecar, self.sidecars[sidecar].tcp(), self.doors())
    }

    /// What the streams have of a row, newest first, for people.
    pub(crate) fn entries_about(&self, source: Source, id: u32) -> Vec<String> {
        let Some(pipeline) = self.pipelines.iter().find(|pipeline| pipeline.source == source) else {
            return Vec::new();
        };
        let mut about = Vec::new();
        for stream in pipeline.streams() {
            let entries = self.keeper().and_then(|carrier| carrier.newest(&stream, None, 3000));
            let entries = entries.unwrap_or_default();
            about.extend(entries.iter().filter_map(|entry| entry.about(id)).take(8));
        }
        about
    }
}

/// Fills a place, whatever is cached there.
pub(crate) fn fill(app: &mut App<'_>, place: Place) -> Result<()> {
    let Got::Miss { lease, .. } = app.get(place, true)? else { bail!("a hit in spite of no-cache") };
    let lease = lease.context("no lease")?;
    let value = app.load(place)?;
    match app.fill(&lease, &value)? {
        Filled::Stored => Ok(()),
        other => bail!("{other:?}"),
    }
}
