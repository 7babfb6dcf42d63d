//! README's session with the sidecar alone, run as it stands there but on free ports and with the built sidecar.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::ensure;
use freshet_e2e::process::{Port, http, http::Target};

use crate::shop::{SOON, executable};

/// A command of a `console` block and what it prints.
struct Step {
    command: String,
    output: Vec<String>,
}

/// A shell that is told one command after the other, as by a person; its background jobs end with it.
struct Shell {
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Shell {
    fn open(folder: &Path, environment: &[(&str, String)]) -> (std::process::Child, Self) {
        let mut child = Command::new("bash")
            .current_dir(folder)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .args([
                "-c",
                "trap 'kill $(jobs -p); wait' EXIT; while read -r -d '' line; do eval \"$line\"; done",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let shell =
            Self { stdin: child.stdin.take().unwrap(), stdout: BufReader::new(child.stdout.take().unwrap()) };
        (child, shell)
    }

    /// Runs a command and returns the lines it prints.
    fn run(&mut self, command: &str) -> Vec<String> {
        write!(self.stdin, "{command}\necho; echo '=== done ==='\0").unwrap();
        self.stdin.flush().unwrap();
        let mut text = String::new();
        while !text.ends_with("=== done ===\n") {
            assert_ne!(self.stdout.read_line(&mut text).unwrap(), 0, "the shell has ended: {text}");
        }
        let text = text.trim_end_matches("=== done ===\n");
        text.trim_end().lines().map(|line| line.trim_end().to_owned()).collect()
    }
}

/// The commands and outputs of a `console` block.
fn steps(block: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in block.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { command: command.to_owned(), output: Vec::new() });
            continue;
        }
        let step = steps.last_mut().unwrap();
        // A command goes on while a quote is open or the line ends in a backslash.
        let open = step.command.matches('\'').count() % 2 == 1 || step.command.ends_with('\\');
        if open && step.output.is_empty() {
            step.command = format!("{}\n{line}", step.command);
        } else {
            step.output.push(line.to_owned());
        }
    }
    for step in &mut steps {
        while step.output.last().is_some_and(String::is_empty) {
            step.output.pop();
        }
    }
    steps
}

/// A line without what differs from run to run: the lease, ids of entries, and times.
fn lasting(line: &str) -> String {
    if line.starts_with("freshet-lease: ") {
        return "freshet-lease: …".into();
    }
    let is_entry =
        line.split_once('-').is_some_and(|(ms, n)| ms.len() == 13 && ms.parse::<u64>().is_ok() && n == "0");
    if is_entry {
        return "<id>".into();
    }
    let mut line = line.to_owned();
    for mark in ["ttl=", "age: "] {
        if let Some((before, after)) = line.split_once(mark) {
            line = format!("{before}{mark}N{}", after.trim_start_matches(|c: char| c.is_ascii_digit()));
        }
    }
    line
}

#[test]
fn the_session_of_the_readme_runs_as_it_is_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let section = readme.split("\n## ").find(|section| section.starts_with("The sidecar alone")).unwrap();
    let fenced = |language: &str| {
        let begin = format!("```{language}\n");
        let blocks = section.split(&begin).skip(1);
        blocks.map(|rest| rest.split("```").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let [api, admin, redis] = [(); 3].map(|()| Port::free().unwrap());
    let free = |text: &str| {
        assert!(text.contains("16379") || text.contains("3737") || !text.contains("localhost"), "{text}");
        text.replace("16379", &redis.number().to_string()).replace(":3737", &format!(":{}", api.number()))
    };
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("examples")).unwrap();
    let binding = fs::read_to_string(root.join("examples/alone.yaml")).unwrap();
    fs::write(folder.path().join("examples/alone.yaml"), free(&binding)).unwrap();
    let environment =
        [("FRESHET_LISTEN", api.address().to_string()), ("FRESHET_ADMIN", admin.address().to_string())];
    let (mut child, mut shell) = Shell::open(folder.path(), &environment);

    for line in fenced("sh")[0].lines().filter(|line| !line.starts_with("cargo build ")) {
        shell.run(&free(line).replace("target/release/freshet-sidecar", executable()));
    }
    freshet_e2e::process::until("the sidecar follows Redis", SOON, || {
        let status = http::get(&Target::Tcp(api.address()), "/v1/status")?.json()?;
        ensure!(status["sources"]["cdc"]["state"] == "Fresh", "{status}");
        let caches = status["caches"].as_object().unwrap();
        ensure!(caches.values().all(|cache| cache["heldOff"] != true), "{status}");
        Ok(())
    })
    .unwrap();

    let steps: Vec<_> = fenced("console").iter().flat_map(|block| steps(block)).collect();
    assert!(steps.len() >= 7, "{} steps were found", steps.len());
    for step in steps {
        let expected: Vec<_> = step.output.iter().map(|line| lasting(line)).collect();
        let mut run = || shell.run(&free(&step.command)).iter().map(|line| lasting(line)).collect::<Vec<_>>();
        // A person types more slowly than a change takes; what only reads may be asked again.
        if step.command.starts_with("curl -s ") {
            freshet_e2e::process::until(&step.command, crate::shop::SOON, || {
                let found = run();
                ensure!(found == expected, "{found:#?}");
                Ok(())
            })
            .unwrap();
        } else {
            assert_eq!(run(), expected, "{}", step.command);
        }
    }
    drop(shell);
    child.wait().unwrap();
}
