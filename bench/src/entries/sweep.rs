//! The sweep that frees void entries, and what requests see of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use freshet_sidecar::sweeper;

use super::world::World;
use crate::Spread;
use crate::processor::processor;

/// How long a walk may take, however busy the machine is.
const LONGEST: Duration = Duration::from_mins(5);

/// What was seen of sweeps.
#[derive(Clone, Debug)]
pub(super) struct Sweep {
    /// A walk that drops nothing, in one go.
    walk: Duration,
    /// A walk that drops everything, in one go: what a request waits for on the same thread.
    drop: Duration,
    /// What requests take while nothing is swept.
    idle: Requests,
    /// What they take while the sweeper's thread walks and drops a tenth.
    swept: Requests,
    /// How long that took.
    paced: Duration,
}

#[derive(Clone, Debug, Default)]
struct Requests {
    reads: Spread,
    fills: Spread,
}

impl Sweep {
    /// All entries of `world` are void. They are swept, filled again and swept again.
    pub(super) fn measure(mut world: World) -> Result<Self> {
        world.pass();
        let tick = world.now.tick;
        let begun = processor();
        world.engine.sweep(true, || tick);
        let drop = processor().saturating_sub(begun);
        let refill = |world: &World| -> Result<()> {
            for entry in 0..world.entries {
                if let Some(token) = world.get(entry)? {
                    world.put(entry, &token)?;
                }
            }
            Ok(())
        };
        refill(&world)?;
        let begun = processor();
        world.engine.sweep(true, || tick);
        let walk = processor().saturating_sub(begun);
        let missing = (0..world.entries).filter(|entry| !matches!(world.get(*entry), Ok(None))).count();
        ensure!(missing == 0, "a walk dropped {missing} entries that aren't void");

        let idle = requests(&world, &mut || false)?;
        // A tenth of them are void from here on.
        world.change(0, 1_000_000)?;
        world.pass();
        let done = Arc::new(AtomicBool::new(false));
        let (engine, ended) = (Arc::clone(&world.engine), Arc::clone(&done));
        let begun = Instant::now();
        let sweeper = thread::spawn(move || {
            sweeper::walk(&engine, true);
            ended.store(true, Ordering::Release);
        });
        let swept = requests(&world, &mut || !done.load(Ordering::Acquire) && begun.elapsed() < LONGEST)?;
        let paced = begun.elapsed();
        ensure!(sweeper.join().is_ok(), "the sweeper's thread failed");
        Ok(Self { walk, drop, idle, swept, paced })
    }
}

/// Reads and fills, ten a millisecond at most: ten thousand at least, and as long as there is `more`.
fn requests(world: &World, more: &mut impl FnMut() -> bool) -> Result<Requests> {
    let (mut reads, mut fills) = (Vec::new(), Vec::new());
    let mut n = 0_usize;
    while n < 10_000 || more() {
        if n.is_multiple_of(10) {
            thread::sleep(Duration::from_millis(1));
        }
        // A tenth of them are read again and again, and of the others each is read once.
        let entry = if n.is_multiple_of(2) { n % (world.entries / 10) } else { n * 7919 % world.entries };
        let begun = Instant::now();
        let lease = world.get(entry)?;
        reads.push(begun.elapsed());
        if let Some(token) = lease {
            let begun = Instant::now();
            world.put(entry, &token)?;
            fills.push(begun.elapsed());
        }
        n += 1;
    }
    Ok(Requests { reads: reads.into_iter().collect(), fills: fills.into_iter().collect() })
}

impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "a walk over all entries in one go, of the processor's time, in which requests on its thread would wait:"
        )?;
        writeln!(f, "{:32} {:8.0} ms", "nothing is void", self.walk.as_secs_f64() * 1e3)?;
        writeln!(f, "{:32} {:8.0} ms", "everything is void", self.drop.as_secs_f64() * 1e3)?;
        writeln!(
            f,
            "the sweeper's own thread, a tenth is void: {:.1} s; meanwhile, in µs:",
            self.paced.as_secs_f64()
        )?;
        writeln!(f, "{:32} {:>9} {:>8} {:>8} {:>8} {:>8}", "", "n", "p50", "p99", "p99.9", "max")?;
        for (name, spread) in [
            ("a read, nothing is swept", &self.idle.reads),
            ("a read, while it sweeps", &self.swept.reads),
            ("a fill, while it sweeps", &self.swept.fills),
        ] {
            let us = |thousandth| spread.at(thousandth).as_secs_f64() * 1e6;
            let (p50, p99, p999, max) = (us(500), us(990), us(999), us(1000));
            writeln!(f, "{name:32} {:9} {p50:8.1} {p99:8.1} {p999:8.1} {max:8.1}", spread.count())?;
        }
        Ok(())
    }
}
