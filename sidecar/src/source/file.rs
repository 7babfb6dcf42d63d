//! Reads entries from a file, or from standard input: to try a binding without any server.
//!
//! A line is an entry: `{"stream": "shop.inventory.product", "fields": [["{\"id\":7}", "{\"op\":\"u\",…}"]]}`, with the fields
//! that Debezium's Redis sink would have written; where there is one stream, its name may be left out. The file is read
//! from its first line on, and what is added to it later is read as well.

use std::{
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    sync::Arc,
    time::Duration,
};

use freshet_crds::binding::{FileSpec, StreamLayout};
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};

use self::lines::{Lines, Next};
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
}

/// The file while it is read.
pub(super) struct Open {
    path: Option<String>,
    stream: Option<String>,
    lines: Arc<Mutex<Lines>>,
    history: String,
}

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
        Self { path: file.path.clone(), stream: layout.stream().map(str::to_owned), input }
    }
}

impl Transport for File {
    type Reader = Open;

    async fn open(&self, _topics: &[&str]) -> Result<Open, ReadError> {
        let stream = self.stream.clone();
        if let Some(input) = &self.input {
            return Ok(Open { path: None, stream, lines: Arc::clone(input), history: String::new() });
        }
        let (lines, history) = open(&self.path).await?;
        let lines = Arc::new(Mutex::new(lines));
        Ok(Open { path: Some(self.path.clone()), stream, lines, history })
    }
}

impl Reader for Open {
    async fn survey(&mut self, streams: &[Stream<'_>], count: usize) -> Result<(Survey, Reading), ReadError> {
        let reading = self.read(streams, count, MOMENT).await?;
        let newest = self.lines.lock().await.newest();
        self.be_whole(newest).await?;
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
        let (from, newest) = (lines.number(), lines.newest());
        let (mut records, until) = (Vec::new(), Instant::now() + wait);
        let mut at_end = false;
        while records.len() < count {
            // When there is something, nothing more is waited for.
            let until = if records.is_empty() { until } else { Instant::now() };
            let text = match lines.next(until).await.map_err(ReadError::failed)? {
                Next::Line(text) => text,
                Next::End => {
                    at_end = true;
                    break;
                }
                Next::Late => break,
            };
            if text.is_empty() {
                continue;
            }
            let (stream, line) = match self.entry(&text) {
                Ok(entry) => entry,
                Err(why) => {
                    // What came before it counts first.
                    lines.spoil(why);
                    break;
                }
            };
            let fields = line.into_iter().map(|(n, v)| (n.into_bytes(), v.into_bytes())).collect();
            let place = Place::Number(lines.number());
            records.push((stream, Record { place, written_ms: None, fields }));
        }
        let (through, is_sound) = (lines.sound(), lines.be_readable());
        let came = lines.number() > from;
        drop(lines);
        if came {
            // Behind a place where other lines are now than were read, nobody knows what has come.
            self.be_whole(newest).await?;
        }
        if records.is_empty() {
            is_sound.map_err(ReadError::failed)?;
        }
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
        while lines.number() < wanted
            && let Next::Line(_) = lines.next(Instant::now() + MOMENT).await.map_err(ReadError::failed)?
        {
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
    async fn be_whole(&self, (at, newest): (u64, Vec<u8>)) -> Result<(), ReadError> {
        let Some(path) = self.path.clone() else { return Ok(()) };
        let looked = tokio::task::spawn_blocking(move || {
            let file = std::fs::File::open(path)?;
            let mut is = vec![0; newest.len()];
            let there = file.read_exact_at(&mut is, at);
            io::Result::Ok((history(&file.metadata()?), there.is_ok() && is == newest))
        });
        let looked = looked.await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        let path = self.path.as_deref().unwrap_or_default();
        let lost = |why, text: &str| ReadError::Lost { why, text: format!("{path} {text}") };
        let (history, has_it) = looked.map_err(|_| lost(Break::StreamGone, "is gone"))?;
        if history != self.history {
            return Err(lost(Break::StreamGone, "is another file now"));
        }
        if !has_it {
            return Err(lost(Break::IdWentBack, "no longer has what was read of it"));
        }
        Ok(())
    }
}

async fn open(path: &str) -> Result<(Lines, String), ReadError> {
    let why = |error: std::io::Error| ReadError::failed(Unopened { path: path.to_owned(), error });
    let file = tokio::fs::File::open(path).await.map_err(why)?;
    let about = file.metadata().await.map_err(why)?;
    let history = history(&about);
    Ok((Lines::of_file(file), history))
}

#[derive(Debug, thiserror::Error)]
#[error("{path} can't be opened: {error}")]
struct Unopened {
    path: String,
    error: std::io::Error,
}

fn history(about: &std::fs::Metadata) -> String {
    format!("{}:{}", about.dev(), about.ino())
}
