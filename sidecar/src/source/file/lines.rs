//! The lines of a file that may still grow, or of standard input.

use std::{fs, io, os::unix::fs::FileExt as _, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, Stdin},
    task::spawn_blocking,
    time::{Instant, sleep, timeout_at},
};

/// How long it takes until it is seen that a file has grown.
const LOOK: Duration = Duration::from_millis(50);
/// So much is read at once, in bytes.
const CHUNK: usize = 64 << 10;

pub(super) struct Lines {
    input: Input,
    /// What was read and is part of no line that was handed on.
    ahead: Vec<u8>,
    /// So much of it has no end of a line.
    scanned: usize,
    /// What was handed on since it was compared, from the last line before that on.
    since: Vec<u8>,
    /// Bytes of all lines that were handed on.
    bytes: u64,
    /// Lines that were handed on.
    number: u64,
    /// The last of them that is an entry.
    last: Mark,
    /// What is wrong with the last one: nobody can say what it was about, and nothing is read behind it.
    spoilt: Option<Unreadable>,
}

enum Input {
    /// Each read says where it begins, so that none goes on behind the back of whoever has stopped waiting for it.
    File(Arc<fs::File>),
    Standard(Stdin),
}

/// A line, and where it is: by what is there it is known whether a file still has what was read of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// The first is 1; zero: before it.
    pub(super) number: u64,
    begins: u64,
    line: Vec<u8>,
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
    /// A line, with its end if it has one.
    Line(Vec<u8>),
    /// Nothing: the end was read, after it was asked for.
    End,
    /// Nothing so far.
    Late,
}

impl Lines {
    pub(super) fn of_file(file: fs::File) -> Self {
        Self::of(Input::File(Arc::new(file)))
    }

    pub(super) fn of_standard_input() -> Self {
        Self::of(Input::Standard(tokio::io::stdin()))
    }

    fn of(input: Input) -> Self {
        Self {
            input,
            ahead: Vec::new(),
            scanned: 0,
            since: Vec::new(),
            bytes: 0,
            number: 0,
            last: Mark::default(),
            spoilt: None,
        }
    }

    /// How many lines were handed on.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The last line up to which all were entries.
    pub(super) fn mark(&self) -> &Mark {
        &self.last
    }

    /// Notes that the last line was an entry, or empty.
    pub(super) fn accept(&mut self, line: Vec<u8>) {
        let begins = self.bytes - line.len() as u64;
        self.last = Mark { number: self.number, begins, line };
    }

    /// Notes that the last line is no entry.
    pub(super) fn spoil(&mut self, why: String) {
        self.spoilt = Some(Unreadable { number: self.number, why });
    }

    /// Whether no line was spoilt so far.
    pub(super) fn be_readable(&self) -> Result<(), Unreadable> {
        self.spoilt.clone().map_or(Ok(()), Err)
    }

    /// All that was read since it was compared, from the last line before that on, and where it begins.
    pub(super) fn newest(&self) -> (u64, Vec<u8>) {
        (self.bytes - self.since.len() as u64, [&*self.since, &*self.ahead].concat())
    }

    /// Notes that what was read is there still.
    pub(super) fn compared(&mut self) {
        let line = self.since.strip_suffix(b"\n").unwrap_or(&self.since);
        let begins = line.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.since.drain(..begins);
    }

    /// The next line.
    pub(super) async fn next(&mut self, until: Instant) -> io::Result<Next> {
        loop {
            if let Some(end) = self.ahead[self.scanned..].iter().position(|byte| *byte == b'\n') {
                return Ok(self.hand_on(self.scanned + end + 1));
            }
            self.scanned = self.ahead.len();
            let Some(more) = self.more(until).await? else { return Ok(Next::Late) };
            if !more.is_empty() {
                self.ahead.extend(more);
                continue;
            }
            // Nothing is added any more to the last line of standard input.
            if matches!(self.input, Input::Standard(_)) && !self.ahead.is_empty() {
                return Ok(self.hand_on(self.ahead.len()));
            }
            let now = Instant::now();
            if now >= until {
                return Ok(Next::End);
            }
            sleep(LOOK.min(until - now)).await;
        }
    }

    fn hand_on(&mut self, length: usize) -> Next {
        let line: Vec<u8> = self.ahead.drain(..length).collect();
        self.scanned = 0;
        self.since.extend_from_slice(&line);
        self.bytes += line.len() as u64;
        self.number += 1;
        Next::Line(line)
    }

    /// What comes next, nothing at the end; `None`: it hasn't come by then.
    async fn more(&mut self, until: Instant) -> io::Result<Option<Vec<u8>>> {
        let mut chunk = vec![0; CHUNK];
        match &mut self.input {
            Input::File(file) => {
                let (file, at) = (Arc::clone(file), self.bytes + self.ahead.len() as u64);
                let read = spawn_blocking(move || {
                    let length = file.read_at(&mut chunk, at)?;
                    chunk.truncate(length);
                    Ok(Some(chunk))
                });
                read.await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
            }
            Input::Standard(input) => {
                let Ok(length) = timeout_at(until, input.read(&mut chunk)).await else { return Ok(None) };
                chunk.truncate(length?);
                Ok(Some(chunk))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _, time::Duration};

    use tokio::time::Instant;

    use super::{CHUNK, Lines, Next};

    async fn next(lines: &mut Lines) -> Option<String> {
        match lines.next(Instant::now()).await.unwrap() {
            Next::Line(line) => Some(String::from_utf8(line).unwrap()),
            Next::End => None,
            Next::Late => panic!("what a file has is there"),
        }
    }

    #[tokio::test]
    async fn the_end_is_seen_right_behind_the_last_line_and_wherever_it_is_looked_for() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"a\nbc\nd").unwrap();
        let mut lines = Lines::of_file(fs::File::open(file.path()).unwrap());
        let long = "x".repeat(2 * CHUNK);
        for expected in [Some("a\n"), Some("bc\n"), None, None] {
            assert_eq!(next(&mut lines).await.as_deref(), expected);
        }
        assert_eq!(lines.newest(), (0, b"a\nbc\nd".to_vec()));
        lines.compared();
        assert_eq!(lines.newest(), (2, b"bc\nd".to_vec()));
        write!(file, "e\n{long}").unwrap();
        assert_eq!(next(&mut lines).await.as_deref(), Some("de\n"));
        assert_eq!(next(&mut lines).await, None);
        file.write_all(b"\nf\n").unwrap();
        assert_eq!(next(&mut lines).await, Some(format!("{long}\n")));
        lines.compared();
        assert_eq!(lines.newest().0, 8);
        assert_eq!(next(&mut lines).await.as_deref(), Some("f\n"));
        assert_eq!((lines.number(), next(&mut lines).await), (5, None));
        let later = Instant::now() + Duration::from_millis(20);
        assert!(matches!(lines.next(later).await.unwrap(), Next::End), "it was waited for in vain");
    }
}
