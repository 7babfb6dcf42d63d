//! Says what a writer has committed, where the transport keeps nothing: numbered, with a beat whenever there is nothing to
//! say, so that whoever hears the next knows what he has missed.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::carrier::{Saying, Voice};
use super::shape::{Subject, Table};
use super::stage::Stage;
use crate::process::until;

/// The time between two beats of whoever has nothing to say.
const BEAT: Duration = Duration::from_millis(400);

/// How long a transaction waits until all of it is said: as long as a server may be away.
const SAID: Duration = Duration::from_mins(1);

/// A writer's publisher.
#[derive(Debug)]
pub(crate) struct Teller(SyncSender<Order>);

/// Messages, and where to tell that the server has them.
#[derive(Debug)]
struct Order {
    says: Vec<Value>,
    /// They are numbered, and never said.
    lost: bool,
    done: SyncSender<()>,
}

impl Teller {
    /// A publisher of this name, on a thread of its own until the run is over.
    pub(crate) fn start(stage: &Arc<Stage>, saying: Saying, name: String) -> Self {
        let (orders, queue) = sync_channel(1);
        let publisher = Publisher { stage: Arc::clone(stage), saying, voice: None, name, sequence: 0 };
        thread::spawn(move || publisher.run(&queue));
        Self(orders)
    }

    /// Says it, and returns when the server has it. With `lost` it is said to nobody.
    pub(crate) fn tell(&self, says: Vec<Value>, lost: bool) -> Result<()> {
        let (done, told) = sync_channel(1);
        self.0.send(Order { says, lost, done }).ok().context("the publisher is gone")?;
        told.recv_timeout(SAID).context("nothing can be said")
    }
}

struct Publisher {
    stage: Arc<Stage>,
    saying: Saying,
    voice: Option<Voice>,
    name: String,
    sequence: u64,
}

impl Publisher {
    fn run(mut self, queue: &Receiver<Order>) {
        while !self.stage.is_over() {
            match queue.recv_timeout(BEAT) {
                Ok(Order { says, lost, done }) => {
                    let messages = self.number(says);
                    if lost || self.say(&messages) {
                        // Whoever waits may have given up.
                        let _ = done.send(());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    let beat = self.number(vec![json!({"freshet": 1, "kind": "beat"})]);
                    self.say(&beat);
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn number(&mut self, says: Vec<Value>) -> Vec<String> {
        let numbered = says.into_iter().map(|mut message| {
            self.sequence += 1;
            message["publisher"] = json!(self.name);
            message["sequence"] = json!(self.sequence);
            message.to_string()
        });
        numbered.collect()
    }

    /// Says it again and again until the server has it; whether it has before the run is over.
    fn say(&mut self, messages: &[String]) -> bool {
        let said = until("it is said", SAID, || {
            if self.stage.is_over() {
                return Ok(false);
            }
            let mut voice = match self.voice.take() {
                Some(voice) => voice,
                None => self.saying.open()?,
            };
            // One that has failed is left: nobody knows what is still on its way there.
            voice.say(messages)?;
            self.voice = Some(voice);
            Ok(true)
        });
        said.unwrap_or(false)
    }
}

/// What is said of a transaction: which rows are different, and what it has done to all of a table.
pub(crate) fn says(
    difference: &[(Subject, Option<String>)],
    was_there: impl Fn(Table, u32) -> bool,
    truncated: bool,
    whole: Option<Table>,
) -> Vec<Value> {
    let change =
        |table: Table, op: &str| json!({"freshet": 1, "kind": "change", "table": table.name(), "op": op});
    let rows = difference.iter().filter_map(|(subject, value)| {
        let Subject::Row(table, id) = *subject else { return None };
        if truncated && table == Table::Scrap {
            return None;
        }
        let op = match (was_there(table, id), value.is_some()) {
            (false, _) => "insert",
            (true, true) => "update",
            (true, false) => "delete",
        };
        let mut said = change(table, op);
        said["key"] = json!({"id": id});
        Some(said)
    });
    let truncation = truncated.then(|| change(Table::Scrap, "truncate"));
    rows.chain(truncation).chain(whole.map(|table| change(table, "update"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_named_and_whole_tables_are_not_told_row_by_row() {
        let difference = [
            (Subject::Row(Table::Item, 1), Some("a".to_owned())),
            (Subject::Row(Table::Item, 2), Some("b".to_owned())),
            (Subject::Row(Table::Item, 3), None),
            (Subject::Row(Table::Scrap, 3), None),
            (Subject::Sum(1), Some("1:".to_owned())),
        ];
        let told = |truncated, whole| -> Vec<String> {
            let says = says(&difference, |_, id| id != 1, truncated, whole);
            says.iter()
                .map(|said| format!("{} {} {}", said["table"], said["op"], said["key"]["id"]))
                .collect()
        };
        let items =
            ["\"shop.item\" \"insert\" 1", "\"shop.item\" \"update\" 2", "\"shop.item\" \"delete\" 3"];
        assert_eq!(told(false, None), [&items[..], &["\"shop.scrap\" \"delete\" 3"]].concat());
        assert_eq!(told(true, None), [&items[..], &["\"shop.scrap\" \"truncate\" null"]].concat());
        let whole = ["\"shop.scrap\" \"delete\" 3", "\"shop.scrap\" \"update\" null"];
        assert_eq!(told(false, Some(Table::Scrap)), [&items[..], &whole].concat());
    }
}
