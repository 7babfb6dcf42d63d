//! The operator's survey as a process, and what it uses.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use freshet_e2e::process::Child;
use rustix::param::clock_ticks_per_second;
use serde_json::json;
use tempfile::TempDir;

use super::fleet::Fleet;
use super::real;

/// It runs.
pub(super) struct Asker {
    // The process goes before the folder it uses.
    child: Child,
    _folder: TempDir,
}

/// What a process has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    /// Of the processor, by the program.
    pub(super) user: Duration,
    /// Of the processor, by the kernel for it.
    pub(super) system: Duration,
    /// Memory in KiB, now.
    pub(super) resident: u64,
    /// The same, at most so far.
    pub(super) peak: u64,
}

impl Asker {
    pub(super) fn start(program: &Path, fleet: &Fleet) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("freshet-survey-").tempdir()?;
        let named = fleet.addresses().iter().enumerate();
        let sidecars: BTreeMap<String, SocketAddr> =
            named.map(|(number, address)| (format!("web-7d4b9c6f5-{number:05}"), *address)).collect();
        let binding = folder.path().join("binding.json");
        fs::write(&binding, json!({"sidecars": sidecars, "tables": real::tables()}).to_string())?;
        let mut command = Child::command(program);
        command.arg(&binding);
        let child = Child::spawn("survey", command, &folder.path().join("log"))?;
        Ok(Self { child, _folder: folder })
    }

    pub(super) fn must_run(&mut self) -> Result<()> {
        self.child.must_run()
    }

    /// What it has said last.
    pub(super) fn said(&self) -> String {
        self.child.log().lines().last().unwrap_or_default().to_owned()
    }

    pub(super) fn used(&self) -> Result<Usage> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", self.child.pid()));
        Usage::of(&read("stat")?, &read("status")?, clock_ticks_per_second()).context("what the survey uses")
    }
}

impl Usage {
    /// From `/proc/<pid>/stat` and `/proc/<pid>/status`, by the clock's ticks a second.
    fn of(stat: &str, status: &str, ticks: u64) -> Option<Self> {
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
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
            ..self
        }
    }
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
        assert_eq!(Usage::of(stat, status, 100), Some(wanted));
        assert_eq!(Usage::of("", status, 100), None);
        assert_eq!(Usage::of(stat, "", 100), None);
    }
}
