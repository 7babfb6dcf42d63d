//! The director: one fault after the other, what must and must not come of each, and the audits in between.

use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::Options;
use super::app::{Got, Place};
use super::audit::audit;
use super::carrier::Carrier;
use super::faults::{Act, Done, Expect, Fault};
use super::layout;
use super::ledger::{Rule, Violation, told};
use super::recovery::{Epochs, NOTICED, RECOVERY, fill, wall_ms};
use super::report::{Report, spread};
use super::shape::{Cache, Source, Subject};
use super::stage::Stage;
use super::world::{PATIENCE, SIDECARS, World};
use super::writer::Request;
use crate::process::until;
use crate::random::Random;
use crate::stop::check_stop;

/// The time between two faults, in milliseconds.
const CALM_MS: (u64, u64) = (800, 2500);

/// Faults between two audits.
const AUDIT_EVERY: usize = 8;

/// Hits of all reads outside faults, at least; the second where fills are held off for a second after each change.
const HIT_RATIO: (f64, f64) = (0.5, 0.25);

/// How long entries stay in the streams: as the operator's retention, for the memory's sake.
const RETENTION_MS: u64 = 90_000;

pub(crate) struct Director<'a> {
    world: &'a mut World,
    stage: &'a Stage,
    options: &'a Options,
    faults: Vec<Fault>,
    writers: HashMap<Source, SyncSender<Request>>,
    random: Random,
    report: Report,
}

/// What came of a fault.
struct Seen {
    /// The epochs before it.
    before: Epochs,
    /// The planted values that were gone when every sidecar was fresh again.
    dropped: Vec<String>,
    /// Milliseconds from its end to the first heartbeat from after it in the streams.
    pipeline: u64,
    /// From then until every sidecar was fresh and took fills.
    took: Duration,
    /// Whether a Debezium had to be started again, which may skip what it hasn't sent.
    revived: bool,
}

impl<'a> Director<'a> {
    pub(crate) fn new(
        world: &'a mut World,
        stage: &'a Stage,
        options: &'a Options,
        faults: Vec<Fault>,
        writers: HashMap<Source, SyncSender<Request>>,
        random: Random,
    ) -> Self {
        let layout = world.layout.iter();
        let layout = layout.map(|(source, routing)| layout::told(options.transport, *source, *routing));
        let report = Report {
            seed: options.seed,
            transport: options.transport.name(),
            seconds: 0.0,
            layout: layout.collect(),
            operations: stage.counts.operations(),
            hit_ratio_outside_faults: 0.0,
            staleness_ms: [0.0; 3],
            faults: BTreeMap::new(),
            audits: 0,
            audited: 0,
            debezium_revived: 0,
            violations: BTreeMap::new(),
            told: Vec::new(),
        };
        Self { world, stage, options, faults, writers, random, report }
    }

    /// Makes faults until the time is up, and audits.
    pub(crate) fn direct(&mut self) -> Result<()> {
        let end = Instant::now() + self.options.time;
        let (mut queue, mut made) = (Vec::new(), 0);
        loop {
            self.stage.set_fault(false);
            let calm = Duration::from_millis(self.random.between(CALM_MS.0, CALM_MS.1));
            thread::sleep(calm);
            self.drain("between faults");
            if Instant::now() >= end && made >= self.options.least {
                break;
            }
            if queue.is_empty() {
                queue.clone_from(&self.faults);
                self.random.shuffle(&mut queue);
            }
            if let Some(fault) = queue.pop() {
                self.one(fault)?;
                made += 1;
            }
            if made % AUDIT_EVERY == 0 {
                self.audit()?;
            }
            self.trim();
            self.renew()?;
        }
        self.audit()?;
        let operations = self.stage.counts.operations();
        let held_off = layout::read_lag(self.options.transport) >= Duration::from_secs(1);
        let least = if held_off { HIT_RATIO.1 } else { HIT_RATIO.0 };
        if ratio(operations.calm_hits, operations.calm_reads) < least {
            let what =
                format!("{} hits of {} reads outside faults", operations.calm_hits, operations.calm_reads);
            self.stage.report([Violation::new(Rule::HitRatio, self.stage.now(), what)]);
        }
        self.drain("at the end");
        Ok(())
    }

    /// What it came to.
    pub(crate) fn report(self, took: Duration) -> Option<Report> {
        let operations = self.stage.counts.operations();
        (operations.reads > 0).then(|| Report {
            seconds: took.as_secs_f64(),
            hit_ratio_outside_faults: ratio(operations.calm_hits, operations.calm_reads),
            operations,
            staleness_ms: spread(&self.stage.ledger().staleness),
            debezium_revived: self.world.revived,
            ..self.report
        })
    }

    fn audit(&mut self) -> Result<()> {
        check_stop()?;
        // Reads while nobody writes say nothing of how often others are hits.
        self.stage.set_fault(true);
        match audit(self.world, self.stage) {
            Ok(compared) => {
                self.report.audits += 1;
                self.report.audited += compared;
            }
            Err(error) => self.fail(format!("an audit: {error:#}")),
        }
        self.drain("in an audit");
        Ok(())
    }

    /// Makes one fault and sees what comes of it.
    fn one(&mut self, fault: Fault) -> Result<()> {
        check_stop()?;
        let canaries = self.plant();
        self.stage.set_fault(true);
        let (before, revived) = (self.world.epochs(), self.world.revived);
        let began = self.stage.now();
        let random = self.random.fork(self.stage.counts.operations().transactions);
        let mut act = Act {
            world: self.world,
            stage: self.stage,
            random,
            writers: &self.writers,
            huge: self.options.huge,
            slack: self.options.slack,
        };
        let done = fault.run(&mut act);
        self.heal();
        let outcome = done.and_then(|done| {
            self.world.await_pipeline(done.healed)?;
            let pipeline = wall_ms().saturating_sub(done.healed);
            let ended = self.stage.now();
            if let Expect::Lost(sources) = &done.expect {
                self.await_epochs(&before, sources);
            }
            self.world.await_vouched(PATIENCE).context("after the fault")?;
            let dropped = self.dropped(&canaries);
            self.world.await_fills(self.stage, PATIENCE).context("after the fault")?;
            let took = self.stage.now().saturating_sub(ended);
            let seen = Seen { before, dropped, pipeline, took, revived: self.world.revived > revived };
            Ok((done, seen))
        });
        check_stop()?;
        match outcome {
            Err(error) => self.fail(format!("{}: {error:#}", fault.name)),
            Ok((done, seen)) => {
                self.judge(fault, &done, &seen);
                eprintln!(
                    "{:>10}  {:<18} {}; pipeline {} ms, recovery {} ms",
                    told(began),
                    fault.name,
                    done.effect,
                    seen.pipeline,
                    seen.took.as_millis()
                );
                let entry = self.report.faults.entry(fault.name).or_default();
                entry.made += 1;
                entry.recovery_ms.push(u64::try_from(seen.took.as_millis()).unwrap_or(u64::MAX));
                entry.pipeline_ms.push(seen.pipeline);
                entry.effect = done.effect;
            }
        }
        self.drain(fault.name);
        Ok(())
    }

    fn judge(&mut self, fault: Fault, done: &Done, seen: &Seen) {
        let violation =
            |rule, what| Violation::new(rule, self.stage.now(), format!("{}: {what}", fault.name));
        let after = self.world.epochs();
        let mut violations = Vec::new();
        let pipeline = if done.apart { Duration::from_millis(seen.pipeline) } else { Duration::ZERO };
        if pipeline + seen.took > RECOVERY + self.options.slack {
            let what = format!("{}: took {:?} and {pipeline:?}", done.effect, seen.took);
            violations.push(violation(Rule::SlowRecovery, what));
        }
        match &done.expect {
            Expect::Any => {}
            Expect::Kept if seen.revived && self.options.transport.gives_up() => {}
            Expect::Lost(sources) => {
                let same =
                    after.same_as(&seen.before).into_iter().filter(|(_, source)| sources.contains(source));
                let same: Vec<_> = same.collect();
                if !same.is_empty() || after.is_empty() {
                    let what = format!("{}: {same:?} are in the epoch from before", done.effect);
                    violations.push(violation(Rule::Unnoticed, what));
                }
            }
            Expect::Kept => {
                let changes = after.changes(&seen.before);
                if !changes.is_empty() {
                    let what = format!("{}: {}", done.effect, changes.join("; "));
                    violations.push(violation(Rule::Dropped, what));
                }
                let dropped = seen.dropped.iter().map(|what| format!("{}: {what}", done.effect));
                violations.extend(dropped.map(|what| violation(Rule::Dropped, what)));
            }
        }
        self.stage.report(violations);
    }

    /// Waits until every sidecar has noticed that entries of these sources were lost, as soon as the contract has it.
    fn await_epochs(&self, before: &Epochs, sources: &[Source]) {
        // Where it shows with the next connection that is a pause of up to 2 s more, in which nothing is vouched for.
        let within = if self.options.transport.keeps() { NOTICED } else { RECOVERY };
        let noticed = until("every sidecar notices", within + self.options.slack, || {
            let same = self.world.epochs().same_as(before);
            ensure!(!same.iter().any(|(_, source)| sources.contains(source)), "{same:?}");
            Ok(())
        });
        if let Err(error) = noticed {
            self.stage.report([Violation::new(Rule::Unnoticed, self.stage.now(), format!("{error:#}"))]);
        }
    }

    /// Which of the planted values are hits no more. To be asked before anything is filled again.
    fn dropped(&self, canaries: &[(usize, Place)]) -> Vec<String> {
        let dropped = canaries.iter().filter_map(|(sidecar, place)| {
            let got = self.world.app(self.stage, *sidecar).get(*place, false);
            let is_there = matches!(got, Ok(Got::Hit(_)));
            (!is_there).then(|| format!("sidecar {sidecar} has dropped {place:?}: {got:?}"))
        });
        dropped.collect()
    }

    /// Fills values that nobody changes, which are there afterwards unless something voids more than rows.
    fn plant(&self) -> Vec<(usize, Place)> {
        let mut planted = Vec::new();
        for sidecar in 0..SIDECARS {
            let mut app = self.world.app(self.stage, sidecar);
            for source in self.world.sources() {
                for cache in [Cache::Items, Cache::Rows] {
                    let place = Place { source, cache, number: cache.probe() };
                    // A fill that is held off isn't one that stays.
                    let read_lag = layout::read_lag(self.options.transport);
                    let within = Duration::from_secs(2) + read_lag + self.options.slack;
                    let stays = until("a value that stays", within, || {
                        fill(&mut app, place)?;
                        match app.get(place, false)? {
                            Got::Hit(read) if !read.status.contains("detail=") => Ok(()),
                            other => Err(anyhow::anyhow!("{other:?}")),
                        }
                    });
                    match stays {
                        Ok(()) => planted.push((sidecar, place)),
                        Err(error) => self.stage.report([Violation::new(
                            Rule::NotFilled,
                            self.stage.now(),
                            format!("sidecar {sidecar}, {place:?}: {error:#}"),
                        )]),
                    }
                }
            }
        }
        planted
    }

    /// Undoes what a fault that failed half-way has left.
    fn heal(&mut self) {
        for proxy in self.world.proxies() {
            proxy.pass();
        }
        // A process that runs is resumed without effect; one that has ended is told by what comes next.
        let _ = self.world.postgres.resume();
        let _ = self.world.mariadb.process().resume();
        self.world.carrier.any_mut().resume();
        for pipeline in &mut self.world.pipelines {
            let _ = pipeline.debezium.process().resume();
        }
        for sidecar in &mut self.world.sidecars {
            let _ = sidecar.process().resume();
        }
    }

    /// Trims the streams as the operator would: what every sidecar has read long ago.
    fn trim(&self) {
        let oldest = wall_ms().saturating_sub(RETENTION_MS);
        for pipeline in &self.world.pipelines {
            for stream in pipeline.streams() {
                if let Ok(carrier) = self.world.keeper() {
                    carrier.trim(&stream, oldest);
                }
            }
        }
    }

    /// Has large files begun anew, as whoever records would, and waits until that is over.
    fn renew(&mut self) -> Result<()> {
        let Carrier::Files(files) = &self.world.carrier else { return Ok(()) };
        let before = self.world.epochs();
        let renewed = files.renew()?;
        if !renewed.is_empty() {
            self.stage.set_fault(true);
            self.await_epochs(&before, &renewed);
            self.world.await_fresh(self.stage, PATIENCE).context("after a file was begun anew")?;
        }
        Ok(())
    }

    fn fail(&self, what: String) {
        self.stage.report([Violation::new(Rule::World, self.stage.now(), what)]);
    }

    /// Takes the violations that were found meanwhile into the report, with what the streams have of their rows.
    fn drain(&mut self, during: &str) {
        for mut violation in self.stage.take_violations() {
            if let Some(key) = violation.key
                && let Subject::Row(_, id) = key.subject
                && self.report.told.len() < 10
            {
                violation.context.extend(self.world.entries_about(key.source, id));
            }
            if let Some(told) = self.report.add(violation, during) {
                eprint!("VIOLATION {told}");
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
