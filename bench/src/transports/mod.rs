//! What a sidecar uses while nothing comes, and what it takes to apply what does, over every transport.
//!
//! Each has its own real server, but for a file, and a sidecar of its own, one after the other. What is told of the processor is the kernel's
//! account of the sidecar's process; the peer of each transport is the first one in the same run, Redis Streams.

mod server;

use std::fmt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use freshet_e2e::process::Sidecar;

pub use server::Kind;
use server::Server;

use crate::usage::ran;
use crate::{Machine, Usage};

/// Bytes of a value.
const VALUE: usize = 200;
/// Messages that are published about one key, one after the other.
const BLOCK: usize = 2_000;
/// Messages that are published before it is looked whether most are applied: more than a server keeps for whoever is slow.
const AHEAD: usize = 20_000;
/// How long anything may take that is only waited for.
const PATIENCE: Duration = Duration::from_mins(2);

/// What is measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// The sidecar's program.
    pub sidecar: PathBuf,
    /// The transports, in this order.
    pub kinds: Vec<Kind>,
    /// How long nothing comes.
    pub idle: Duration,
    /// Messages that are applied.
    pub messages: usize,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Report {
    machine: Machine,
    idle: Duration,
    messages: usize,
    cells: Vec<Cell>,
}

/// One transport.
#[derive(Clone, Debug)]
struct Cell {
    kind: Kind,
    /// Memory in KiB, when nothing had come yet.
    resident: u64,
    /// Of the processor, while nothing came.
    idle: Duration,
    /// Of the processor, while messages were applied.
    applying: Duration,
    /// How long that took, the publishing included.
    took: Duration,
}

/// Measures it.
pub fn run(options: &Options) -> Result<Report> {
    ensure!(!options.idle.is_zero(), "the time is to be more than zero");
    ensure!(options.messages >= BLOCK, "the number of messages is to be {BLOCK} at least");
    let machine = Machine::now();
    let cells = options.kinds.iter().map(|kind| measure(*kind, options)).collect::<Result<_>>()?;
    Ok(Report { machine, idle: options.idle, messages: options.messages, cells })
}

fn measure(kind: Kind, options: &Options) -> Result<Cell> {
    let server = kind.start()?;
    let mut sidecar = follow(&server, &options.sidecar)?;
    let pid = sidecar.process().pid();
    let before = ran(pid)?;
    // How long it is measured, and no condition that is waited for.
    thread::sleep(options.idle);
    let (idle, resident) = (ran(pid)?.saturating_sub(before), Usage::of(pid)?.resident);
    let (before, from) = (ran(pid)?, Instant::now());
    let text = "v".repeat(VALUE);
    let mut published = 0;
    while published < options.messages {
        let count = BLOCK.min(options.messages - published);
        server.publish(&format!("key-{}", published / BLOCK), &text, now_ms(), count)?;
        published += count;
        if published % AHEAD == 0 || published == options.messages {
            applied(&mut sidecar, u64::try_from(published.saturating_sub(AHEAD / 2))?)?;
        }
    }
    applied(&mut sidecar, u64::try_from(options.messages)?)?;
    let took = from.elapsed();
    Ok(Cell { kind, resident, idle, applying: ran(pid)?.saturating_sub(before), took })
}

/// Waits until so many messages are applied.
fn applied(sidecar: &mut Sidecar, count: u64) -> Result<()> {
    sidecar.until("what was published is applied", PATIENCE, |sidecar| {
        let source = &sidecar.status()?["sources"]["bus"];
        ensure!(source["epochChanges"] == serde_json::json!({}), "some of it is lost: {source}");
        ensure!(source["entries"].as_u64() >= Some(count), "{source}");
        Ok(())
    })
}

/// A sidecar that has all that the server has.
fn follow(server: &Server, program: &Path) -> Result<Sidecar> {
    let binding = format!(
        "apiVersion: freshet.dev/v1alpha1
kind: CacheBinding
metadata: {{name: bench}}
spec:
  sources:
  - name: bus
    {}
  caches:
  - {{name: values, published: true}}",
        server.source()
    );
    let mut sidecar = Sidecar::builder(program, &binding).start()?;
    sidecar.until("the source is fresh", PATIENCE, |sidecar| {
        let source = &sidecar.status()?["sources"]["bus"];
        ensure!(source["state"] == "Fresh", "{source}");
        Ok(())
    })?;
    Ok(sidecar)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

// === impl Report ===

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "idle for {} s each, then {} messages with {VALUE} bytes; {}\n",
            self.idle.as_secs(),
            self.messages,
            self.machine
        )?;
        writeln!(
            f,
            "{:<16} {:>10} {:>12} {:>6} {:>14} {:>16} {:>6} {:>8}",
            "", "memory KiB", "idle, % core", "ratio", "a message, µs", "a core's second", "ratio", "took s"
        )?;
        let Some(peer) = self.cells.first() else { return Ok(()) };
        self.cells.iter().try_for_each(|cell| {
            writeln!(
                f,
                "{:<16} {:>10} {:>12.2} {:>6.2} {:>14.2} {:>16.0} {:>6.2} {:>8.1}",
                cell.kind.name(),
                cell.resident,
                self.idle_share(cell) * 100.0,
                self.idle_share(cell) / self.idle_share(peer).max(f64::MIN_POSITIVE),
                self.each(cell) * 1e6,
                1.0 / self.each(cell).max(f64::MIN_POSITIVE),
                self.each(cell) / self.each(peer).max(f64::MIN_POSITIVE),
                cell.took.as_secs_f64(),
            )
        })
    }
}

impl Report {
    /// Of a core, while nothing came.
    fn idle_share(&self, cell: &Cell) -> f64 {
        cell.idle.as_secs_f64() / self.idle.as_secs_f64()
    }

    /// Seconds of a core for a message.
    fn each(&self, cell: &Cell) -> f64 {
        let messages = f64::from(u32::try_from(self.messages).unwrap_or(u32::MAX));
        cell.applying.as_secs_f64() / messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_beside_the_first() {
        let cell = |kind, idle, applying| Cell {
            kind,
            resident: 2048,
            idle: Duration::from_millis(idle),
            applying: Duration::from_millis(applying),
            took: Duration::from_secs(3),
        };
        let cells = vec![cell(Kind::RedisStream, 100, 1000), cell(Kind::Nats, 50, 2000)];
        let report =
            Report { machine: Machine::now(), idle: Duration::from_secs(10), messages: 100_000, cells };
        let shown = report.to_string();
        let last: Vec<_> = shown.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(last, ["nats", "2048", "0.50", "0.50", "20.00", "50000", "2.00", "3.0"], "{shown}");
    }
}
