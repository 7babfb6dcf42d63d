//! A change of a table on which a tenth or a twentieth of all entries depend.

use std::fmt;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::{CACHES, TABLES, world::World};
use crate::Spread;

/// Changes of each engine.
const CHANGES: usize = 2000;

/// How long changes take.
#[derive(Clone, Debug)]
pub(super) struct Changes {
    many: Spread,
    few: Spread,
}

impl Changes {
    /// The engines take turns.
    pub(super) fn measure(many: &World, few: &World) -> Result<Self> {
        let mut times = [Vec::new(), Vec::new()];
        for n in 0..2 * CHANGES {
            let world = [many, few][n % 2];
            let begun = Instant::now();
            world.change(n / 2 % TABLES, n as u64 + 1)?;
            times[n % 2].push(begun.elapsed());
        }
        for world in [many, few] {
            for entry in 0..CACHES {
                ensure!(world.get(entry)?.is_some(), "a value outlived its table's change");
            }
        }
        let [many, few] = times.map(|times| times.into_iter().collect());
        Ok(Self { many, few })
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = |spread: &Spread, thousandth| spread.at(thousandth).as_secs_f64() * 1e6;
        writeln!(f, "a table's change, read and applied (µs):                   p50      p99")?;
        for (name, spread) in [("all entries", &self.many), ("the peer, with 1000", &self.few)] {
            writeln!(f, "{name:52} {:8.1} {:8.1}", us(spread, 500), us(spread, 990))?;
        }
        let ratio = |thousandth| self.many.ratio(&self.few, thousandth);
        writeln!(f, "{:52} {:8.2} {:8.2}", "ratio", ratio(500), ratio(990))
    }
}
