//! What was read last, to be known again: by it a log is noticed that is another one, or that was truncated and went on
//! otherwise.

use std::collections::HashMap;

use crate::continuity::Break;

/// What was read last of one cluster, by stream. Kept over connections.
#[derive(Debug, Default)]
pub(super) struct Witness {
    cluster: String,
    seen: HashMap<String, Seen>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    /// The topic's identity.
    topic: Option<u128>,
    /// The offset behind what was read.
    next: i64,
    /// Under which leader the last of it was written, if that is known.
    epoch: Option<i32>,
}

impl Witness {
    /// Notes which cluster is being read; what was read of another one is forgotten.
    pub(super) fn attend(&mut self, cluster: &str) {
        if self.cluster != cluster {
            *self = Self { cluster: cluster.to_owned(), seen: HashMap::new() };
        }
    }

    /// Notes under which leader the last was written that stands before this offset of a topic's partition.
    pub(super) fn note(&mut self, stream: &str, topic: Option<u128>, next: i64, epoch: Option<i32>) {
        self.seen.insert(stream.to_owned(), Seen { topic, next, epoch });
    }

    /// The leader epoch of what stands before this offset, if it was this topic's and was read to just there.
    pub(super) fn epoch(&self, stream: &str, topic: Option<u128>, next: i64) -> Option<i32> {
        self.seen.get(stream).filter(|seen| seen.topic == topic && seen.next == next)?.epoch
    }

    /// Why a place means nothing in this cluster and this topic, if they aren't those that were read.
    pub(super) fn is_of_other(&self, cluster: &str, stream: &str, topic: Option<u128>) -> Option<Break> {
        let seen = self.seen.get(stream)?;
        if self.cluster != cluster {
            return Some(Break::ServerChanged);
        }
        (seen.topic != topic).then_some(Break::StreamGone)
    }

    /// Forgets a stream: what was read of it is there no more.
    pub(super) fn forget(&mut self, stream: &str) {
        self.seen.remove(stream);
    }
}

#[cfg(test)]
mod tests {
    use super::{Break, Witness};

    fn witness() -> Witness {
        let mut witness = Witness::default();
        witness.attend("c");
        witness.note("t/0", Some(1), 42, Some(3));
        witness
    }

    #[test]
    fn an_epoch_is_that_of_one_place_in_one_topic() {
        let mut witness = witness();
        assert_eq!(witness.epoch("t/0", Some(1), 42), Some(3));
        for (stream, topic, next) in [("t/1", Some(1), 42), ("t/0", Some(2), 42), ("t/0", Some(1), 41)] {
            assert_eq!(witness.epoch(stream, topic, next), None, "{stream} {topic:?} {next}");
        }
        witness.note("t/0", Some(1), 43, None);
        assert_eq!(witness.epoch("t/0", Some(1), 43), None, "an older one isn't that of a later place");
        witness.note("t/0", Some(1), 44, Some(3));
        witness.forget("t/0");
        assert_eq!(witness.epoch("t/0", Some(1), 44), None);
    }

    #[test]
    fn another_cluster_and_another_topic_are_told_from_what_was_read() {
        let mut witness = witness();
        assert_eq!(witness.is_of_other("c", "t/0", Some(1)), None);
        assert_eq!(witness.is_of_other("c", "t/0", Some(2)), Some(Break::StreamGone));
        assert_eq!(witness.is_of_other("d", "t/0", Some(2)), Some(Break::ServerChanged));
        assert_eq!(witness.is_of_other("d", "t/1", Some(2)), None, "of it nothing was read");
        witness.attend("d");
        assert_eq!(witness.is_of_other("d", "t/0", Some(2)), None);
    }
}
