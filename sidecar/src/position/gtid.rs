//! Global transaction identifiers of MariaDB and MySQL, and sets of them.
//!
//! MariaDB: `<domain>-<server>-<sequence>`; within a domain sequences ascend (`gtid_strict_mode`), so that the newest
//! stands for all before it. MySQL: `<uuid>:<number>` and intervals `<uuid>:<first>-<last>`; numbers of one server
//! ascend nearly always, but not by promise, and so each is remembered.

use std::{collections::BTreeMap, fmt, str::FromStr};

/// Intervals of one MySQL server that are remembered, at most: what came between too many others is forgotten, and
/// then nobody can tell whether it was applied.
const INTERVALS: usize = 64;
/// Domains or servers that are remembered, at most.
const ORIGINS: usize = 64;

/// One transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gtid {
    /// Of MariaDB.
    MariaDb {
        /// The replication domain.
        domain: u32,
        /// The server that ran it first.
        server: u32,
        /// Its number in the domain.
        sequence: u64,
    },
    /// Of MySQL.
    MySql {
        /// The server that ran it first.
        server: u128,
        /// Its number on that server.
        number: u64,
    },
}

/// Transactions that were applied, or that a reader has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidSet {
    /// MariaDB: the newest of each domain, with its server.
    domains: BTreeMap<u32, (u32, u64)>,
    /// MySQL: disjoint intervals, ascending, both ends included.
    servers: BTreeMap<u128, Vec<(u64, u64)>>,
}

/// A text that is no GTID, or no set of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no GTID: MariaDB's are <domain>-<server>-<sequence>, MySQL's <uuid>:<number>")]
pub struct NoGtid;

// === impl Gtid ===

impl Gtid {
    /// Whose numbers it is one of, and that number. A database has either kind.
    #[must_use]
    pub(crate) fn numbered(self) -> (u128, u64) {
        match self {
            Self::MariaDb { domain, sequence, .. } => (domain.into(), sequence),
            Self::MySql { server, number } => (server, number),
        }
    }
}

impl FromStr for Gtid {
    type Err = NoGtid;

    fn from_str(text: &str) -> Result<Self, NoGtid> {
        if let Some((server, number)) = text.split_once(':') {
            return Ok(Self::MySql { server: uuid(server)?, number: number.parse().map_err(|_| NoGtid)? });
        }
        let mut parts = text.split('-');
        let mut next = || parts.next().ok_or(NoGtid);
        let (domain, server, sequence) = (next()?, next()?, next()?);
        if parts.next().is_some() {
            return Err(NoGtid);
        }
        Ok(Self::MariaDb {
            domain: domain.parse().map_err(|_| NoGtid)?,
            server: server.parse().map_err(|_| NoGtid)?,
            sequence: sequence.parse().map_err(|_| NoGtid)?,
        })
    }
}

fn uuid(text: &str) -> Result<u128, NoGtid> {
    let form = text.len() == 36
        && text
            .bytes()
            .enumerate()
            .all(|(i, b)| if matches!(i, 8 | 13 | 18 | 23) { b == b'-' } else { b.is_ascii_hexdigit() });
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    form.then(|| u128::from_str_radix(&digits, 16).ok()).flatten().ok_or(NoGtid)
}

// === impl GtidSet ===

impl GtidSet {
    /// Whether it names none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty() && self.servers.is_empty()
    }

    /// Whether it names no more than the newest of each domain, which stands for all before it: MariaDB's do.
    #[must_use]
    pub fn is_prefix(&self) -> bool {
        self.servers.is_empty()
    }

    /// The newest transaction's number, if all are of one of MariaDB's domains.
    #[must_use]
    pub fn only_sequence(&self) -> Option<u64> {
        match self.domains.values().next() {
            Some((_, sequence)) if self.domains.len() == 1 && self.servers.is_empty() => Some(*sequence),
            _ => None,
        }
    }

    /// Adds one. What would exceed the bounds is left out: it is then unknown, never taken for applied.
    pub fn insert(&mut self, gtid: Gtid) {
        match gtid {
            Gtid::MariaDb { domain, server, sequence } => {
                if self.domains.len() < ORIGINS || self.domains.contains_key(&domain) {
                    let newest = self.domains.entry(domain).or_insert((server, sequence));
                    if sequence > newest.1 {
                        *newest = (server, sequence);
                    }
                }
            }
            Gtid::MySql { server, number } => self.add(server, number, number),
        }
    }

    fn add(&mut self, server: u128, first: u64, last: u64) {
        if self.servers.len() >= ORIGINS && !self.servers.contains_key(&server) {
            return;
        }
        let intervals = self.servers.entry(server).or_default();
        let (mut first, mut last) = (first, last);
        // Intervals that touch are one.
        intervals.retain(|(f, l)| {
            let apart = *f > last.saturating_add(1) || l.saturating_add(1) < first;
            if !apart {
                (first, last) = (first.min(*f), last.max(*l));
            }
            apart
        });
        let place = intervals.partition_point(|(f, _)| *f < first);
        intervals.insert(place, (first, last));
        if intervals.len() > INTERVALS {
            intervals.remove(0);
        }
    }

    /// Of each MySQL server this one number, in place of all of its intervals.
    #[must_use]
    pub fn with_newest(&self, newest: &BTreeMap<u128, u64>) -> Self {
        let servers = newest.iter().map(|(server, number)| (*server, vec![(*number, *number)])).collect();
        Self { domains: self.domains.clone(), servers }
    }

    /// Whether one is among them.
    #[must_use]
    pub fn contains(&self, gtid: Gtid) -> bool {
        match gtid {
            Gtid::MariaDb { domain, sequence, .. } => {
                self.domains.get(&domain).is_some_and(|(_, newest)| sequence <= *newest)
            }
            Gtid::MySql { server, number } => self.has(server, number, number),
        }
    }

    fn has(&self, server: u128, first: u64, last: u64) -> bool {
        self.servers
            .get(&server)
            .is_some_and(|intervals| intervals.iter().any(|(f, l)| *f <= first && last <= *l))
    }

    /// Whether all of `other` are among them.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other
            .domains
            .iter()
            .all(|(domain, (_, wanted))| self.domains.get(domain).is_some_and(|(_, newest)| wanted <= newest))
            && other
                .servers
                .iter()
                .all(|(server, intervals)| intervals.iter().all(|(f, l)| self.has(*server, *f, *l)))
    }
}

impl FromStr for GtidSet {
    type Err = NoGtid;

    /// Reads what the servers themselves write: MariaDB's positions are lists by comma, MySQL's sets may have several
    /// intervals of one server, by colon. One that exceeds the bounds is none: what was left out of a wish would be
    /// granted too soon.
    fn from_str(text: &str) -> Result<Self, NoGtid> {
        let mut set = Self::default();
        for part in text.split(',').map(str::trim) {
            let Some((server, intervals)) = part.split_once(':') else {
                let gtid @ Gtid::MariaDb { .. } = part.parse()? else { return Err(NoGtid) };
                set.insert(gtid);
                if !set.contains(gtid) {
                    return Err(NoGtid);
                }
                continue;
            };
            let server = uuid(server)?;
            for interval in intervals.split(':') {
                let (first, last) = interval.split_once('-').unwrap_or((interval, interval));
                let (first, last) = (first.parse().map_err(|_| NoGtid)?, last.parse().map_err(|_| NoGtid)?);
                if first > last {
                    return Err(NoGtid);
                }
                if set.servers.get(&server).map_or(set.servers.len() >= ORIGINS, |i| i.len() >= INTERVALS) {
                    return Err(NoGtid);
                }
                set.add(server, first, last);
            }
        }
        Ok(set)
    }
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (domain, (server, sequence)) in &self.domains {
            write!(f, "{separator}{domain}-{server}-{sequence}")?;
            separator = ",";
        }
        for (server, intervals) in &self.servers {
            let d = format!("{server:032x}");
            write!(f, "{separator}{}-{}-{}-{}-{}", &d[..8], &d[8..12], &d[12..16], &d[16..20], &d[20..])?;
            separator = ",";
            for (first, last) in intervals {
                if first == last { write!(f, ":{first}")? } else { write!(f, ":{first}-{last}")? }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Gtid, GtidSet, INTERVALS};

    const SERVER: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    #[test]
    fn what_servers_write_is_read_and_written_back() {
        for text in ["0-1-17", "0-1-17,1-2-5", &format!("{SERVER}:1-5:11-18"), &format!("{SERVER}:7")] {
            assert_eq!(text.parse::<GtidSet>().unwrap().to_string(), *text);
        }
        for text in ["", "0-1", "0-1-2-3", "x:1", "0-1-x", &format!("{SERVER}:5-1"), &SERVER[1..], "1:2"] {
            assert!(text.parse::<GtidSet>().is_err(), "{text}");
        }
    }

    #[test]
    fn mariadbs_newest_stands_for_all_before_it_and_mysqls_does_not() {
        let mut set = GtidSet::default();
        set.insert("0-1-17".parse().unwrap());
        assert!(set.contains("0-2-16".parse().unwrap()));
        assert!(!set.contains("0-1-18".parse().unwrap()));
        assert!(!set.contains("1-1-1".parse().unwrap()), "another domain");
        set.insert("0-1-16".parse().unwrap());
        assert_eq!(set.to_string(), "0-1-17");
        for number in [5, 7, 6, 9] {
            set.insert(format!("{SERVER}:{number}").parse().unwrap());
        }
        assert_eq!(set.to_string(), format!("0-1-17,{SERVER}:5-7:9"));
        assert!(!set.contains(format!("{SERVER}:8").parse().unwrap()));
        assert!(!set.contains(format!("{SERVER}:4").parse().unwrap()), "nobody knows");
        assert!(set.covers(&format!("{SERVER}:5-7").parse().unwrap()));
        assert!(!set.covers(&format!("{SERVER}:5-8").parse().unwrap()));
    }

    #[test]
    fn a_set_is_bounded_and_what_it_forgets_is_unknown() {
        let mut set = GtidSet::default();
        for n in 0..1000u64 {
            set.insert(format!("{SERVER}:{}", n * 2).parse().unwrap());
            set.insert(Gtid::MariaDb { domain: u32::try_from(n).unwrap(), server: 1, sequence: 1 });
        }
        assert_eq!(set.servers.values().map(Vec::len).sum::<usize>(), INTERVALS);
        assert_eq!(set.domains.len(), 64);
        assert!(!set.contains(format!("{SERVER}:0").parse().unwrap()));
        assert!(set.contains(format!("{SERVER}:1998").parse().unwrap()));
    }

    #[test]
    fn what_names_more_than_can_be_remembered_is_refused() {
        let intervals = |n: u64| (1..=n).map(|i| (2 * i).to_string()).collect::<Vec<_>>().join(":");
        let domains = |n: u64| (0..n).map(|i| format!("{i}-1-5")).collect::<Vec<_>>().join(",");
        assert!(format!("{SERVER}:{}", intervals(64)).parse::<GtidSet>().is_ok());
        assert!(domains(64).parse::<GtidSet>().is_ok());
        for text in [format!("{SERVER}:{}", intervals(65)), domains(65)] {
            assert!(text.parse::<GtidSet>().is_err(), "{text}");
        }
    }
}
