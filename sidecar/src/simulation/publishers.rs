//! Those who tell of changes and number what they say: what comes of it, and what has to be known once a later number was
//! heard.
//!
//! A message may never be written, or nobody may be able to read it. What it told of may be missed until then: the excuse ends
//! with the first message of the same publisher that is applied and has a later number. From then on all that was said before
//! counts as told. What was said before the streams had the positions from which they are read is nobody's.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    account::Told,
    database::Table,
    redis::{Fields, Says},
    world::World,
};

/// What somebody says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// A row of a table has changed, or any.
    Change { table: u8, key: Option<u8> },
    /// Nothing.
    Beat,
    /// Nothing, and nothing more: somebody else comes.
    Bye,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Written,
    WrittenTwice,
    Lost,
    /// Nobody can say what it is about.
    Broken,
    /// It is of another version, and names its table if it is about one.
    Newer,
}

/// A message.
#[derive(Clone, Copy, Debug)]
struct Tale {
    publisher: u32,
    number: u64,
    /// What it tells of: all changes before this one, of a row or of a table.
    of: Option<(Table, Option<u8>, usize)>,
    /// How many entries had been added to any stream.
    adds: u64,
}

/// All messages, and how far each publisher was heard.
#[derive(Debug, Default)]
pub(crate) struct Tales {
    said: Vec<Tale>,
    /// Who speaks: a name that nobody else has, and the last number.
    speaking: [Option<(u32, u64)>; 2],
    names: u32,
    /// Of each publisher, the number through which nothing is open: it was told, or is nobody's.
    through: BTreeMap<u32, u64>,
}

impl Tales {
    /// Somebody says something.
    fn say(&mut self, who: u8, word: Word, events: usize, adds: u64) -> (usize, Tale) {
        let speaker = &mut self.speaking[usize::from(who) % 2];
        let (publisher, number) = speaker.get_or_insert_with(|| {
            self.names += 1;
            (self.names, 0)
        });
        *number += 1;
        let of = match word {
            Word::Change { table, key } => {
                let table = Table::ALL[usize::from(table) % Table::ALL.len()];
                Some((table, key.filter(|_| table.has_key()), events))
            }
            Word::Beat | Word::Bye => None,
        };
        let tale = Tale { publisher: *publisher, number: *number, of, adds };
        if word == Word::Bye {
            *speaker = None;
        }
        self.said.push(tale);
        (self.said.len() - 1, tale)
    }

    /// What is known to have been said, now that this was heard, or what it told of where its number can't be read.
    pub(super) fn hear(&mut self, heard: usize, is_read: bool, at: (u64, u64)) -> Vec<Told> {
        let Tale { publisher, number, .. } = self.said[heard];
        let through = self.through.get(&publisher).copied().unwrap_or_default();
        let open = |other: &Tale| {
            is_read && other.publisher == publisher && other.number > through && other.number < number
        };
        let known = self.said.iter().enumerate().filter(|(i, other)| *i == heard || open(other));
        let told = known.filter_map(|(_, other)| {
            let (table, key, events) = other.of?;
            Some(Told { table, key, events, at })
        });
        let told = told.collect();
        if is_read {
            self.through.insert(publisher, number.max(through));
        }
        told
    }

    /// All streams are read from here on, where so many entries had been added.
    pub(super) fn begin(&mut self, adds: u64) {
        for tale in self.said.iter().filter(|tale| tale.adds <= adds) {
            let through = self.through.entry(tale.publisher).or_default();
            *through = tale.number.max(*through);
        }
    }

    /// They are read from their first entries on, or by another process.
    pub(super) fn begin_anew(&mut self) {
        self.through.clear();
    }
}

impl World {
    /// Somebody who numbers what is said says something.
    pub(super) fn publish(&mut self, who: u8, word: Word, way: Way) {
        let (events, adds) = (self.db.events.len(), self.redis.adds);
        let (index, said) = self.judge.tales.say(who, word, events, adds);
        self.tally.count(match (word, way) {
            (_, Way::Lost) => "said and lost",
            (_, Way::Broken | Way::Newer) => "said unreadably",
            (Word::Bye, _) => "said goodbye",
            _ => "said",
        });
        let says = match (way, said.of) {
            (Way::Lost, _) => return,
            (Way::Written | Way::WrittenTwice, _) => Says::Said(index),
            (Way::Broken, _) => Says::Unread { tale: index, of: None },
            (Way::Newer, Some((table, ..))) => Says::Unread { tale: index, of: Some(table) },
            (Way::Newer, None) => Says::Nothing,
        };
        let table = said.of.map_or(Table::ALL[usize::from(who) % 2], |(table, ..)| table);
        let stream = self.debezium.table_stream(table);
        for _ in 0..if way == Way::WrittenTwice { 2 } else { 1 } {
            self.redis.add(&stream, fields(word, way, &said), says, self.now);
        }
    }
}

/// The bytes of a message.
fn fields(word: Word, way: Way, tale: &Tale) -> Fields {
    let Tale { publisher, number, of, .. } = tale;
    let kind = match word {
        Word::Change { .. } => "change",
        Word::Beat => "beat",
        Word::Bye => "bye",
    };
    let version = if way == Way::Newer { 2 } else { 1 };
    let named = of.map_or_else(String::new, |(table, key, _)| {
        let key = key.map_or_else(String::new, |key| format!(",\"key\":{{\"id\":{key}}}"));
        format!(",\"table\":\"s.{}\",\"op\":\"update\"{key}", table.name())
    });
    let mut said = format!(
        "{{\"freshet\":{version},\"kind\":\"{kind}\"{named},\"publisher\":\"p{publisher}\",\"sequence\":{number}}}"
    );
    if way == Way::Broken {
        said.truncate(said.len() / 2);
    }
    Arc::new(vec![(b"freshet".to_vec(), said.into_bytes())])
}
