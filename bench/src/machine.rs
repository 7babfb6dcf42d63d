//! What a benchmark runs on, as far as it explains numbers.

use std::fmt;
use std::fs;

use anyhow::{Context as _, Result};

/// The machine as it is now.
#[derive(Clone, Debug)]
pub struct Machine {
    cores: usize,
    model: String,
    load: String,
}

impl Machine {
    /// Looks at this machine; what it doesn't tell is said to be unknown.
    #[must_use]
    pub fn now() -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let minute = load.split(' ').next().filter(|word| !word.is_empty());
        let unknown = || "unknown".to_owned();
        Self {
            cores,
            model: model.map_or_else(unknown, |(_, model)| model.to_owned()),
            load: minute.map_or_else(unknown, str::to_owned),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cores of {}, load {} in the last minute", self.cores, self.model, self.load)
    }
}

/// Bytes of this process that are in memory.
pub(crate) fn resident() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/statm").context("reading /proc/self/statm")?;
    let pages: u64 = text.split(' ').nth(1).context("statm has a second number")?.parse()?;
    Ok(pages * rustix::param::page_size() as u64)
}
