//! What our Docker daemon makes outside its folder (processes, mounts, bridges, rules, control groups), found by
//! names that only it has, so that it can be removed after any crash and nothing else ever is.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::rules::{Rules, Shared};
use crate::artefact::Inputs;
use crate::command::{output, program};
use crate::process::until;

/// The programs that a daemon consists of.
const PROGRAMS: [&str; 5] = ["dockerd", "containerd", "containerd-shim", "containerd-shim-runc-v2", "runc"];

/// Everything of the daemon in one folder.
pub struct Ours {
    folder: PathBuf,
}

impl Ours {
    /// Of the daemon in `folder`, running or not.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The control group that all its containers are in.
    #[must_use]
    pub fn cgroup(&self) -> String {
        format!("/freshet-{}", hash(&self.folder.to_string_lossy(), 8))
    }

    /// The name of a cluster's bridge: at most 15 bytes, beginning with what all bridges of this folder begin with.
    pub(crate) fn bridge(&self, cluster: &str) -> String {
        format!("{}{}", self.bridges(), hash(cluster, 8))
    }

    /// What the names of all its bridges begin with.
    #[must_use]
    pub fn bridges(&self) -> String {
        format!("fr{}-", hash(&self.folder.to_string_lossy(), 4))
    }

    /// Notes what the packet filter was like before the daemon, unless a killed one's note is there.
    pub(crate) fn remember_rules(&self) -> Result<()> {
        let note = self.folder.join("rules-before.json");
        if note.exists() {
            return Ok(());
        }
        let text = serde_json::to_vec(&Rules::now()?)?;
        fs::write(&note, text).with_context(|| format!("writing {}", note.display()))
    }

    /// Ends the daemon: `true` if it did so by itself or wasn't running, `false` if it had to be killed.
    pub(crate) fn end_daemon(&self, patience: Duration) -> bool {
        let daemon = || self.processes().into_iter().find(|process| process.program == "dockerd");
        let Some(found) = daemon() else { return true };
        found.signal(Signal::TERM);
        let start = Instant::now();
        while daemon().is_some() {
            if start.elapsed() > patience {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// Removes all of it but the images.
    pub(crate) fn remove(&self) -> Result<()> {
        until("the processes of our Docker daemon end", Duration::from_secs(20), || {
            let left = self.processes();
            for process in &left {
                process.signal(Signal::KILL);
            }
            if left.is_empty() { Ok(()) } else { bail!("{} processes are left", left.len()) }
        })?;
        for point in self.mounts()? {
            output(program("umount").arg("--lazy").arg(&point))?;
        }
        for bridge in self.links()? {
            output(program("ip").args(["link", "delete", &bridge]))?;
        }
        let note = self.folder.join("rules-before.json");
        if let Ok(text) = fs::read(&note) {
            let before: Rules = serde_json::from_slice(&text).context("reading rules-before.json")?;
            before.restore(&self.bridges(), self.shared())?;
            fs::remove_file(&note)?;
        }
        for group in self.cgroups() {
            remove_groups(&group)?;
        }
        for socket in self.shim_sockets() {
            let _ = fs::remove_file(socket);
        }
        for name in ["exec", "docker.pid", "docker.sock"] {
            let path = self.folder.join(name);
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
        Ok(())
    }

    /// One line for everything that is there; none after a `down` that was the daemon's last.
    pub(crate) fn list(&self) -> Result<Vec<String>> {
        let mut found: Vec<String> =
            self.processes().iter().map(|it| format!("process {} {}", it.pid, it.program)).collect();
        found.extend(self.mounts()?.into_iter().map(|point| format!("mount {point}")));
        found.extend(self.links()?.into_iter().map(|link| format!("link {link}")));
        found.extend(self.cgroups().iter().map(|group| format!("control group {}", group.display())));
        found.extend(self.shim_sockets().iter().map(|socket| format!("socket {}", socket.display())));
        for name in ["docker.pid", "docker.sock", "unclean"] {
            found.extend(self.folder.join(name).exists().then(|| format!("file {name}")));
        }
        if let Ok(text) = fs::read(self.folder.join("rules-before.json")) {
            let before: Rules = serde_json::from_slice(&text)?;
            found.extend(
                before.added(&self.bridges(), self.shared())?.into_iter().map(|rule| format!("rule {rule}")),
            );
        }
        Ok(found)
    }

    /// Whether any daemon but ours runs, be it the user's or that of another cache folder.
    fn shared(&self) -> Shared {
        let folder = format!("{}/", self.folder.display());
        let other =
            |(_, program, line): &(i32, String, String)| program == "dockerd" && !line.contains(&folder);
        if running().iter().any(other) { Shared::InUse } else { Shared::Unused }
    }

    fn processes(&self) -> Vec<Found> {
        let cgroup = format!("{}/", self.cgroup());
        let folder = format!("{}/", self.folder.display());
        running()
            .into_iter()
            .filter_map(|(pid, program, line)| {
                let contained = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?.contains(&cgroup);
                let daemons = PROGRAMS.contains(&program.as_str()) && line.contains(&folder);
                (contained || daemons).then_some(Found { pid, program })
            })
            .collect()
    }

    /// Mount points below the folder, the deepest first.
    fn mounts(&self) -> Result<Vec<String>> {
        let table = fs::read_to_string("/proc/self/mountinfo").context("reading the mounts")?;
        let below = format!("{}/", self.folder.display());
        let mut points: Vec<String> =
            table.lines().filter_map(|line| line.split(' ').nth(4)).map(unescaped).collect();
        points.retain(|point| point.starts_with(&below));
        points.sort_by_key(|point| std::cmp::Reverse(point.len()));
        Ok(points)
    }

    fn links(&self) -> Result<Vec<String>> {
        let names = fs::read_dir("/sys/class/net").context("listing network interfaces")?;
        let names = names.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.filter(|name| name.starts_with(&self.bridges())).collect())
    }

    /// The daemon's control group in each hierarchy that has it.
    fn cgroups(&self) -> Vec<PathBuf> {
        let name = self.cgroup();
        let name = name.trim_start_matches('/');
        let top = Path::new("/sys/fs/cgroup");
        let hierarchies =
            fs::read_dir(top).into_iter().flatten().flatten().map(|entry| entry.path().join(name));
        hierarchies.chain([top.join(name)]).filter(|group| group.is_dir()).collect()
    }

    /// Shims put their sockets in a folder shared with every other containerd, and note the address in ours.
    fn shim_sockets(&self) -> Vec<PathBuf> {
        let tasks = self.folder.join("exec/containerd/daemon/io.containerd.runtime.v2.task/moby");
        let tasks = fs::read_dir(tasks).into_iter().flatten().flatten();
        let addresses = tasks.filter_map(|task| fs::read_to_string(task.path().join("address")).ok());
        let sockets = addresses.filter_map(|text| text.trim().strip_prefix("unix://").map(PathBuf::from));
        sockets.filter(|socket| socket.exists()).collect()
    }
}

struct Found {
    pid: i32,
    program: String,
}

impl Found {
    fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid) {
            // It may have ended meanwhile.
            let _ = kill_process(pid, signal);
        }
    }
}

/// The processes of the machine: id, program, command line.
fn running() -> Vec<(i32, String, String)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let process = |pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let program = line.split('\0').next()?.rsplit('/').next()?.to_owned();
        // A zombie's command line is empty, and it holds nothing any more.
        (!line.is_empty()).then_some((pid, program, line))
    };
    pids.filter_map(process).collect()
}

/// Control groups are removed from the leaves up, by rmdir alone; files in them go with them.
fn remove_groups(group: &Path) -> Result<()> {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type()?.is_dir() {
            remove_groups(&entry.path())?;
        }
    }
    until("the control group is empty", Duration::from_secs(5), || match fs::remove_dir(group) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", group.display()))
        }
        _ => Ok(()),
    })
}

/// mountinfo writes spaces and the like as three octal digits.
fn unescaped(field: &str) -> String {
    field.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

/// The first `digits` (at most 16) hexadecimal digits of the text's hash.
pub(crate) fn hash(text: &str, digits: usize) -> String {
    let mut key = Inputs::new().text(text).key();
    key.truncate(digits);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_has_a_name_that_the_kernel_takes() {
        let ours = Ours::of(Path::new("/home/somebody/.cache/freshet/docker"));
        let bridge = ours.bridge("freshet-0123abcd");
        assert_eq!(bridge.len(), 15);
        assert!(bridge.starts_with(&ours.bridges()));
        assert_ne!(ours.bridges(), Ours::of(Path::new("/var/cache/freshet/docker")).bridges());
    }

    #[test]
    fn a_folder_without_a_daemon_has_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Ours::of(folder.path()).list().unwrap(), Vec::<String>::new());
    }
}
