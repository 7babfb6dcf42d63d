//! The newest places of a database's log: what comes from before them is read once more.

use std::collections::BTreeMap;

use crate::{
    change::{Change, Origin, Transaction},
    position::{Commit, Gtid, RowVersion},
};

/// MariaDB's domains that are remembered, at most: there is one unless it has several primaries.
const DOMAINS: usize = 64;

/// The newest places that entries have named, of one history of the database.
#[derive(Debug, Default)]
pub(super) struct Newest {
    /// PostgreSQL's.
    lsn: u64,
    /// MariaDB's, of each domain.
    domains: BTreeMap<u32, u64>,
}

impl Newest {
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
        if let Some(Gtid::MariaDb { domain, sequence, .. }) = gtid
            && (self.domains.len() < DOMAINS || self.domains.contains_key(&domain))
        {
            let newest = self.domains.entry(domain).or_default();
            *newest = sequence.max(*newest);
        }
    }

    /// Learns what the other has seen, which forgets it.
    pub(super) fn take(&mut self, other: &mut Self) {
        let Self { lsn, domains } = std::mem::take(other);
        self.lsn = self.lsn.max(lsn);
        for (domain, sequence) in domains {
            let newest = self.domains.entry(domain).or_default();
            *newest = sequence.max(*newest);
        }
    }

    /// Whether nothing was committed after it, as far as has been seen. What has seen an older one, which is read once
    /// more, needn't have seen the newest.
    pub(super) fn is_newest(&self, commit: Commit) -> bool {
        match commit {
            Commit::Postgres { lsn, .. } => lsn >= self.lsn,
            Commit::Gtid(Gtid::MariaDb { domain, sequence, .. }) => {
                self.domains.get(&domain).is_some_and(|newest| sequence >= *newest)
            }
            // Of these a set names each.
            Commit::Gtid(Gtid::MySql { .. }) => true,
        }
    }
}
