//! Writes down what is in a stream, an entry a line, and goes on with what comes. It does so as slowly as it happens: a line
//! may be there in part, for a moment or longer.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use freshet_crds::topics;
use serde_json::{Value, json};

use crate::random::Random;
use crate::torture::world::PATIENCE;

/// How long it waits for an entry, in milliseconds.
const WAIT_MS: &str = "20";

/// Entries that it writes down at once, at most.
const BLOCK: &str = "500";

/// For how long a part of a line is there without the rest, in milliseconds, and how many of a hundred times.
const PART_MS: (u64, u64) = (1, 120);
const PARTS: u64 = 20;

/// What lines say of their streams.
pub(super) enum Naming {
    /// Nothing: there is one.
    One,
    /// The names that they would have if nothing routed them into one, with this prefix.
    PerTopic(String),
}

/// A recorder, on a thread of its own until it is dropped.
pub(super) struct Recorder {
    desk: Arc<Desk>,
    path: PathBuf,
    thread: Option<JoinHandle<()>>,
}

/// Where it is told what to do.
#[derive(Default)]
struct Desk {
    order: Mutex<Order>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Order {
    #[default]
    Write,
    /// To stand still at the next occasion.
    Halt {
        in_mid_line: bool,
    },
    /// It does.
    Halted,
    End,
}

/// A recorder that stands still until this is dropped.
pub(crate) struct Still<'a> {
    desk: &'a Desk,
    /// Its file.
    pub(crate) path: &'a Path,
}

struct Pen {
    address: SocketAddr,
    stream: String,
    naming: Naming,
    path: PathBuf,
    desk: Arc<Desk>,
    random: Random,
    /// The last entry that was written down.
    mark: String,
}

/// Entries of streams, as the client reads them.
type Read = Option<Vec<(String, Vec<(String, Vec<String>)>)>>;

impl Recorder {
    /// Records a stream from its beginning.
    pub(super) fn start(address: SocketAddr, stream: String, naming: Naming, path: PathBuf) -> Result<Self> {
        append(&path, b"")?;
        let desk = Arc::<Desk>::default();
        let (random, mark) = (Random::new(u64::from(address.port())), "0".to_owned());
        let (stays, told) = (path.clone(), Arc::clone(&desk));
        let pen = Pen { address, stream, naming, path, desk: told, random, mark };
        let thread = thread::spawn(move || pen.run());
        Ok(Self { desk, path: stays, thread: Some(thread) })
    }

    /// Has it stand still.
    pub(super) fn still(&self, in_mid_line: bool) -> Result<Still<'_>> {
        self.desk.say(Order::Halt { in_mid_line });
        let still = Still { desk: &self.desk, path: &self.path };
        let heard = self
            .desk
            .changed
            .wait_timeout_while(self.desk.order(), PATIENCE, |order| *order != Order::Halted);
        let (order, _) = heard.unwrap_or_else(PoisonError::into_inner);
        ensure!(*order == Order::Halted, "the recorder doesn't stand still");
        drop(order);
        Ok(still)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.desk.say(Order::End);
        // Whether it panicked is of no interest any more.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

impl Drop for Still<'_> {
    fn drop(&mut self) {
        self.desk.say(Order::Write);
    }
}

impl Desk {
    fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, order: Order) {
        *self.order() = order;
        self.changed.notify_all();
    }

    /// Stands still where it is told to; whether it is to go on then.
    fn goes_on(&self, in_mid_line: bool) -> bool {
        let mut order = self.order();
        if *order == (Order::Halt { in_mid_line }) {
            *order = Order::Halted;
            self.changed.notify_all();
        }
        let halted = |order: &mut Order| *order == Order::Halted;
        let order = self.changed.wait_while(order, halted).unwrap_or_else(PoisonError::into_inner);
        *order != Order::End
    }
}

impl Pen {
    fn run(mut self) {
        while self.desk.goes_on(false) {
            if let Err(error) = self.follow() {
                eprintln!("the recorder of {}: {error:#}", self.stream);
                // As whoever runs it would start it again.
                thread::sleep(Duration::from_millis(200));
            }
        }
    }

    /// Writes down what comes on one connection.
    fn follow(&mut self) -> Result<()> {
        let client = redis::Client::open(format!("redis://{}", self.address))?;
        let mut connection = client.get_connection_with_timeout(PATIENCE)?;
        while self.desk.goes_on(false) {
            let mut words = redis::cmd("XREAD");
            words.arg(&["COUNT", BLOCK, "BLOCK", WAIT_MS, "STREAMS"]).arg(&self.stream).arg(&self.mark);
            let read: Read = words.query(&mut connection)?;
            let entries: Vec<_> = read.into_iter().flatten().flat_map(|(_, entries)| entries).collect();
            let Some((last, _)) = entries.last() else { continue };
            let last = last.clone();
            let lines = entries.iter().map(|(_, fields)| self.naming.line(fields));
            let lines = lines.collect::<Result<Vec<_>>>()?;
            self.write(&lines)?;
            self.mark = last;
        }
        Ok(())
    }

    /// Writes these lines, of the last one perhaps a part first.
    fn write(&mut self, lines: &[String]) -> Result<()> {
        let text = lines.concat();
        let last = lines.last().map_or(0, String::len);
        let halts = *self.desk.order() == (Order::Halt { in_mid_line: true });
        let pauses = self.random.chance(PARTS);
        if !halts && !pauses {
            return append(&self.path, text.as_bytes());
        }
        let part = text.len() - last + usize::try_from(self.random.between(1, last as u64 - 1))?;
        let (begin, end) = text.as_bytes().split_at(part);
        append(&self.path, begin)?;
        if pauses {
            thread::sleep(Duration::from_millis(self.random.between(PART_MS.0, PART_MS.1)));
        }
        self.desk.goes_on(true);
        append(&self.path, end)
    }
}

impl Naming {
    fn line(&self, fields: &[String]) -> Result<String> {
        let pairs: Vec<_> = fields.chunks_exact(2).map(|pair| [&pair[0], &pair[1]]).collect();
        let line = match self {
            Self::One => json!({"fields": pairs}),
            Self::PerTopic(prefix) => {
                let value = fields.get(3).context("an entry without a value")?;
                let value: Value =
                    serde_json::from_str(value).with_context(|| format!("a value: {value}"))?;
                json!({"stream": topic(prefix, &value), "fields": pairs})
            }
        };
        Ok(format!("{line}\n"))
    }
}

/// The topic that Debezium has written a value to, before it was routed elsewhere.
fn topic(prefix: &str, value: &Value) -> String {
    let source = &value["source"];
    let text = |name: &str| source[name].as_str().filter(|text| !text.is_empty());
    if value.get("status").is_some() {
        return topics::of_transactions(prefix);
    }
    if value.get("ddl").is_some() {
        return topics::of_schema_changes(prefix);
    }
    if value["op"] == "m" {
        return topics::of_messages(prefix);
    }
    match (text("schema").or_else(|| text("db")), text("table")) {
        (Some(schema), Some(table)) => topics::of_table(prefix, &format!("{schema}.{table}")),
        _ => topics::of_debezium_heartbeats(prefix),
    }
}

/// Adds to what is at this path, or makes it.
fn append(path: &Path, bytes: &[u8]) -> Result<()> {
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(bytes)).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_the_topic_that_its_entry_came_from() {
        let naming = Naming::PerTopic("pg".to_owned());
        for (value, topic) in [
            (
                json!({"op": "u", "source": {"db": "postgres", "schema": "shop", "table": "item"}}),
                "pg.shop.item",
            ),
            (json!({"op": "u", "source": {"db": "shop", "table": "item"}}), "pg.shop.item"),
            (json!({"op": "m", "source": {"db": "postgres", "schema": "", "table": ""}}), "pg.message"),
            (json!({"status": "END", "id": "7"}), "pg.transaction"),
            (json!({"ddl": "ALTER", "source": {"db": "shop", "table": "item"}}), "pg"),
            (json!({"ts_ms": 7}), "__debezium-heartbeat.pg"),
        ] {
            let fields = ["key", "k", "value", &value.to_string()].map(str::to_owned);
            let line: Value = serde_json::from_str(&naming.line(&fields).unwrap()).unwrap();
            assert_eq!(line["stream"], topic);
            assert_eq!(line["fields"], json!([["key", "k"], ["value", value.to_string()]]));
        }
    }
}
