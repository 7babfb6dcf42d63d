//! A child process that can't outlive us.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{LazyLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::stat::await_stopped;
use super::until;
use crate::command::path;

/// How long a child may take to end after being asked to.
const STOP: Duration = Duration::from_mins(1);

type Order = (Command, mpsc::Sender<io::Result<std::process::Child>>);

/// Starts all children from one thread that lives as long as we do: the kernel sends the parent-death signal when
/// the *thread* that started a child ends, and test threads end with their test.
static STARTER: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
    let (orders, queue) = mpsc::channel::<Order>();
    thread::spawn(move || {
        for (mut command, answer) in queue {
            // Nobody waits for the answer only if the asking thread has died.
            let _ = answer.send(command.spawn());
        }
    });
    orders
});

/// A running (or ended) child process with its output in a file. Killed when dropped and when we die.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: std::process::Child,
    log: PathBuf,
}

impl Child {
    /// A command for `program` that the kernel kills when we end, even by SIGKILL. Add arguments, then
    /// [`Child::spawn`] it.
    #[must_use]
    pub fn command(program: impl AsRef<OsStr>) -> Command {
        Self::command_with(&[], program)
    }

    /// A [`Child::command`] that runs as another user; only root can.
    #[must_use]
    pub fn command_as(user: &str, program: impl AsRef<OsStr>) -> Command {
        Self::command_with(&["--reuid", user, "--regid", user, "--init-groups"], program)
    }

    fn command_with(options: &[&str], program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(options).args(["--pdeathsig", "KILL", "--"]);
        // We may have died before the signal was asked for; then the child has another parent already.
        command.args(["sh", "-c", r#"[ "$PPID" = "$1" ] || exit 1; shift; exec "$@""#, "sh"]);
        command.arg(std::process::id().to_string()).arg(program).env("PATH", path()).stdin(Stdio::null());
        command
    }

    /// Starts a [`Child::command`]; stdout and stderr are appended to the file `log`. `name` is for messages.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let opening = || format!("opening {}", log.display());
        let out = File::options().create(true).append(true).open(log).with_context(opening)?;
        let err = out.try_clone().with_context(opening)?;
        command.stdout(out).stderr(err);
        let (answer, started) = mpsc::channel();
        STARTER.send((command, answer)).map_err(|_| anyhow!("the thread that starts children is gone"))?;
        let process = started.recv()?.with_context(|| format!("starting {name} by setpriv (util-linux)"))?;
        Ok(Self { name: name.to_owned(), process, log: log.to_owned() })
    }

    /// The process id; that of the program itself, not of a wrapper.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// How it ended, or `None` while it runs.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.process.try_wait().with_context(|| format!("waiting for {}", self.name))
    }

    /// An error with the end of the log if the process has ended.
    pub fn must_run(&mut self) -> Result<()> {
        match self.exited()? {
            None => Ok(()),
            Some(status) => bail!("{} has ended ({status}); its last output:\n{}", self.name, self.log_end()),
        }
    }

    /// Asks `probe` until it answers `Ok`, for at most `within`. Fails at once, with the end of the log, when the
    /// process ends meanwhile.
    pub fn await_ready<T>(&mut self, within: Duration, mut probe: impl FnMut() -> Result<T>) -> Result<T> {
        let what = format!("{} is ready", self.name);
        let ready = until(&what, within, || {
            // The inner result is the verdict; only "not yet" is asked again.
            if let Err(ended) = self.must_run() { Ok(Err(ended)) } else { probe().map(Ok) }
        });
        ready.with_context(|| format!("its last output:\n{}", self.log_end()))?
    }

    /// Waits for the process to end by itself, at most `within`; kills it when it doesn't.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let start = Instant::now();
        while start.elapsed() < within {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(2));
        }
        self.kill()?;
        bail!("{} did not end within {within:?}; its last output:\n{}", self.name, self.log_end())
    }

    /// Asks the process to end (SIGTERM) and waits for it, at most 15 s. A paused one is resumed for that.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.stop_by(Signal::TERM)
    }

    /// [`Child::stop`] by another signal, for programs to which SIGTERM means something else.
    pub(super) fn stop_by(&mut self, signal: Signal) -> Result<ExitStatus> {
        self.signal(signal)?;
        self.signal(Signal::CONT)?;
        self.wait(STOP)
    }

    /// Ends the process at once (SIGKILL) and waits until the kernel has done so.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.process.wait().with_context(|| format!("waiting for {}", self.name))?;
        Ok(())
    }

    /// Stops the process where it stands (SIGSTOP), as a frozen node would, and waits until it does.
    pub fn pause(&mut self) -> Result<()> {
        self.signal(Signal::STOP)?;
        await_stopped(&self.name, i32::try_from(self.pid())?)
    }

    /// Lets a paused process go on (SIGCONT).
    pub fn resume(&mut self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// All output so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Does nothing to a process that has ended: its id may be another's by now.
    pub(super) fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.exited()?.is_some() {
            return Ok(());
        }
        let pid =
            i32::try_from(self.pid()).ok().and_then(Pid::from_raw).context("a process id is positive")?;
        kill_process(pid, signal).with_context(|| format!("sending {signal:?} to {}", self.name))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Nobody is left to tell; a process that can't be killed has ended already.
        let _ = self.kill();
    }
}
