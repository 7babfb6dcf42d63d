//! What a million entries cost that depend on tables: memory, a table's change, and the sweep that frees what it voids.

mod memory;
mod sweep;
mod table;
mod world;

use std::fmt;

use anyhow::{Result, ensure};

use crate::Machine;
use memory::Memory;
use sweep::Sweep;
use table::Changes;
use world::World;

/// Caches, each of which depends on a table of its own.
const CACHES: usize = 10;

/// All tables. Of those that no cache depends on, each fill names two that its value depends on.
const TABLES: usize = 50;

/// Entries of the engine whose changes are the peer's: what doesn't depend on the number of entries takes as long there.
const FEW: usize = 1000;

/// What was measured.
#[derive(Clone, Debug)]
pub struct Report {
    machine: Machine,
    entries: usize,
    memory: Memory,
    changes: Changes,
    sweep: Sweep,
}

/// Measures so many entries.
pub fn run(entries: usize) -> Result<Report> {
    ensure!(entries >= FEW, "the number of entries is to be {FEW} at least");
    let machine = Machine::now();
    // First of all: what is freed later is no longer there to be measured.
    let (world, memory) = Memory::measure(entries)?;
    let few = World::new(FEW)?;
    let changes = Changes::measure(&world, &few)?;
    drop(few);
    let sweep = Sweep::measure(world)?;
    Ok(Report { machine, entries, memory, changes, sweep })
}

// === impl Report ===

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} entries of {CACHES} caches, each with three of {TABLES} tables that it depends on; {}\n",
            self.entries, self.machine
        )?;
        writeln!(f, "{}\n{}\n{}", self.memory, self.changes, self.sweep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_is_done() {
        let report = run(5000).unwrap();
        let shown = report.to_string();
        assert!(shown.starts_with("5000 entries of 10 caches, each with three of 50 tables"), "{shown}");
        assert!(run(1).is_err());
    }
}
