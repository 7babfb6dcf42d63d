//! A reader: reads one sidecar all the time, and fills it on misses: at once, late, or not at all.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use super::app::{ABSENT, App, Filled, Got, Lease, Place, Unexpected};
use super::ledger::{Moment, Rule, Value, Violation};
use super::shape::{Cache, Source};
use super::stage::bump;
use crate::random::Random;

/// The pause between two reads, in milliseconds.
const PAUSE_MS: (u64, u64) = (2, 12);

/// How long a late fill comes after its read, in milliseconds.
const LATE_MS: (u64, u64) = (20, 1500);

pub(crate) struct Reader<'a> {
    app: App<'a>,
    random: Random,
    places: Vec<Place>,
    /// Fills that come late, by when.
    late: BTreeMap<(Moment, u64), (Lease, Value)>,
    number: u64,
}

impl<'a> Reader<'a> {
    /// `order` is how popular places are: the same for all readers.
    pub(crate) fn new(app: App<'a>, random: Random, mut order: Random, sources: &[Source]) -> Self {
        let places = sources.iter().flat_map(|source| {
            Cache::ALL.into_iter().flat_map(move |cache| {
                cache.numbers().into_iter().map(move |number| Place { source: *source, cache, number })
            })
        });
        let mut places: Vec<Place> = places.collect();
        order.shuffle(&mut places);
        Self { app, random, places, late: BTreeMap::new(), number: 0 }
    }

    /// Reads until the run is over.
    pub(crate) fn run(mut self) {
        while !self.app.stage.is_over() {
            if let Err(error) = self.step() {
                let stage = self.app.stage;
                bump(&stage.counts.unanswered);
                if let Some(unexpected) = error.downcast_ref::<Unexpected>() {
                    let what = format!("sidecar {}: {unexpected}", self.app.sidecar);
                    stage.report([Violation::new(Rule::Unexpected, stage.now(), what)]);
                }
                thread::sleep(ABSENT);
            }
            thread::sleep(Duration::from_millis(self.random.between(PAUSE_MS.0, PAUSE_MS.1)));
        }
    }

    fn step(&mut self) -> anyhow::Result<()> {
        let now = self.app.stage.now();
        while let Some(next) = self.late.first_entry().filter(|next| next.key().0 <= now) {
            let (lease, value) = next.remove();
            self.fill(&lease, &value)?;
        }
        let stage = self.app.stage;
        // Some are read often and some seldom, as it is.
        let among = self.random.between(1, self.places.len() as u64);
        let place = self.places[usize::try_from(self.random.below(among))?];
        let calm = !stage.has_fault();
        let got = self.app.get(place, false)?;
        bump(&stage.counts.reads);
        if calm {
            bump(&stage.counts.calm_reads);
        }
        let lease = match got {
            Got::Hit(read) => {
                bump(&stage.counts.hits);
                if calm {
                    bump(&stage.counts.calm_hits);
                }
                // A sidecar that was started meanwhile may be either one.
                if read.instance == stage.instance(self.app.sidecar) {
                    let violation = stage.ledger().served(&read, stage.bound);
                    stage.report(violation);
                }
                return Ok(());
            }
            Got::Miss { lease, vouched } => {
                if !vouched {
                    bump(&stage.counts.not_vouched);
                }
                lease
            }
        };
        let Some(lease) = lease else { return Ok(()) };
        if self.random.chance(5) {
            bump(&stage.counts.fills_given_up);
            return Ok(());
        }
        // A database that is down is a lease given up: the application has nothing to bring.
        let Ok(value) = self.app.load(place) else {
            bump(&stage.counts.fills_given_up);
            return Ok(());
        };
        if self.random.chance(15) {
            let due = stage.now() + Duration::from_millis(self.random.between(LATE_MS.0, LATE_MS.1));
            self.number += 1;
            bump(&stage.counts.fills_late);
            self.late.insert((due, self.number), (lease, value));
            return Ok(());
        }
        self.fill(&lease, &value)
    }

    fn fill(&mut self, lease: &Lease, value: &Value) -> anyhow::Result<()> {
        let counts = &self.app.stage.counts;
        bump(match self.app.fill(lease, value)? {
            Filled::Stored => &counts.fills_accepted,
            Filled::Fenced => &counts.fills_fenced,
            Filled::Foreign => &counts.fills_refused,
        });
        Ok(())
    }
}
