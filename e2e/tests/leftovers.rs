//! A run that is killed half way leaves a cluster behind; the next one removes it, and then itself, without a trace.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use freshet_e2e::command::{output, program};
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

    /// The name of its cluster.
    fn cluster(&self) -> String {
        cluster::name_with(&self.folder, "")
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
        let mut docker = program("docker");
        let own = self.folder.join("docker/docker.sock");
        if own.exists() {
            docker.env("DOCKER_HOST", format!("unix://{}", own.display()));
        }
        output(docker.args(args)).ok()
    }

    /// How many nodes run.
    fn nodes(&self) -> usize {
        let nodes = self.docker(&["ps", "--quiet", "--filter", &format!("name={}", self.cluster())]);
        nodes.map_or(0, |nodes| nodes.lines().count())
    }

    /// No Docker daemon runs but the one in this folder.
    fn is_alone(&self) -> bool {
        let folder = self.folder.to_string_lossy();
        let dockerd = |line: &str| line.split(' ').next().is_some_and(|program| program.ends_with("dockerd"));
        !processes().iter().any(|(_, line)| dockerd(line) && !line.contains(&*folder))
    }

    /// An image that we have built goes into the nodes, and Docker knows none under a name that isn't ours.
    fn assert_no_official_name(&self) {
        let built = format!("label={}", cluster::BUILT_FROM);
        let list = ["image", "ls", "--filter", &built, "--format", "{{.Repository}}"];
        let names = self.docker(&list).unwrap();
        assert!(names.lines().all(|name| name == "freshet-node"), "{names}");
    }

    /// Waits until a run is in the middle of it: both nodes run, and `kind` hasn't finished.
    fn await_half_made(&self, run: &mut Run) {
        let log = log_of(run);
        // The step before kind's: the nodes that are there until then are of an earlier run.
        let network = || log.recv_timeout(Duration::from_mins(30)).unwrap().ends_with(" s  network");
        while !network() {}
        let start = Instant::now();
        loop {
            if self.nodes() == 2 {
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
/// forwarding, control groups, processes, Docker's objects. Only what is known as ours by its name, so that nothing that
/// others do meanwhile on the machine counts; what Docker daemons share counts when no other one runs.
fn traces(cache: &Cache) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let daemon = cluster::Ours::of(&cache.folder.join("docker"));
    let folder = cache.folder.to_string_lossy();
    for link in fs::read_dir("/sys/class/net").unwrap().flatten() {
        let name = link.file_name().to_string_lossy().into_owned();
        found.extend(name.starts_with(&daemon.bridges()).then(|| format!("link {name}")));
    }
    for mount in fs::read_to_string("/proc/self/mountinfo").unwrap().lines() {
        let point = mount.split(' ').nth(4).unwrap();
        found.extend(point.contains(&*folder).then(|| format!("mount {point}")));
    }
    found.extend(packet_filter(&daemon.bridges(), cache.is_alone()));
    found
        .extend(groups(&daemon.cgroup()).into_iter().map(|path| format!("control group {}", path.display())));
    for (process, line) in processes() {
        let groups = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
        let ours = groups.contains(&format!("{}/", daemon.cgroup())) || line.contains(&*folder);
        found.extend(ours.then(|| format!("process {} {line}", process.display())));
    }
    let of_cluster = format!("label=io.x-k8s.kind.cluster={}", cache.cluster());
    for (object, ours) in
        [(["ps", "--all"], of_cluster.as_str()), (["network", "ls"], "label=dev.freshet.cluster")]
    {
        let list = output(program("docker").args(object).args(["--quiet", "--filter", ours]));
        found.extend(list.unwrap_or_default().lines().map(|id| format!("docker {} {id}", object[0])));
    }
    found
}

/// Rules of the bridges; and, without another Docker daemon that may change them, what all daemons have in common.
fn packet_filter(bridges: &str, alone: bool) -> BTreeSet<String> {
    if !rustix::process::geteuid().is_root() {
        return BTreeSet::new();
    }
    let shared = |rule: &str| {
        ["DOCKER", ":FORWARD", "-A POSTROUTING"].iter().any(|part| rule.contains(part))
            // Tables that a rule was once in stay loaded; empty ones do nothing.
            && !rule.ends_with(" ACCEPT")
    };
    let saved = output(&mut program("iptables-save")).unwrap();
    let rules = saved.lines().map(|rule| rule.split(" [").next().unwrap());
    let rules = rules.filter(|rule| rule.contains(bridges) || (alone && shared(rule)));
    let mut found: BTreeSet<String> = rules.map(|rule| format!("rule {rule}")).collect();
    if alone {
        let forwarding = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
        found.insert(format!("forwarding {}", forwarding.trim()));
    }
    found
}

/// The processes of the machine: folder in /proc, and command line.
fn processes() -> Vec<(PathBuf, String)> {
    let folders = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let process = |folder: PathBuf| {
        let line = fs::read(folder.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        (!line.is_empty()).then_some((folder, line))
    };
    folders.filter_map(process).collect()
}

/// The control groups of this name, in every hierarchy.
fn groups(name: &str) -> Vec<PathBuf> {
    let name = name.trim_start_matches('/');
    let top = PathBuf::from("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(&top).unwrap().flatten().map(|entry| entry.path());
    hierarchies.chain([top.clone()]).map(|it| it.join(name)).filter(|group| group.is_dir()).collect()
}

fn assert_no_trace(before: &BTreeSet<String>, alone: bool, cache: &Cache) {
    let after = traces(cache);
    // What daemons share can be compared while there is no other one, from the beginning to the end.
    let comparable = |trace: &&String| alone && cache.is_alone() || !is_shared(trace, cache);
    let left: Vec<_> = after.difference(before).filter(comparable).collect();
    let lost: Vec<_> = before.difference(&after).filter(comparable).collect();
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

fn is_shared(trace: &str, cache: &Cache) -> bool {
    let bridges = cluster::Ours::of(&cache.folder.join("docker")).bridges();
    trace.starts_with("forwarding ") || (trace.starts_with("rule ") && !trace.contains(&bridges))
}

#[test]
fn a_killed_run_is_gone_after_the_next_one() {
    let cache = Cache::new();
    let alone = cache.is_alone();
    let before = traces(&cache);
    if !rustix::process::geteuid().is_root() {
        eprintln!("the packet filter is left out: only root can read it");
    } else if !alone {
        eprintln!("what Docker daemons share is left out: another one runs");
    }

    eprintln!("killed, its daemon goes on");
    let mut run = cache.run();
    cache.await_half_made(&mut run);
    cache.assert_no_official_name();
    signal(run.0.id(), Signal::KILL);
    run.0.wait().unwrap();
    assert_ne!(traces(&cache), before, "there is something to remove");

    eprintln!("killed with its daemon");
    let mut run = cache.run();
    cache.await_half_made(&mut run);
    signal(run.0.id(), Signal::KILL);
    if let Some(daemon) = cache.daemon() {
        signal(daemon, Signal::KILL);
    }
    run.0.wait().unwrap();

    eprintln!("on a cluster of nobody's, which stays");
    let up = cache.xtask(&["cluster", "up", "--detach-owner"]).status().unwrap();
    assert!(up.success());
    let mut run = cache.run();
    let _log = log_of(&mut run);
    assert!(run.0.wait().unwrap().success());
    assert_eq!(cache.nodes(), 2, "the run didn't make them");

    eprintln!("to the end, where that cluster has gone with its daemon");
    if let Some(daemon) = cache.daemon() {
        signal(daemon, Signal::KILL);
    } else {
        // Somebody's Docker goes on; there is nothing to be found gone.
        assert!(cache.xtask(&["cluster", "down"]).status().unwrap().success());
    }
    let mut run = cache.run();
    let log = log_of(&mut run);
    let ended = run.0.wait().unwrap();
    let log: Vec<String> = log.iter().collect();
    assert!(ended.success(), "{ended}: {log:#?}");
    let built: Vec<_> = log.iter().filter(|line| line.contains(": building")).collect();
    assert!(built.is_empty(), "the runs before have built all there is: {built:?}");
    assert_no_trace(&before, alone, &cache);

    eprintln!("asked to end half way");
    let mut run = cache.run();
    cache.await_half_made(&mut run);
    signal(run.0.id(), Signal::TERM);
    assert!(!run.0.wait().unwrap().success());
    assert_no_trace(&before, alone, &cache);

    // Our daemon's copy of the node image, if it was ours that ran.
    let daemon = cache.folder.join("docker");
    assert!(!daemon.exists() || fs::remove_dir_all(daemon).is_ok());
}
