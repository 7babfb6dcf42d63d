//! Torture of the real pipeline: writers, readers and faults at random, and a checker that knows every commit.
//!
//! A seed decides what writers and readers do and which faults come in which order; what meets what is up to the
//! machine.

mod app;
mod audit;
mod carrier;
mod director;
pub mod faults;
mod layout;
mod ledger;
mod plan;
mod reader;
mod recovery;
mod report;
mod session;
mod shape;
mod stage;
mod teller;
mod world;
mod writer;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::random::Random;
use crate::stop::check_stop;
use director::Director;
use faults::Fault;
use reader::Reader;
use shape::WRITERS;
use stage::Stage;
use teller::Teller;
use world::{BOUND, PATIENCE, SIDECARS, World};
use writer::{Request, Writer};

pub use carrier::Transport;
pub use report::{FaultReport, Report, Told};
pub use shape::Source;
pub use stage::Operations;

/// Readers of each sidecar.
const READERS: u64 = 2;

/// What a run consists of.
#[derive(Clone, Debug)]
pub struct Options {
    /// The sidecar's program.
    pub sidecar: PathBuf,
    /// Repeats the plan of a run.
    pub seed: u64,
    /// How long faults are made; start and end come on top.
    pub time: Duration,
    /// Faults made at least, however long that takes.
    pub least: usize,
    /// What carries the changes from the databases to the sidecars.
    pub transport: Transport,
    /// The databases.
    pub sources: Vec<Source>,
    /// The faults; each is made before one is made again.
    pub faults: Vec<Fault>,
    /// Rows of a huge transaction.
    pub huge: u32,
    /// How much longer than it promises anything may take to be noticed or to recover: a machine that does other things at
    /// the same time isn't measured.
    pub slack: Duration,
}

impl Options {
    /// A run over Redis with both databases and all faults.
    #[must_use]
    pub fn new(sidecar: PathBuf, seed: u64, time: Duration) -> Self {
        Self {
            sidecar,
            seed,
            time,
            least: 0,
            transport: Transport::default(),
            sources: Source::ALL.to_vec(),
            faults: faults::ALL.to_vec(),
            huge: 20_000,
            slack: Duration::ZERO,
        }
    }
}

/// Runs it. Violations are in the report; an error is a world that couldn't be made.
pub fn run(options: &Options) -> Result<Report> {
    let started = Instant::now();
    let random = Random::new(options.seed);
    let transport = options.transport;
    let sources: Vec<Source> =
        options.sources.iter().copied().filter(|source| transport.carries(*source)).collect();
    ensure!(!sources.is_empty(), "none of the databases goes over {}", transport.name());
    let options = &Options { sources, ..options.clone() };
    let faults: Vec<Fault> =
        options.faults.iter().copied().filter(|fault| fault.fits(&options.sources, transport)).collect();
    ensure!(
        !faults.is_empty(),
        "none of the faults can be done to these databases over {}",
        transport.name()
    );
    let tell = |what: &str| eprintln!("{:>10.1} s  {what}", started.elapsed().as_secs_f64());
    let mut world = World::start(&options.sidecar, transport, &options.sources, &mut random.fork(1))?;
    tell(&format!("databases, {} and sidecars run", world.carrier.told()));
    let stage = Arc::new(Stage::new(SIDECARS, Some(BOUND)));
    stage.report(writer::announce_probes(&stage));
    let (mut writers, mut asked) = (Vec::new(), HashMap::<Source, SyncSender<Request>>::new());
    // Nobody asks anything of them, but they listen.
    let mut not_asked = Vec::new();
    for (index, door) in world.doors().into_iter().enumerate() {
        for number in 0..WRITERS {
            let (ask, requests) = sync_channel(1);
            let random = random.fork(100 + 10 * index as u64 + u64::from(number));
            let teller = world
                .saying(door.source)
                .map(|saying| Teller::start(&stage, saying, format!("{}-{number}", door.source.name())));
            let mut writer = Writer::new(Arc::clone(&stage), door, number, random, requests, teller);
            writer.begin().context("the first rows")?;
            if number == 0 {
                asked.insert(door.source, ask);
            } else {
                not_asked.push(ask);
            }
            writers.push(writer);
        }
    }
    tell("the first rows are written");
    world.await_pipeline(recovery::wall_ms())?;
    tell("changes come through");
    world.await_fresh(&stage, PATIENCE).context("before anything was done")?;
    tell("every sidecar is fresh and takes fills; faults are counted from here");
    let readers: Vec<_> = (0..SIDECARS)
        .flat_map(|sidecar| (0..READERS).map(move |number| (sidecar, number)))
        .map(|(sidecar, number)| {
            let random = random.fork(200 + 10 * sidecar as u64 + number);
            (sidecar, world.sidecars[sidecar].tcp(), random)
        })
        .collect();
    let doors = world.doors();
    let order = random.fork(3);
    let mut director = Director::new(&mut world, &stage, options, faults, asked, random.fork(2));
    thread::scope(|scope| {
        // However the director ends, the others have to.
        let _over = Over(&stage);
        for writer in writers {
            scope.spawn(move || writer.run());
        }
        for (sidecar, target, random) in readers {
            let app = app::App::new(&stage, sidecar, target, doors.clone());
            let reader = Reader::new(app, random, order.clone(), &options.sources);
            scope.spawn(move || reader.run());
        }
        director.direct()
    })?;
    check_stop()?;
    director.report(started.elapsed()).ok_or_else(|| anyhow!("nothing was done"))
}

struct Over<'a>(&'a Stage);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
