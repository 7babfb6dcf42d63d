//! The end of a database's log as far as it has been read: what comes from before it is read once more.

use std::collections::BTreeMap;

use crate::{
    accounts::DOMAINS,
    change::{Change, Origin, Transaction},
    position::{Commit, RowVersion},
};

/// The newest places that entries have named, of one history of the database.
#[derive(Debug, Default)]
pub(super) struct LogEnd {
    /// PostgreSQL's.
    lsn: u64,
    /// The newest transaction of each of MariaDB's domains, and of each of MySQL's servers.
    numbers: BTreeMap<u128, u64>,
}

impl LogEnd {
    /// Learns what an entry names.
    pub(super) fn see(&mut self, change: &Change<'_>) {
        if let Some(RowVersion::Postgres { lsn }) = change.newest() {
            self.lsn = self.lsn.max(lsn);
        }
        let gtid = match change {
            Change::Transaction(Transaction { gtid, .. }) => *gtid,
            // A snapshot's rows aren't of the log.
            Change::Row(row) if row.origin != Origin::Log => None,
            _ => change.mark().and_then(|mark| mark.gtid),
        };
        if let Some(gtid) = gtid {
            let (of, number) = gtid.numbered();
            self.note(of, number);
        }
    }

    /// Learns what the other has seen, which forgets it.
    pub(super) fn take(&mut self, other: &mut Self) {
        let Self { lsn, numbers } = std::mem::take(other);
        self.lsn = self.lsn.max(lsn);
        for (of, number) in numbers {
            self.note(of, number);
        }
    }

    /// Whether a commit is at the end: nothing of a later one has been read. Who has seen an older one, which is read
    /// once more, needn't have seen the later ones.
    pub(super) fn is_at(&self, commit: Commit) -> bool {
        match commit {
            Commit::Postgres { lsn, .. } => lsn >= self.lsn,
            Commit::Gtid(gtid) => {
                let (of, number) = gtid.numbered();
                self.numbers.get(&of).map_or(self.numbers.len() < DOMAINS, |newest| number >= *newest)
            }
        }
    }

    fn note(&mut self, of: u128, number: u64) {
        if self.numbers.len() < DOMAINS || self.numbers.contains_key(&of) {
            let newest = self.numbers.entry(of).or_default();
            *newest = number.max(*newest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LogEnd;
    use crate::{
        accounts::DOMAINS,
        change::{Change, Mark},
        position::Commit,
    };

    #[test]
    fn a_commit_is_at_the_end_unless_a_later_one_was_read() {
        let mut end = LogEnd::default();
        let gtid = |text: &str| text.parse().unwrap();
        let read = |end: &mut LogEnd, text: &str| {
            end.see(&Change::Message(Mark { gtid: Some(gtid(text)), ..Mark::default() }));
        };
        assert!(end.is_at(Commit::Gtid(gtid("0-1-7"))));
        read(&mut end, "0-1-8");
        assert!(!end.is_at(Commit::Gtid(gtid("0-1-7"))));
        assert!(end.is_at(Commit::Gtid(gtid("0-2-8"))));
        assert!(end.is_at(Commit::Gtid(gtid("1-2-3"))), "another domain");
        let server = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        read(&mut end, &format!("{server}:9"));
        assert!(!end.is_at(Commit::Gtid(gtid(&format!("{server}:8")))));
        end.see(&Change::Message(Mark { lsn: Some(100), ..Mark::default() }));
        let commit = |lsn| Commit::Postgres { lsn, xid: None };
        assert!(!end.is_at(commit(99)) && end.is_at(commit(100)));
        for domain in 10..200 {
            let mut since = LogEnd::default();
            read(&mut since, &format!("{domain}-1-1"));
            end.take(&mut since);
        }
        assert_eq!(end.numbers.len(), DOMAINS);
        assert!(!end.is_at(Commit::Gtid(gtid("300-1-1"))), "there was no room to know");
    }
}
