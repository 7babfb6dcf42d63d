//! What a process uses of the machine, as the kernel accounts for it.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::param::clock_ticks_per_second;

/// What a process has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Of the processor, by the program.
    pub(crate) user: Duration,
    /// Of the processor, by the kernel for it.
    pub(crate) system: Duration,
    /// Memory in KiB, now.
    pub(crate) resident: u64,
    /// The same, at most so far.
    pub(crate) peak: u64,
}

impl Usage {
    /// Of a process, from its start until now.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}"));
        Self::parse(&read("stat")?, &read("status")?, clock_ticks_per_second())
            .context("the kernel's account of a process")
    }

    /// From `/proc/<pid>/stat` and `/proc/<pid>/status`, by the clock's ticks a second.
    fn parse(stat: &str, status: &str, ticks: u64) -> Option<Self> {
        // The name before may hold blanks.
        let (_, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let time = |field: usize| {
            let millis = fields.get(field)?.parse::<u64>().ok()?.checked_mul(1000)?.checked_div(ticks)?;
            Some(Duration::from_millis(millis))
        };
        let memory = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.trim().strip_suffix(" kB")?.parse().ok()
        };
        // Fields 14 and 15 of all, the third of which is the first here.
        let (user, system) = (time(11)?, time(12)?);
        Some(Self { user, system, resident: memory("VmRSS")?, peak: memory("VmHWM")? })
    }

    /// The times since then, the memory as it is.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
            ..self
        }
    }
}

/// How long the threads of a process that live have been on a processor, finer than the ticks of [`Usage`].
pub(crate) fn ran(pid: u32) -> Result<Duration> {
    let mut all = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may have ended since it was listed.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let ran = text.split(' ').next().and_then(|text| text.parse().ok());
        all += Duration::from_nanos(ran.context("schedstat begins with a number")?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_account_is_read() {
        let stat = "42 (a b) c) S 1 42 42 0 -1 4194304 500 0 0 0 123 45 0 0 20 0 3 0 999 1000 200\n";
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        let wanted = Usage {
            user: Duration::from_millis(1230),
            system: Duration::from_millis(450),
            resident: 1024,
            peak: 2048,
        };
        assert_eq!(Usage::parse(stat, status, 100), Some(wanted));
        assert_eq!(Usage::parse("", status, 100), None);
        assert_eq!(Usage::parse(stat, "", 100), None);
    }
}
