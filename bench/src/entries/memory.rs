//! Memory per entry, beyond its key and value.

use std::collections::HashMap;
use std::fmt;

use anyhow::Result;

use crate::machine::resident;

use super::world::{VALUE, World, key};

/// Bytes per entry beyond its key and value.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    /// By the sidecar's engine.
    freshet: f64,
    /// By the standard library's map of boxed keys and values.
    map: f64,
}

impl Memory {
    /// Fills an engine, and a plain map before it.
    pub(super) fn measure(entries: usize) -> Result<(World, Self)> {
        let each = |bytes: u64| {
            let own = (entries * (key(0).len() + VALUE)) as u64;
            #[expect(clippy::cast_precision_loss, reason = "bytes of one process stay far below 2^53")]
            let (beyond, entries) = (bytes.saturating_sub(own) as f64, entries as f64);
            beyond / entries
        };
        let before = resident()?;
        let world = World::new(entries)?;
        let freshet = each(resident()?.saturating_sub(before));
        let before = resident()?;
        let map: HashMap<Box<str>, Box<[u8]>> =
            (0..entries).map(|entry| (key(entry).into(), vec![b'x'; VALUE].into())).collect();
        let plain = each(resident()?.saturating_sub(before));
        drop(map);
        Ok((world, Self { freshet, map: plain }))
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "memory per entry, beyond key and value, of what is resident:")?;
        writeln!(f, "{:32} {:8.0} B", "the engine", self.freshet)?;
        writeln!(f, "{:32} {:8.0} B  {:6.2} times as much", "a plain map", self.map, self.freshet / self.map)
    }
}
