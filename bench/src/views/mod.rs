//! What it costs to read the top of a view, to rank one, and to keep one over rows.

mod products;
mod reading;
mod rows;
mod sorting;

use std::fmt;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::Machine;
use reading::Reading;
use rows::Rows;
use sorting::Sorting;

/// Items that are read.
const TOP: usize = 20;

/// What was measured.
#[derive(Clone, Debug)]
pub struct Report {
    machine: Machine,
    samples: usize,
    reading: Reading,
    sorting: Sorting,
    rows: Rows,
}

/// Measures so many reads of each kind with the sidecar at `program`, one after the other.
pub fn run(program: &Path, samples: usize) -> Result<Report> {
    ensure!(samples > 0, "the number of samples is to be more than zero");
    let machine = Machine::now();
    // First: its memory isn't that of what came before.
    let rows = Rows::measure(samples)?;
    let reading = Reading::measure(program, samples)?;
    let sorting = Sorting::measure()?;
    Ok(Report { machine, samples, reading, sorting, rows })
}

/// A view over a list of the service at this place.
fn manifest(url: &str) -> String {
    format!(
        "apiVersion: freshet.dev/v1alpha1
kind: CacheBinding
metadata: {{name: bench}}
spec:
  memory: 256Mi
  sidecar: {{maxValue: 16Mi}}
  caches:
  - {{name: shop, upstream: {{url: '{url}', maxBytes: 16Mi}}}}
  views:
  - {{name: top, cache: shop, keys: [products], orderBy: /rating/average, limit: 100}}"
    )
}

// === impl Report ===

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} reads of each kind, one after the other; {}\n", self.samples, self.machine)?;
        write!(f, "{}\n{}\n{}", self.reading, self.sorting, self.rows)
    }
}
