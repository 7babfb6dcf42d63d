//! A run that is killed half way leaves a cluster behind; the next one removes it, and then itself, without a trace.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use freshet_e2e::{artefact, cluster};
use rustix::process::{Pid, Signal, kill_process};

/// A cache folder of the test's own, with the artefacts of the real one.
struct Cache {
    folder: PathBuf,
    /// One test at a time: runs that are killed with their daemon must be of nobody else.
    _lock: File,
}

impl Cache {
    fn new() -> Self {
        let folder = artefact::folder_for_killed_runs();
        let artefacts = artefact::folder().join("artefacts");
        fs::create_dir_all(&artefacts).unwrap();
        fs::create_dir_all(&folder).unwrap();
        let lock = File::create(folder.join(".lock")).unwrap();
        lock.lock().unwrap();
        if !folder.join("artefacts").exists() {
            std::os::unix::fs::symlink(artefacts, folder.join("artefacts")).unwrap();
        }
        let cache = Self { folder, _lock: lock };
        cache.sweep();
        cache
    }

    fn xtask(&self, args: &[&str]) -> Command {
        let mut xtask = Command::new(std::env::var_os("CARGO").unwrap());
        xtask.args(["run", "--quiet", "--package", "xtask", "--"]).args(args);
        xtask.current_dir(cluster::checkout()).env("FRESHET_CACHE", &self.folder).stdin(Stdio::null());
        xtask
    }

    /// Removes what an earlier test left that was killed itself.
    fn sweep(&self) {
        assert!(self.xtask(&["cluster", "sweep", "--detached"]).status().unwrap().success());
    }

    /// A whole run: a cluster, no test, and its removal.
    fn run(&self) -> Run {
        let mut xtask = self.xtask(&["e2e", "no-test-has-this-name"]);
        Run(xtask.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn docker(&self, args: &[&str]) -> Option<String> {
        let mut docker = Command::new("docker");
        let own = self.folder.join("docker/docker.sock");
        if own.exists() {
            docker.env("DOCKER_HOST", format!("unix://{}", own.display()));
        }
        let output = docker.args(args).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// Waits until a run is in the middle of it: both nodes run, and `kind` hasn't finished.
    fn await_half_made(&self, run: &mut Run) {
        let log = log_of(run);
        // The step before kind's: the nodes that are there until then are of an earlier run.
        let network = || log.recv_timeout(Duration::from_mins(30)).unwrap().ends_with(" s  network");
        while !network() {}
        let start = Instant::now();
        loop {
            let nodes = self.docker(&["ps", "--quiet", "--filter", &format!("name={}", cluster::name(""))]);
            if nodes.is_some_and(|nodes| nodes.lines().count() == 2) {
                return;
            }
            let ended = run.0.try_wait().unwrap();
            assert!(ended.is_none(), "{:#?}", log.iter().collect::<Vec<_>>());
            assert!(start.elapsed() < Duration::from_mins(2), "there are no two nodes");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn daemon(&self) -> Option<u32> {
        let pid = fs::read_to_string(self.folder.join("docker/docker.pid")).ok()?;
        pid.trim().parse().ok()
    }
}

/// Doesn't outlive a test that fails.
struct Run(Child);

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The run's messages, line by line; they are shown as well.
fn log_of(run: &mut Run) -> std::sync::mpsc::Receiver<String> {
    let (send, receive) = std::sync::mpsc::channel();
    let lines = BufReader::new(run.0.stderr.take().unwrap());
    std::thread::spawn(move || {
        for line in lines.lines().map_while(Result::ok) {
            eprintln!("    {line}");
            // The test may have heard enough.
            let _ = send.send(line);
        }
    });
    receive
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// What a cluster could leave, read from the kernel and not by the code under test: links, mounts, packet filter,
/// forwarding, control groups, and processes that have to do with the folder or the cluster.
///
/// `neighbours` are the control groups of daemons that ran before, a demo's perhaps: what their clusters start and end
/// meanwhile is none of our concern.
fn traces(folder: &Path, neighbours: &BTreeSet<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let folder = folder.to_string_lossy();
    for link in fs::read_dir("/sys/class/net").unwrap().flatten() {
        found.insert(format!("link {}", link.file_name().to_string_lossy()));
    }
    for mount in fs::read_to_string("/proc/self/mountinfo").unwrap().lines() {
        found.insert(format!("mount {}", mount.split(' ').nth(4).unwrap()));
    }
    let saved = Command::new("iptables-save").output().unwrap();
    for rule in String::from_utf8(saved.stdout).unwrap().lines() {
        let rule = rule.split(" [").next().unwrap();
        // Tables that a rule was once in stay loaded; empty ones do nothing.
        if rule.starts_with("-A") || (rule.starts_with(':') && !rule.ends_with(" ACCEPT")) {
            found.insert(format!("rule {rule}"));
        }
    }
    found.insert(format!(
        "forwarding {}",
        fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap().trim()
    ));
    found.extend(daemon_groups().into_iter().map(|(path, _)| format!("control group {}", path.display())));
    for process in fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()) {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let groups = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
        let ours =
            groups.contains("/freshet-") || line.contains(&*folder) || line.contains(&cluster::name(""));
        let neighbour = neighbours.iter().any(|name| groups.contains(&format!("/{name}")));
        if ours && !neighbour && !line.is_empty() {
            found.insert(format!("process {} {line}", process.display()));
        }
    }
    for object in [["ps", "--all"], ["network", "ls"], ["volume", "ls"]] {
        let list = Command::new("docker").args(object).arg("--quiet").output().unwrap();
        found.extend(
            String::from_utf8_lossy(&list.stdout).lines().map(|id| format!("docker {} {id}", object[0])),
        );
    }
    found
}

/// The control groups of Docker daemons of ours, in every hierarchy: path and name.
fn daemon_groups() -> Vec<(PathBuf, String)> {
    let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
    let groups = hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]).filter_map(|it| fs::read_dir(it).ok());
    groups
        .flatten()
        .flatten()
        .map(|group| (group.path(), group.file_name().to_string_lossy().into_owned()))
        .filter(|(_, name)| name.contains("freshet-"))
        .collect()
}

fn assert_no_trace(before: &BTreeSet<String>, neighbours: &BTreeSet<String>, cache: &Cache) {
    let after = traces(&cache.folder, neighbours);
    let left: Vec<_> = after.difference(before).collect();
    // A Docker daemon empties the chains of another one when it starts, which its clusters survive (their ports are
    // proxied); that it may do so to a demo left running is Docker's.
    let lost: Vec<_> =
        before.difference(&after).filter(|trace| !trace.starts_with("rule -A DOCKER")).collect();
    assert!(left.is_empty() && lost.is_empty(), "left: {left:#?}\nlost: {lost:#?}");
    assert_eq!(
        fs::read_dir(cache.folder.join("clusters"))
            .unwrap()
            .flatten()
            .filter(|it| it.path().is_dir())
            .count(),
        0
    );
}

#[test]
fn a_killed_run_is_gone_after_the_next_one() {
    let cache = Cache::new();
    let neighbours: BTreeSet<String> = daemon_groups().into_iter().map(|(_, name)| name).collect();
    let before = traces(&cache.folder, &neighbours);

    eprintln!("killed, its daemon goes on");
    let mut run = cache.run();
    cache.await_half_made(&mut run);
    signal(run.0.id(), Signal::KILL);
    run.0.wait().unwrap();
    assert_ne!(traces(&cache.folder, &neighbours), before, "there is something to remove");

    eprintln!("killed with its daemon");
    let mut run = cache.run();
    cache.await_half_made(&mut run);
    signal(run.0.id(), Signal::KILL);
    if let Some(daemon) = cache.daemon() {
        signal(daemon, Signal::KILL);
    }
    run.0.wait().unwrap();

    eprintln!("to the end");
    let mut run = cache.run();
    let log = log_of(&mut run);
    let ended = run.0.wait().unwrap();
    assert!(ended.success(), "{ended}: {:#?}", log.iter().collect::<Vec<_>>());
    assert_no_trace(&before, &neighbours, &cache);

    eprintln!("asked to end half way");
    let mut run = cache.run();
    cache.await_half_made(&mut run);
    signal(run.0.id(), Signal::TERM);
    assert!(!run.0.wait().unwrap().success());
    assert_no_trace(&before, &neighbours, &cache);

    // The daemon's copy of the node image.
    fs::remove_dir_all(cache.folder.join("docker")).unwrap();
}
