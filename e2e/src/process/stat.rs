//! What the kernel tells of any process in `/proc/PID/stat` (proc(5)): its state and its parent.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::until;

/// The parent of a process that runs; `None` when it is gone or waits to be collected.
pub(super) fn parent(pid: i32) -> Option<i32> {
    let (state, parent) = read(Path::new(&format!("/proc/{pid}")))?;
    if state == 'Z' { None } else { Some(parent) }
}

/// Waits until every thread of a process stands still after SIGSTOP: each stops only when it is next scheduled, and
/// may have answered somebody by then.
pub(super) fn await_stopped(name: &str, pid: i32) -> Result<()> {
    until(&format!("{name} is stopped"), Duration::from_secs(10), || {
        // One that has ended answers nobody either.
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let states: String =
            threads.filter_map(|thread| read(&thread.path())).map(|(state, _)| state).collect();
        ensure!(states.chars().all(|state| "TtXZ".contains(state)), "its threads' states are {states}");
        Ok(())
    })
}

fn read(folder: &Path) -> Option<(char, i32)> {
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    // After the name, which may hold anything, come the state and the parent.
    let mut rest = stat.rsplit_once(") ")?.1.split(' ');
    Some((rest.next()?.chars().next()?, rest.next()?.parse().ok()?))
}
