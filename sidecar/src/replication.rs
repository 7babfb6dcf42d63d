//! What a server's word is worth: a master knows its streams, a replica only what its master has told it so far.

use std::time::Duration;

use crate::clock::Tick;

/// What is added to a replica's own count of seconds since its master was heard, which is of whole ones.
const GRAIN: Duration = Duration::from_secs(1);

/// A replica's link to its master, as the replica sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MasterLink {
    /// Whether it stands, with nothing left to be copied.
    pub up: bool,
    /// How long the master was not heard of, in whole seconds.
    pub silent: Duration,
    /// How much of the master's output has been applied, in bytes; grows with its pings, too.
    pub offset: u64,
}

/// What is known of the server that is read from. A new one is taken for a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replication {
    is_master: bool,
    /// How much of its master's output a replica had applied when it was asked last, and when that was.
    seen: Option<(u64, Tick)>,
}

// === impl Replication ===

impl Replication {
    /// Takes what a server said of itself when it was asked at `asked`: `None` of a master. Answers the instant as of
    /// which its streams are known to be whole, if any.
    pub fn hear(&mut self, link: Option<MasterLink>, asked: Tick) -> Option<Tick> {
        self.is_master = link.is_none();
        let Some(link) = link else {
            self.seen = None;
            return Some(asked);
        };
        if !link.up {
            self.seen = None;
            return None;
        }
        let before = self.seen.replace((link.offset, asked));
        // What came since was sent after everything that was written until then.
        let grown = before.filter(|(offset, _)| *offset < link.offset).map(|(_, at)| at);
        let counted = asked.before(link.silent + GRAIN);
        Some(grown.map_or(counted, |at| at.max(counted)))
    }

    /// As of when a read of all streams to their ends, begun at `asked`, shows everything: a replica's shows nothing.
    #[must_use]
    pub fn read(&self, asked: Tick) -> Option<Tick> {
        self.is_master.then_some(asked)
    }

    /// Whether it is known to be a master.
    #[must_use]
    pub fn is_master(&self) -> bool {
        self.is_master
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "a replica's")]
    fn link(up: bool, silent: u64, offset: u64) -> Option<MasterLink> {
        Some(MasterLink { up, silent: Duration::from_secs(silent), offset })
    }

    #[test]
    fn a_master_s_word_and_reads_count_at_once() {
        let mut replication = Replication::default();
        assert_eq!(replication.read(Tick(5)), None, "nobody has asked yet");
        assert_eq!(replication.hear(None, Tick(10_000)), Some(Tick(10_000)));
        assert_eq!(replication.read(Tick(11_000)), Some(Tick(11_000)));
    }

    #[test]
    fn a_replica_s_counts_as_of_when_its_master_was_heard() {
        let mut replication = Replication::default();
        assert_eq!(replication.hear(link(true, 3, 100), Tick(10_000)), Some(Tick(6000)));
        assert_eq!(replication.read(Tick(10_100)), None);
        assert_eq!(replication.hear(link(true, 0, 100), Tick(10_500)), Some(Tick(9500)));
        // Something came between this question and the last one.
        assert_eq!(replication.hear(link(true, 0, 114), Tick(11_000)), Some(Tick(10_500)));
        assert_eq!(replication.hear(link(true, 1, 114), Tick(11_500)), Some(Tick(9500)), "nothing since");
    }

    #[test]
    fn a_replica_without_its_master_shows_nothing() {
        let mut replication = Replication::default();
        replication.hear(link(true, 0, 100), Tick(10_000));
        assert_eq!(replication.hear(link(false, 0, 200), Tick(11_000)), None);
        assert_eq!(replication.read(Tick(11_000)), None);
        // The bytes that came while it was down weren't those of a whole copy.
        assert_eq!(replication.hear(link(true, 0, 300), Tick(12_000)), Some(Tick(11_000)));
        replication.hear(None, Tick(13_000));
        assert_eq!(replication.read(Tick(13_000)), Some(Tick(13_000)));
        replication.hear(link(true, 0, 300), Tick(14_000));
        assert_eq!(replication.read(Tick(14_000)), None, "a demoted master");
    }
}
