//! A client's program: lines of JSON in and out.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::Value;

/// How long it may take for a line: a machine under load may start a Java for a while.
const LINE: Duration = Duration::from_mins(1);

/// The running program, killed when dropped. What it writes to standard error goes to ours.
pub(super) struct Driver {
    process: Child,
    input: ChildStdin,
    output: mpsc::Receiver<String>,
}

impl Driver {
    pub(super) fn start(mut command: Command) -> Self {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let (lines, received) = mpsc::channel();
        thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
        });
        Self { process, input, output: received }
    }

    pub(super) fn say(&mut self, message: &Value) {
        writeln!(self.input, "{message}").unwrap();
    }

    pub(super) fn hear(&mut self) -> Value {
        let line = self.output.recv_timeout(LINE).unwrap_or_else(|error| panic!("no answer: {error}"));
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
