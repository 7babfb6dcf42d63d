//! Reads entries from a file, or from standard input: to try a binding without any server.
//!
//! A line is an entry: `{"stream": "shop.inventory.product", "fields": [["{\"id\":7}", "{\"op\":\"u\",…}"]]}`, with the fields
//! that Debezium's Redis sink would have written; where there is one stream, its name may be left out. The file is read
//! from its first line on, and what is added to it later is read as well.

use std::{
    fs, io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    sync::{Arc, Mutex as StdMutex, PoisonError},
    time::Duration,
};

use freshet_crds::binding::{FileSpec, StreamLayout};
use serde::Deserialize;
use tokio::{sync::Mutex, task::spawn_blocking, time::Instant};

use self::lines::{Lines, Mark, Next};
use super::transport::{ReadError, Reader, Stream, Transport};
use crate::{
    continuity::{Break, ServerIdentity, StreamState},
    position::Place,
    record::{Batch, Reading, Record},
    tail::Survey,
};

mod lines;

/// The path that means standard input.
const STANDARD_INPUT: &str = "-";
/// How long a survey waits for the next line: a file has it or hasn't.
const MOMENT: Duration = Duration::from_millis(20);

/// A source's file.
pub(super) struct File {
    path: String,
    /// The one stream, where there is one.
    stream: Option<String>,
    /// Standard input, which can be read only once.
    input: Option<Arc<Mutex<Lines>>>,
    mark: SharedMark,
}

/// The file while it is read.
pub(super) struct Open {
    path: Option<String>,
    stream: Option<String>,
    lines: Arc<Mutex<Lines>>,
    history: String,
    mark: SharedMark,
}

/// The last entry that was read, whichever time the file was opened: what is passed over to come behind it has to end with it.
type SharedMark = Arc<StdMutex<Mark>>;

/// A line of it.
#[derive(Deserialize)]
struct Line {
    stream: Option<String>,
    fields: Vec<(String, String)>,
}

impl File {
    pub(super) fn new(file: &FileSpec, layout: &StreamLayout) -> Self {
        let is_input = file.path == STANDARD_INPUT;
        let input = is_input.then(|| Arc::new(Mutex::new(Lines::of_standard_input())));
        let stream = layout.stream().map(str::to_owned);
        Self { path: file.path.clone(), stream, input, mark: SharedMark::default() }
    }
}

impl Transport for File {
    type Reader = Open;

    async fn open(&self, _topics: &[&str]) -> Result<Open, ReadError> {
        let (stream, mark) = (self.stream.clone(), Arc::clone(&self.mark));
        if let Some(input) = &self.input {
            return Ok(Open { path: None, stream, lines: Arc::clone(input), history: String::new(), mark });
        }
        let (lines, history) = open(&self.path).await?;
        let lines = Arc::new(Mutex::new(lines));
        Ok(Open { path: Some(self.path.clone()), stream, lines, history, mark })
    }
}

impl Reader for Open {
    async fn survey(&mut self, streams: &[Stream<'_>], count: usize) -> Result<(Survey, Reading), ReadError> {
        let reading = self.read(streams, count, MOMENT).await?;
        self.be_whole().await?;
        let last = reading.batches.first().and_then(|batch| batch.through);
        let state = last.filter(|_| streams.iter().any(|stream| stream.place.is_some())).map(|last| {
            StreamState { last, length: last.number().unwrap_or_default(), ..StreamState::default() }
        });
        // Before the first line is read, no stream is there: each is read from its first entry on.
        let states = streams.iter().map(|stream| (stream.name.to_owned(), state)).collect();
        let server = ServerIdentity { history: self.history.clone(), connection: None };
        Ok((Survey { server, link: None, states }, reading))
    }

    async fn read(
        &mut self,
        streams: &[Stream<'_>],
        count: usize,
        wait: Duration,
    ) -> Result<Reading, ReadError> {
        let Some(place) = streams.iter().filter_map(|stream| stream.place).max() else {
            return Ok(Reading::default());
        };
        self.be_at(place).await?;
        let mut lines = self.lines.lock().await;
        lines.be_readable().map_err(ReadError::failed)?;
        let from = lines.number();
        let (mut records, until) = (Vec::new(), Instant::now() + wait);
        let mut at_end = false;
        while records.len() < count {
            // When there is something, nothing more is waited for.
            let until = if records.is_empty() { until } else { Instant::now() };
            let line = match lines.next(until).await.map_err(ReadError::failed)? {
                Next::Line(line) => line,
                Next::End => {
                    at_end = true;
                    break;
                }
                Next::Late => break,
            };
            let entry = match line.trim_ascii() {
                b"" => None,
                text => match self.entry(text) {
                    Ok(entry) => Some(entry),
                    Err(why) => {
                        // What came before it counts first.
                        lines.spoil(why);
                        break;
                    }
                },
            };
            lines.accept(line);
            if let Some((stream, fields)) = entry {
                let fields = fields.into_iter().map(|(n, v)| (n.into_bytes(), v.into_bytes())).collect();
                let place = Place::Number(lines.number());
                records.push((stream, Record { place, written_ms: None, fields }));
            }
        }
        let (mark, is_sound, came) = (lines.mark().clone(), lines.be_readable(), lines.number() > from);
        drop(lines);
        if came {
            // Behind a place where other lines are now than were read, nobody knows what has come.
            self.be_whole().await?;
        }
        if records.is_empty() {
            is_sound.map_err(ReadError::failed)?;
        }
        let through = mark.number;
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = mark;
        let through = Some(through).filter(|number| *number > 0).map(Place::Number);
        let batch = |stream: &Stream<'_>| Batch {
            stream: stream.name.to_owned(),
            records: records.iter().filter(|(of, _)| of == stream.name).map(|(_, r)| r.clone()).collect(),
            through,
        };
        Ok(Reading { batches: streams.iter().map(batch).collect(), at_end })
    }
}

impl Open {
    /// Begins anew where positions were lost, and goes on where they weren't. Standard input goes on where it is.
    async fn be_at(&mut self, place: Place) -> Result<(), ReadError> {
        let Some(path) = &self.path else { return Ok(()) };
        let wanted = place.number().unwrap_or_default();
        if wanted < self.lines.lock().await.number() {
            let (lines, history) = open(path).await?;
            (self.lines, self.history) = (Arc::new(Mutex::new(lines)), history);
        }
        let mut lines = self.lines.lock().await;
        let mut passed = false;
        while lines.number() < wanted {
            let Next::Line(line) = lines.next(Instant::now()).await.map_err(ReadError::failed)? else {
                return Err(self.went_back());
            };
            lines.accept(line);
            lines.compared();
            passed = true;
        }
        // While it wasn't open, anything may have become of it.
        if passed && *lines.mark() != *self.mark.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(self.went_back());
        }
        Ok(())
    }

    /// A line's stream and fields, or why it has none.
    fn entry(&self, text: &[u8]) -> Result<(String, Vec<(String, String)>), String> {
        let line: Line = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let stream = line.stream.or_else(|| self.stream.clone());
        Ok((stream.ok_or("it has no `stream`")?, line.fields))
    }

    /// Whether the file is still the one that was opened, and has what was read last where it was. One that was cut and has
    /// grown again has something else there.
    async fn be_whole(&self) -> Result<(), ReadError> {
        let mut lines = self.lines.lock().await;
        let Some(path) = self.path.clone() else {
            lines.compared();
            return Ok(());
        };
        let (at, newest) = lines.newest();
        let looked = spawn_blocking(move || {
            let file = fs::File::open(path)?;
            let mut is = vec![0; newest.len()];
            let there = file.read_exact_at(&mut is, at);
            io::Result::Ok((history(&file.metadata()?), there.is_ok() && is == newest))
        });
        let looked = looked.await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        let (history, has_it) = looked.map_err(|_| self.lost(Break::StreamGone, "is gone"))?;
        if history != self.history {
            return Err(self.lost(Break::StreamGone, "is another file now"));
        }
        if !has_it {
            return Err(self.went_back());
        }
        lines.compared();
        Ok(())
    }

    fn went_back(&self) -> ReadError {
        self.lost(Break::IdWentBack, "no longer has what was read of it")
    }

    fn lost(&self, why: Break, text: &str) -> ReadError {
        ReadError::Lost { why, text: format!("{} {text}", self.path.as_deref().unwrap_or_default()) }
    }
}

async fn open(path: &str) -> Result<(Lines, String), ReadError> {
    let why = |error: std::io::Error| ReadError::failed(Unopened { path: path.to_owned(), error });
    let file = tokio::fs::File::open(path).await.map_err(why)?;
    let about = file.metadata().await.map_err(why)?;
    let history = history(&about);
    Ok((Lines::of_file(file.into_std().await), history))
}

#[derive(Debug, thiserror::Error)]
#[error("{path} can't be opened: {error}")]
struct Unopened {
    path: String,
    error: std::io::Error,
}

fn history(about: &fs::Metadata) -> String {
    format!("{}:{}", about.dev(), about.ino())
}
