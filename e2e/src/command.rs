//! Programs run to their end: killed with us, ended when we are asked to stop or they take too long, and quoted when
//! they fail.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::stop::check_stop;

/// How long a program may take that does one thing: `kubectl`, `docker`, `iptables-save`.
pub const VERB: Duration = Duration::from_mins(2);
/// How long a program may take that builds, fetches or loads something.
pub const BUILD: Duration = Duration::from_hours(1);
/// How long a program may take whose output is on the screen: a whole test run.
const WATCHED: Duration = Duration::from_hours(3);

/// How often a running program is looked at. It bounds what a short `kubectl` call costs extra.
const LOOK: Duration = Duration::from_millis(5);
/// How long after a program's end its last output may take through the pipe. Only a grandchild that holds the pipe
/// open makes it take longer.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How much of a failed program's standard error is quoted, in bytes.
const QUOTED: usize = 4096;

/// Where system programs are that aren't on every user's PATH.
const SYSTEM: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// What a program said that has ended.
#[derive(Clone, Debug)]
pub struct Said {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub errors: String,
}

// === impl Said ===

impl Said {
    /// Its standard output if it succeeded; the error quotes the end of its standard error.
    pub fn succeeded(self) -> Result<String> {
        if !self.status.success() {
            bail!("{}\n{}", self.status, end_of(self.errors.as_bytes()));
        }
        Ok(self.output)
    }
}

/// A command for `program` that dies with us, however we end. It has a process group of its own, so that Ctrl-C
/// reaches us alone and we decide what ends when.
pub fn program(program: impl AsRef<OsStr>) -> Command {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).stdin(Stdio::null()).process_group(0);
    command.env("PATH", path());
    command
}

/// The PATH of what we start: ours, and the folders of system programs.
#[must_use]
pub fn path() -> OsString {
    let ours = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&ours).chain(SYSTEM.map(PathBuf::from));
    // A folder with a colon in it can't have come from a PATH.
    std::env::join_paths(folders).unwrap_or(ours)
}

/// Runs it, with `input` on its standard input, for at most `within`; however it ends is for the caller to judge.
/// Only what can't be run to its end is an error.
pub fn said(command: &mut Command, input: Option<&[u8]>, within: Duration) -> Result<Said> {
    let name = quoted(command);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().with_context(|| format!("starting {name}"))?;
    let (output, errors) = (Pipe::drain(child.stdout.take()), Pipe::drain(child.stderr.take()));
    if let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) {
        let input = input.to_vec();
        // A program that doesn't read all of it says why by its exit status.
        thread::spawn(move || pipe.write_all(&input));
    }
    let status = wait(child, &name, within)
        .with_context(|| format!("its last words: {}", end_of(&errors.so_far())))?;
    let deadline = Instant::now() + LAST_WORDS;
    let text = |pipe: Pipe| String::from_utf8_lossy(&pipe.text(deadline)).into_owned();
    Ok(Said { status, output: text(output), errors: text(errors) })
}

/// Runs it for at most [`VERB`] and gives its standard output. The error of a failed one quotes the end of its
/// standard error.
pub fn output(command: &mut Command) -> Result<String> {
    fed(command, None, VERB)
}

/// Like [`output`], for at most `within`.
pub fn output_within(command: &mut Command, within: Duration) -> Result<String> {
    fed(command, None, within)
}

/// Like [`output_within`], with `input` on its standard input.
pub(crate) fn fed(command: &mut Command, input: Option<&[u8]>, within: Duration) -> Result<String> {
    said(command, input, within)?.succeeded().with_context(|| quoted(command))
}

/// Runs it for at most three hours; its output goes to ours.
pub fn show(command: &mut Command) -> Result<()> {
    let name = quoted(command);
    let child = command.spawn().with_context(|| format!("starting {name}"))?;
    let status = wait(child, &name, WATCHED)?;
    if !status.success() {
        bail!("{name}: {status}");
    }
    Ok(())
}

/// Runs it for at most [`BUILD`] with both outputs in the file `log`, whose end the error quotes.
pub(crate) fn logged(command: &mut Command, log: &Path) -> Result<()> {
    let opening = || format!("opening {}", log.display());
    let file = std::fs::File::create(log).with_context(opening)?;
    let name = quoted(command);
    command.stdout(file.try_clone().with_context(opening)?).stderr(file);
    let child = command.spawn().with_context(|| format!("starting {name}"))?;
    let last = || end_of(&std::fs::read(log).unwrap_or_default());
    let status = wait(child, &name, BUILD).with_context(|| format!("its last words: {}", last()))?;
    if !status.success() {
        bail!("{name}: {status}\n{}", last());
    }
    Ok(())
}

/// Runs a named step of something longer and prints its seconds. One that takes long is named while it runs, too.
pub fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    check_stop()?;
    let start = Instant::now();
    let (ended, running) = mpsc::channel::<()>();
    let started = name.to_owned();
    let watch = thread::spawn(move || {
        if running.recv_timeout(Duration::from_secs(1)) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("      … s  {started}");
        }
    });
    let result = work();
    drop(ended);
    // So that the two lines of a step are in order.
    let _ = watch.join();
    let seconds = start.elapsed().as_secs_f64();
    match result {
        Ok(done) => {
            eprintln!("{seconds:7.1} s  {name}");
            Ok(done)
        }
        Err(error) => {
            eprintln!("{seconds:7.1} s  {name}: failed");
            Err(error.context(name.to_owned()))
        }
    }
}

fn wait(mut child: Child, name: &str, within: Duration) -> Result<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().with_context(|| format!("waiting for {name}"))? {
            return Ok(status);
        }
        let late = start.elapsed() > within;
        let stop = check_stop();
        if late || stop.is_err() {
            if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = child.kill();
            let _ = child.wait();
            stop.with_context(|| format!("ended {name}"))?;
            bail!("{name}: not done within {} s, and was ended", within.as_secs());
        }
        thread::sleep(LOOK);
    }
}

/// One output of a program, read while it runs.
struct Pipe {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Pipe {
    fn drain(pipe: Option<impl Read + Send + 'static>) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let Some(mut pipe) = pipe else { return };
            let mut block = [0; 8192];
            while let Ok(read @ 1..) = pipe.read(&mut block) {
                into.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&block[..read]);
            }
        });
        Self { bytes, reader }
    }

    fn so_far(&self) -> Vec<u8> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All of it, or what came until the deadline: a grandchild may hold the pipe open after the program has ended.
    fn text(self, deadline: Instant) -> Vec<u8> {
        while !self.reader.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        self.so_far()
    }
}

fn end_of(text: &[u8]) -> String {
    let end = text.len().saturating_sub(QUOTED);
    String::from_utf8_lossy(&text[end..]).trim_end().to_owned()
}

/// The command line without the wrapper, cut to a readable length.
fn quoted(command: &Command) -> String {
    let wrapped = command.get_program() == "setpriv";
    let mut words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    if wrapped {
        words.drain(..3.min(words.len()));
    } else {
        words.insert(0, command.get_program().to_string_lossy());
    }
    let mut line = words.join(" ");
    if let Some((cut, _)) = line.char_indices().nth(160) {
        line.truncate(cut);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut shell = program("sh");
        shell.args(["-c", script]);
        shell
    }

    #[test]
    fn a_stuck_program_is_ended_with_its_children_and_quoted() {
        let mut stuck = shell("echo stuck >&2; sleep 600 & wait");
        let failed = format!("{:#}", output_within(&mut stuck, Duration::from_secs(1)).unwrap_err());
        assert!(failed.contains("sleep 600") && failed.contains("words: stuck"), "{failed}");
        assert!(failed.contains("not done within 1 s"), "{failed}");

        let mut child = shell("sleep 600 & wait").stderr(Stdio::piped()).spawn().unwrap();
        let pipe = child.stderr.take().unwrap();
        wait(child, "it", Duration::from_millis(100)).unwrap_err();
        // A child that lived on would hold the pipe open for ten minutes.
        let closed = Pipe::drain(Some(pipe));
        let deadline = Instant::now() + Duration::from_mins(1);
        closed.text(deadline);
        assert!(Instant::now() < deadline, "the program's child lives");
    }

    #[test]
    fn what_a_program_said_counts_though_its_child_holds_the_pipe() {
        // The child outlives the test's patience, not the test by much.
        let start = Instant::now();
        let said = output(&mut shell("echo done; sleep 60 & exit 0")).unwrap();
        assert_eq!(said, "done\n");
        assert!(start.elapsed() < Duration::from_secs(50), "it waited for the child");
    }

    #[test]
    fn a_failed_program_is_quoted() {
        let failed = format!("{:#}", output(&mut shell("echo why >&2; exit 3")).unwrap_err());
        assert!(failed.contains("exit status: 3") && failed.ends_with("why"), "{failed}");
        let log = tempfile::NamedTempFile::new().unwrap();
        let failed = format!("{:#}", logged(&mut shell("echo why >&2; exit 3"), log.path()).unwrap_err());
        assert!(failed.contains("exit status: 3") && failed.ends_with("why"), "{failed}");
    }

    #[test]
    fn system_programs_are_found() {
        assert!(std::env::split_paths(&path()).any(|folder| folder == Path::new("/usr/sbin")));
        assert_eq!(output(&mut shell("cat")).unwrap(), "", "nothing to read");
        assert_eq!(fed(&mut shell("cat"), Some(b"something"), VERB).unwrap(), "something");
    }
}
