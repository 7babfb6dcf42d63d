//! The example of `examples/rest-cache` on this machine: the stand-in for GitHub, a sidecar, and the program beside it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::python;
use crate::cluster::checkout;
use crate::process::http::{self, Connection, Response, Target};
use crate::process::{Child, Port, Sidecar};

/// How long each may take until it serves.
const START: Duration = Duration::from_mins(1);

/// Where the example's binding has its upstream.
const UPSTREAM: &str = "http://127.0.0.1:18090";

/// All of it, as it runs.
#[derive(Debug)]
pub struct RestCache {
    // Fields drop in this order: who asks goes before who is asked.
    board: Child,
    sidecar: Sidecar,
    standin: Child,
    board_port: Port,
    standin_port: Port,
    _folder: TempDir,
}

impl RestCache {
    /// Starts all of it, with this executable as the sidecar. The views may not be whole yet.
    pub fn start(sidecar: &Path) -> Result<Self> {
        let example = checkout().join("examples/rest-cache");
        let (folder, standin_port, board_port) = (tempfile::tempdir()?, Port::free()?, Port::free()?);
        let spawn = |file: &str, port: &Port, url: Option<&Target>| -> Result<Child> {
            let mut command = python(&example.join(file), &[])?;
            command.env("LISTEN", port.address().to_string());
            if let Some(Target::Tcp(address)) = url {
                command.env("FRESHET_URL", format!("http://{address}"));
            }
            let mut child = Child::spawn(file, command, &folder.path().join(file))?;
            let target = Target::Tcp(port.address());
            child.await_ready(START, || http::get(&target, "/made-up").map(drop))?;
            Ok(child)
        };
        let standin = spawn("standin.py", &standin_port, None)?;
        let path = example.join("binding.yaml");
        let binding = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        ensure!(binding.matches(UPSTREAM).count() == 1, "binding.yaml has another upstream than {UPSTREAM}");
        let binding = binding.replace(UPSTREAM, &format!("http://{}", standin_port.address()));
        let sidecar = Sidecar::builder(sidecar, &binding).start()?;
        let board = spawn("board.py", &board_port, Some(&sidecar.tcp()))?;
        Ok(Self { board, sidecar, standin, board_port, standin_port, _folder: folder })
    }

    /// What the program answers.
    pub fn get(&self, path: &str) -> Result<Response> {
        http::get(&Target::Tcp(self.board_port.address()), path)
    }

    /// A request of the stand-in.
    pub fn standin(&self, method: &str, path: &str, body: &str) -> Result<Response> {
        let target = Target::Tcp(self.standin_port.address());
        let headers = [("content-type", "application/json")];
        Connection::open(&target)?.request(method, path, &headers, body.as_bytes())
    }

    /// Where the program serves, for people.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.board_port.address())
    }

    /// Where the stand-in serves, for people.
    #[must_use]
    pub fn standin_url(&self) -> String {
        format!("http://{}", self.standin_port.address())
    }

    /// The sidecar beside the program.
    pub fn sidecar(&mut self) -> &mut Sidecar {
        &mut self.sidecar
    }

    /// Fails if any of it has ended.
    pub fn must_run(&mut self) -> Result<()> {
        self.standin.must_run()?;
        self.sidecar.process().must_run()?;
        self.board.must_run()
    }
}
