//! Programs run to their end: killed with us, ended when we are asked to stop, and quoted when they fail.

use std::io::{Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How often a running program is looked at. It bounds what a short `kubectl` call costs extra.
const LOOK: Duration = Duration::from_millis(5);
/// How much of a failed program's standard error is quoted, in bytes.
const QUOTED: usize = 4096;

static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From here on SIGINT, SIGTERM and SIGHUP don't end this process: the program that runs is ended and its caller
/// gets an error, so that the caller can take down what it has set up.
pub fn stop_on_signals() -> Result<()> {
    let flag = STOP.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(flag)).context("watching for signals")?;
    }
    Ok(())
}

/// Whether we were asked to stop; forgets it, so that the clean-up isn't ended by the same signal.
pub fn take_stop() -> bool {
    STOP.get().is_some_and(|flag| flag.swap(false, Ordering::SeqCst))
}

/// An error when we were asked to stop.
pub(crate) fn check_stop() -> Result<()> {
    if STOP.get().is_some_and(|flag| flag.load(Ordering::SeqCst)) {
        bail!("asked to stop");
    }
    Ok(())
}

/// A command for `program` that dies with us, however we end. It has a process group of its own, so that Ctrl-C
/// reaches us alone and we decide what ends when.
pub fn program(program: impl AsRef<std::ffi::OsStr>) -> Command {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).stdin(Stdio::null()).process_group(0);
    command
}

/// Runs it; its output goes to ours.
pub fn show(command: &mut Command) -> Result<()> {
    let name = quoted(command);
    let child = command.spawn().with_context(|| format!("starting {name}"))?;
    let status = wait(child, &name)?;
    if !status.success() {
        bail!("{name}: {status}");
    }
    Ok(())
}

/// Runs it and gives its standard output. The error of a failed one quotes the end of its standard error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    fed(command, None)
}

/// Like [`output`], with `input` on its standard input.
pub(crate) fn fed(command: &mut Command, input: Option<&[u8]>) -> Result<String> {
    let name = quoted(command);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().with_context(|| format!("starting {name}"))?;
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    if let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) {
        let input = input.to_vec();
        // A program that doesn't read all of it says why by its exit status.
        thread::spawn(move || pipe.write_all(&input));
    }
    let status = wait(child, &name)?;
    // A grandchild may hold the pipes open after the program ended; what has come by then is enough.
    let text = |from: mpsc::Receiver<Vec<u8>>| from.recv_timeout(Duration::from_secs(5)).unwrap_or_default();
    let (stdout, stderr) = (text(stdout), text(stderr));
    if !status.success() {
        let end = stderr.len().saturating_sub(QUOTED);
        bail!("{name}: {status}\n{}", String::from_utf8_lossy(&stderr[end..]).trim_end());
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// Runs it with both outputs in the file `log`, which the error names.
pub(crate) fn logged(command: &mut Command, log: &Path) -> Result<()> {
    let opening = || format!("opening {}", log.display());
    let file = std::fs::File::create(log).with_context(opening)?;
    let name = quoted(command);
    command.stdout(file.try_clone().with_context(opening)?).stderr(file);
    let status = wait(command.spawn().with_context(|| format!("starting {name}"))?, &name)?;
    if !status.success() {
        let text = std::fs::read(log).unwrap_or_default();
        let end = text.len().saturating_sub(QUOTED);
        bail!("{name}: {status}\n{}", String::from_utf8_lossy(&text[end..]).trim_end());
    }
    Ok(())
}

/// Asks `probe` every 50 ms until it answers `Ok`, for at most `within`; then its last error is the answer.
pub(crate) fn until<T>(what: &str, within: Duration, mut probe: impl FnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        match probe() {
            Ok(found) => return Ok(found),
            Err(error) if start.elapsed() > within => {
                return Err(error.context(format!("{what}: not within {} s", within.as_secs())));
            }
            Err(_) => {}
        }
        check_stop()?;
        thread::sleep(Duration::from_millis(50));
    }
}

/// Runs a named step of something longer and prints its seconds.
pub fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    check_stop()?;
    let start = Instant::now();
    let result = work();
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

fn wait(mut child: Child, name: &str) -> Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait().with_context(|| format!("waiting for {name}"))? {
            return Ok(status);
        }
        if let Err(stop) = check_stop() {
            if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = child.kill();
            let _ = child.wait();
            return Err(stop.context(format!("ended {name}")));
        }
        thread::sleep(LOOK);
    }
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        let _ = send.send(bytes);
    });
    receive
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
