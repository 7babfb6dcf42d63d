//! How far a partition is read in one answer to the follower.

use std::time::Duration;

use freshet_connect::kafka::Stretch;
use tokio::time::Instant;

use super::{place::behind, record::record};
use crate::{
    continuity::StreamState,
    record::{Batch, Record},
};

/// Where a partition's log began and ended for readers of committed records when it was last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Log {
    /// The offset of the first record.
    pub(super) start: i64,
    /// The offset behind the last one that is stable.
    pub(super) end: i64,
}

/// A partition that is being read.
#[derive(Debug)]
pub(super) struct Progress<'a> {
    pub(super) stream: &'a str,
    /// The offset where reading began.
    from: i64,
    /// Where it goes on.
    pub(super) next: i64,
    /// The leader epoch of what stands before that, if it is known.
    pub(super) epoch: Option<i32>,
    records: Vec<Record>,
    /// Whether an answer has come to what was asked since it began.
    pub(super) is_answered: bool,
    /// Whether that answer went to the log's end.
    pub(super) is_at_end: bool,
}

impl<'a> Progress<'a> {
    pub(super) fn from(stream: &'a str, next: i64, epoch: Option<i32>) -> Self {
        Self { stream, from: next, next, epoch, records: Vec::new(), is_answered: false, is_at_end: false }
    }

    /// Takes a stretch that was asked for at `asked`, of a reading that began at `began`.
    pub(super) fn take(&mut self, stretch: &Stretch, asked: Instant, began: Instant) {
        self.records.extend(stretch.records.iter().map(record));
        self.next = stretch.next_offset;
        self.epoch = stretch.last_epoch;
        if asked >= began {
            self.is_answered = true;
            // A new leader may not know yet how far its log is stable, and say less; and behind what a transaction holds up
            // others may have written.
            let is_stable = stretch.last_stable_offset >= stretch.high_watermark;
            self.is_at_end = is_stable && stretch.next_offset == stretch.last_stable_offset;
        }
    }

    /// Whether anything was read, records or not.
    pub(super) fn has_moved(&self) -> bool {
        self.next > self.from
    }

    /// How the partition stands: as of what was read if that is all of it, else as its log was last told.
    pub(super) fn state(&self, log: Option<Log>, incarnation: Option<u128>) -> StreamState {
        let log = log.unwrap_or(Log { start: 0, end: self.next });
        let end = if self.is_at_end { self.next } else { log.end };
        log.through(end).state(false, incarnation)
    }

    /// What was read.
    pub(super) fn batch(self) -> Batch {
        Batch { stream: self.stream.to_owned(), through: Some(behind(self.next)), records: self.records }
    }
}

impl Log {
    fn through(self, end: i64) -> Self {
        Self { end, ..self }
    }

    /// How a partition with this log stands. What is compacted lacks records in between.
    pub(super) fn state(self, is_compacted: bool, incarnation: Option<u128>) -> StreamState {
        let last = behind(self.end);
        StreamState {
            last,
            added: None,
            length: u64::try_from(self.end.saturating_sub(self.start)).unwrap_or_default(),
            before: behind(self.start),
            removed: if is_compacted { last } else { behind(0) },
            incarnation,
        }
    }
}

/// How long a broker may let a reader wait that began waiting at `began`, if all are to be heard when the next check is due.
///
/// Each leader is asked by itself, and one that is asked again while another one is silent would hold the check up.
pub(super) fn wait(checked: Instant, wait: Duration, now: Instant) -> Duration {
    (checked + wait).saturating_duration_since(now).min(wait)
}

#[cfg(test)]
mod tests {
    use freshet_connect::kafka::Stretch;

    use super::{Duration, Instant, Log, Progress, wait};
    use crate::position::Place;

    fn stretch(next_offset: i64, last_stable_offset: i64) -> Stretch {
        Stretch {
            records: vec![],
            next_offset,
            last_epoch: Some(2),
            last_stable_offset,
            high_watermark: last_stable_offset,
            log_start_offset: 0,
        }
    }

    #[test]
    fn only_what_was_asked_since_tells_of_the_end() {
        let before = Instant::now();
        let began = before + Duration::from_millis(1);
        let mut progress = Progress::from("t/0", 5, None);
        progress.take(&stretch(7, 7), before, began);
        assert!(!progress.is_answered && !progress.is_at_end && progress.has_moved());
        progress.take(&stretch(7, 9), began, began);
        assert!(progress.is_answered && !progress.is_at_end, "there is more");
        progress.take(&stretch(9, 9), began, began);
        assert!(progress.is_at_end);
        let batch = progress.batch();
        assert_eq!((batch.records.len(), batch.through), (0, Some(Place::Number(8))), "nothing but marks");
    }

    #[test]
    fn a_leader_that_knows_less_than_what_was_read_is_not_believed_to_be_at_its_end() {
        let now = Instant::now();
        let mut progress = Progress::from("t/0", 9, None);
        progress.take(&stretch(9, 7), now, now);
        assert!(progress.is_answered && !progress.is_at_end && !progress.has_moved());
    }

    #[test]
    fn a_state_is_of_what_was_read_or_of_what_was_told() {
        let (log, now) = (Log { start: 4, end: 20 }, Instant::now());
        let mut progress = Progress::from("t/0", 9, None);
        let told = progress.state(Some(log), Some(1));
        assert_eq!((told.last, told.before, told.length), (Place::Number(19), Place::Number(3), 16));
        assert_eq!(told.incarnation, Some(1));
        progress.take(&stretch(21, 21), now, now);
        assert_eq!(progress.state(Some(log), None).last, Place::Number(20));
        let unknown = Progress::from("t/0", 9, None).state(None, None);
        assert_eq!((unknown.last, unknown.before), (Place::Number(8), Place::Start));
    }

    #[test]
    fn a_log_has_holes_where_it_is_compacted_and_is_whole_where_nothing_was_deleted() {
        let log = Log { start: 0, end: 3 };
        assert!(log.state(false, None).is_whole() && log.state(false, None).has_no_holes());
        assert!(!log.state(true, None).has_no_holes());
        let rest = Log { start: 2, end: 3 };
        assert!(!rest.state(false, None).is_whole() && rest.state(false, None).has_no_holes());
        let empty = Log { start: 3, end: 3 };
        assert_eq!(empty.state(false, None).before, Place::Number(2), "all that was there is gone");
    }

    #[test]
    fn every_wait_ends_when_the_next_check_is_due() {
        let (checked, second) = (Instant::now(), Duration::from_secs(1));
        assert_eq!(wait(checked, second, checked), second);
        assert_eq!(wait(checked, second, checked + second / 4), second * 3 / 4);
        assert_eq!(wait(checked, second, checked + second * 3), Duration::ZERO);
    }
}
