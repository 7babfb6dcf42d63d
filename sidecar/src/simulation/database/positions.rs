//! What a database says of how far it has been seen, and what that stands for.

use super::{Database, Snapshot};

/// A position in the text of an application, and the commits that it stands for.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) text: String,
    covers: Covers,
}

#[derive(Clone, Debug)]
enum Covers {
    /// All before this one.
    Before(usize),
    Only(usize),
    Seen(Snapshot),
}

impl Mark {
    /// Whether it is a place of the log.
    pub(crate) fn is_place(&self) -> bool {
        matches!(self.covers, Covers::Before(_))
    }

    /// Whether whoever has seen this has seen a commit.
    pub(crate) fn covers(&self, commit: usize) -> bool {
        match &self.covers {
            Covers::Before(end) => commit < *end,
            Covers::Only(only) => commit == *only,
            Covers::Seen(snapshot) => snapshot.saw(commit),
        }
    }
}

impl Database {
    /// What a replica says that shows this.
    pub(crate) fn mark_replayed(&self, snapshot: &Snapshot, binlog: bool) -> Option<Mark> {
        self.mark_before(snapshot.end(), binlog)
    }

    /// How far the log had come before this commit.
    pub(crate) fn mark_before(&self, commit: usize, binlog: bool) -> Option<Mark> {
        let covers = Covers::Before(commit);
        if binlog {
            let last = self.commits.get(commit.checked_sub(1)?)?;
            return Some(Mark { text: format!("gtid:0-{}-{}", last.server, last.number), covers });
        }
        let lsn = self.commits.get(commit).map_or(self.lsn, |commit| commit.lsn - 1);
        Some(Mark { text: lsn_text(lsn), covers })
    }

    /// One transaction by its number.
    pub(crate) fn mark_of(&self, commit: usize) -> Mark {
        // With an epoch, as PostgreSQL gives it.
        let xid = (3 << 32) + self.commits[commit].xid;
        Mark { text: format!("xid:{xid}"), covers: Covers::Only(commit) }
    }

    /// What a read saw, as PostgreSQL names it.
    pub(crate) fn mark_of_snapshot(&self, snapshot: &Snapshot) -> Mark {
        let (mut xmax, mut running) = (700, Vec::new());
        for (i, commit) in self.commits.iter().enumerate() {
            if snapshot.saw(i) {
                xmax = xmax.max(commit.xid + 1);
            } else {
                running.push(commit.xid);
            }
        }
        running.extend(self.open.iter().map(|open| open.xid));
        running.retain(|xid| *xid < xmax);
        running.sort_unstable();
        let xmin = running.first().copied().unwrap_or(xmax);
        let list: Vec<String> = running.iter().map(u64::to_string).collect();
        let text = format!("snap:{xmin}:{xmax}:{}", list.join(","));
        Mark { text, covers: Covers::Seen(snapshot.clone()) }
    }

    /// What the position in an answer's header stands for: everything that was committed up to there.
    pub(crate) fn mark_answered(&self, header: &str) -> Option<Mark> {
        let text = header.strip_prefix("cdc=\"")?.strip_suffix('"')?;
        let end = if let Some(lsn) = text.strip_prefix("lsn:") {
            let (high, low) = lsn.split_once('/')?;
            let half = |text| u64::from_str_radix(text, 16).ok();
            let lsn = (half(high)? << 32) + half(low)?;
            self.commits.partition_point(|commit| commit.lsn <= lsn)
        } else {
            text.strip_prefix("gtid:")?.rsplit('-').next()?.parse().ok()?
        };
        Some(Mark { text: text.to_owned(), covers: Covers::Before(end) })
    }

    /// A position that nothing has reached.
    pub(crate) fn mark_ahead(&self, binlog: bool) -> Mark {
        let end = self.commits.len() + 3;
        let text = if binlog { format!("gtid:0-1-{end}") } else { lsn_text(self.lsn + 64) };
        Mark { text, covers: Covers::Before(end) }
    }
}

fn lsn_text(lsn: u64) -> String {
    format!("lsn:{:X}/{:X}", lsn >> 32, lsn & 0xFFFF_FFFF)
}
