//! How many entries to ask for at once.

use crate::record::Record;

/// Bytes of entries that a reply should stay within. `XREAD` limits entries per stream only, so the size of
/// the entries that come is learned: a reply is larger where they suddenly grow, and the next one isn't.
const REPLY_BYTES: usize = 8 << 20;
/// Most entries per stream: enough to amortize the round trip, and few enough where entries suddenly grow.
const MOST: usize = 500;
/// Fewest entries per stream. A busy stream must be read to its end in one reply now and then, because
/// nothing is vouched for before; with very large entries in many streams at once this is the bound.
const FEWEST: usize = 4;
/// Entries looked back at in one step.
const STEP: usize = 16;
/// What an entry is taken to need before any was seen: a row of some size with its schema.
const FIRST_GUESS: usize = 8 << 10;

/// The size of entries as far as it was seen.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes: the largest of late, forgotten by and by.
    entry: usize,
}

// === impl Pace ===

impl Default for Pace {
    fn default() -> Self {
        Self { entry: FIRST_GUESS }
    }
}

impl Pace {
    /// Entries to ask of each of so many streams.
    pub(super) fn count(&self, streams: usize) -> usize {
        (REPLY_BYTES / (streams * self.entry).max(1)).clamp(FEWEST, MOST)
    }

    /// Learns from the entries of one reply; of none there is nothing to learn.
    pub(super) fn learn<'a>(&mut self, records: impl Iterator<Item = &'a Record>) {
        if let Some(largest) = records.map(size).max() {
            self.entry = largest.max(self.entry / 8 * 7);
        }
    }
}

/// How many entries to look back at next, of so many in all, when these were seen: none once a reply's bytes are.
pub(super) fn further(all: usize, seen: &[Record]) -> Option<usize> {
    let left = all.saturating_sub(seen.len());
    let bytes: usize = seen.iter().map(size).sum();
    (left > 0 && bytes < REPLY_BYTES).then_some(left.min(STEP))
}

/// Bytes of a record.
fn size(record: &Record) -> usize {
    record.fields.iter().map(|(name, value)| name.len() + value.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::{FEWEST, MOST, Pace, REPLY_BYTES, Record, STEP, further};
    use crate::position::Place;

    fn entry(bytes: usize) -> Record {
        let fields = vec![(b"{}".to_vec(), vec![b'x'; bytes - 2])];
        Record { place: Place::Start, written_ms: None, fields }
    }

    #[test]
    fn a_reply_stays_within_its_bytes() {
        let mut pace = Pace::default();
        for (streams, bytes) in [(1, 1 << 10), (4, 7 << 10), (20, 16 << 10), (2, 200 << 10)] {
            let seen = entry(bytes);
            // Of what was larger before, nothing is left after some replies.
            for _ in 0..64 {
                pace.learn([&seen].into_iter());
            }
            let count = pace.count(streams);
            assert!(count * streams * bytes <= REPLY_BYTES, "{streams} streams of {bytes}: {count}");
            assert!(count == MOST || count * streams * bytes * 2 > REPLY_BYTES, "and isn't needlessly small");
        }
    }

    #[test]
    fn looking_back_ends_with_enough_entries_or_bytes() {
        let next = |seen: usize, bytes: usize| further(40, &vec![entry(bytes); seen]);
        assert_eq!([0, 16, 32, 40].map(|seen| next(seen, 100)), [Some(STEP), Some(STEP), Some(8), None]);
        assert_eq!(next(16, REPLY_BYTES / 16), None);
    }

    #[test]
    fn one_large_entry_counts_at_once_and_streams_are_read_to_their_ends_nevertheless() {
        let mut pace = Pace::default();
        let (small, large) = (entry(100), entry(10 << 20));
        pace.learn([&small, &large, &small].into_iter());
        assert_eq!(pace.count(1), FEWEST);
        pace.learn([&small].into_iter());
        assert!(pace.count(1) < MOST, "what was large a moment ago may come again");
        for _ in 0..100 {
            pace.learn([&small].into_iter());
        }
        assert_eq!(pace.count(1), MOST);
        pace.learn(std::iter::empty());
        assert_eq!(pace.count(1), MOST);
    }
}
