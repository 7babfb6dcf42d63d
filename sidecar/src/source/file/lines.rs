//! The lines of a file that may still grow, or of standard input.

use std::{io, time::Duration};

use tokio::{
    fs::File,
    io::{AsyncBufRead, AsyncBufReadExt as _, BufReader},
    time::{Instant, sleep, timeout_at},
};

/// How long it takes until it is seen that a file has grown.
const LOOK: Duration = Duration::from_millis(50);

pub(super) struct Lines {
    input: Box<dyn AsyncBufRead + Send + Unpin>,
    /// Whether it may still grow when its end was read.
    grows: bool,
    /// The beginning of a line whose end wasn't there yet.
    line: Vec<u8>,
    /// The last line that was read, with its end.
    last: Vec<u8>,
    /// Lines read.
    number: u64,
    /// Bytes of them.
    bytes: u64,
    /// What is wrong with the last one: nobody can say what it was about, and nothing is read behind it.
    spoilt: Option<Unreadable>,
}

/// A line that is no entry.
#[derive(Clone, Debug, thiserror::Error)]
#[error("line {number} is no entry: {why}; a line is {{\"stream\": …, \"fields\": [[name, value], …]}}")]
pub(super) struct Unreadable {
    number: u64,
    why: String,
}

/// What comes next.
pub(super) enum Next {
    /// A line.
    Line(Vec<u8>),
    /// Nothing: the end was read.
    End,
    /// Nothing so far.
    Late,
}

impl Lines {
    pub(super) fn of_file(file: File) -> Self {
        Self {
            input: Box::new(BufReader::new(file)),
            grows: true,
            line: Vec::new(),
            last: Vec::new(),
            number: 0,
            bytes: 0,
            spoilt: None,
        }
    }

    pub(super) fn of_standard_input() -> Self {
        let input = Box::new(BufReader::new(tokio::io::stdin()));
        Self { input, grows: false, line: Vec::new(), last: Vec::new(), number: 0, bytes: 0, spoilt: None }
    }

    /// How many lines were read.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The last line up to which all were entries.
    pub(super) fn sound(&self) -> u64 {
        self.number - u64::from(self.spoilt.is_some())
    }

    /// Notes that the last line is no entry.
    pub(super) fn spoil(&mut self, why: String) {
        self.spoilt = Some(Unreadable { number: self.number, why });
    }

    /// Whether no line was spoilt so far.
    pub(super) fn be_readable(&self) -> Result<(), Unreadable> {
        self.spoilt.clone().map_or(Ok(()), Err)
    }

    /// What was read last, and where it begins: the last line, and what there was of the next.
    pub(super) fn newest(&self) -> (u64, Vec<u8>) {
        (self.bytes - self.last.len() as u64, [&*self.last, &*self.line].concat())
    }

    /// The next line without its end.
    pub(super) async fn next(&mut self, until: Instant) -> io::Result<Next> {
        loop {
            // What was read of a line stays where the rest is waited for in vain.
            let Ok(read) = timeout_at(until, self.input.read_until(b'\n', &mut self.line)).await else {
                return Ok(Next::Late);
            };
            read?;
            let is_whole = self.line.last() == Some(&b'\n');
            let is_last = !self.grows && !self.line.is_empty();
            if is_whole || is_last {
                self.number += 1;
                self.bytes += self.line.len() as u64;
                self.last = std::mem::take(&mut self.line);
                return Ok(Next::Line(self.last.trim_ascii().to_vec()));
            }
            if Instant::now() >= until {
                return Ok(Next::End);
            }
            sleep(LOOK.min(until - Instant::now())).await;
        }
    }
}
