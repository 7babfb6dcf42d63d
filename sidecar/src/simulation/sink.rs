//! Debezium's sink: what Redis refuses it takes for stored, and goes on behind it without a word.

use super::database::{Database, Record};

/// Which of the next entries are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Everything,
    Changes,
    Ends,
    Begins,
    Beats,
    /// Changes and ends.
    Tails,
    Markers,
}

#[derive(Debug)]
pub(crate) struct Sink {
    binlog: bool,
    losing: Option<Losing>,
    /// The transaction whose begin was lost last.
    begun: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Losing {
    what: What,
    left: u8,
    /// It goes on until a heartbeat is lost: where nothing else is counted, nothing else is ever missed.
    until_beat: bool,
}

impl Sink {
    pub(crate) fn new(binlog: bool) -> Self {
        Self { binlog, losing: None, begun: None }
    }

    pub(crate) fn is_losing(&self) -> bool {
        self.losing.is_some()
    }

    /// The next so many entries of a kind will be lost.
    pub(crate) fn lose(&mut self, what: u8, left: u8, until_beat: bool) {
        let what = match what % 7 {
            0 => What::Everything,
            1 => What::Changes,
            2 => What::Ends,
            3 => What::Begins,
            4 => What::Beats,
            5 => What::Tails,
            _ => What::Markers,
        };
        self.losing = Some(Losing { what, left, until_beat });
    }

    /// Whether a record of the log never reaches Redis.
    pub(crate) fn loses(&mut self, record: usize, db: &Database) -> bool {
        let Some(losing) = &mut self.losing else { return false };
        let record = &db.log[record];
        let hit = match losing.what {
            What::Everything => true,
            What::Changes => matches!(record, Record::Change(_)),
            What::Ends => matches!(record, Record::End(_)),
            What::Begins => matches!(record, Record::Begin(_)),
            What::Beats => matches!(record, Record::Beat(_)),
            What::Tails => matches!(record, Record::Change(_) | Record::End(_)),
            What::Markers => matches!(record, Record::Begin(_) | Record::End(_)),
        };
        if !hit {
            return false;
        }
        if let Record::Change(event) = record
            && !losing.until_beat
            && self.binlog
        {
            // Nothing counts what a statement about definitions does: only with its begin is it missed.
            let commit = db.events[*event].commit;
            if db.is_definition(commit) && self.begun != Some(commit) {
                return false;
            }
        }
        if let Record::Begin(commit) = record {
            self.begun = Some(*commit);
        }
        losing.left = losing.left.saturating_sub(1);
        let beat = matches!(record, Record::Beat(_));
        if losing.left == 0 && !losing.until_beat || losing.until_beat && beat {
            self.losing = None;
        }
        true
    }
}
