//! What is in the databases and what is cached of it.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

/// Writers of each database. Each owns the rows whose id is its number modulo this, so that every row and every
/// group has one history.
pub(crate) const WRITERS: u32 = 3;

/// Groups of rows, for what is computed from several: a group's rows have one owner.
pub(crate) const GROUPS: u32 = 2 * WRITERS;

/// Ids that are written and read, from 1.
pub(crate) const IDS: u32 = 36;

/// The id of a row that nobody writes, in those tables that have one.
pub(crate) const PROBE: u32 = 0;

/// A group without rows, which nobody writes either.
pub(crate) const PROBE_GROUP: u32 = 9999;

/// From here on ids are those of huge transactions, which nobody reads.
pub(crate) const HUGE: u32 = 1_000_000;

/// A database with its Debezium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Postgres.
    Postgres,
    /// MariaDB.
    MariaDb,
}

/// A table; all have the columns `id`, `grp` and `val`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Table {
    /// Written often.
    Item,
    /// Written now and then, and redefined.
    Note,
    /// Written by the first writer alone, truncated, and the place of huge transactions.
    Scrap,
}

/// A cache of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Cache {
    /// Items, invalidated by row.
    Items,
    /// Items, hydrated.
    Rows,
    /// Notes, invalidated by row.
    Notes,
    /// Scraps, invalidated by row.
    Scraps,
    /// Groups of notes and scraps.
    Sums,
}

/// What has a history: a row's `val`, or what is computed from a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Subject {
    Row(Table, u32),
    Sum(u32),
}

/// A subject in one of the databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) source: Source,
    pub(crate) subject: Subject,
}

/// The rows of one writer, as far as anybody reads them.
pub(crate) type Rows = BTreeMap<(Table, u32), String>;

impl Source {
    pub(crate) const ALL: [Self; 2] = [Self::Postgres, Self::MariaDb];

    /// Its name in the binding, and its topic prefix.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "pg",
            Self::MariaDb => "ma",
        }
    }
}

impl Table {
    pub(crate) const ALL: [Self; 3] = [Self::Item, Self::Note, Self::Scrap];

    /// Its name with its schema.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Item => "shop.item",
            Self::Note => "shop.note",
            Self::Scrap => "shop.scrap",
        }
    }

    /// The ids that a writer owns in it.
    pub(crate) fn ids(self, writer: u32) -> Vec<u32> {
        let ids = (1..=IDS).filter(|id| id % WRITERS == writer);
        ids.filter(|_| self != Self::Scrap || writer == 0).collect()
    }
}

impl Cache {
    pub(crate) const ALL: [Self; 5] = [Self::Items, Self::Rows, Self::Notes, Self::Scraps, Self::Sums];

    /// Its name after the source's.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Items => "items",
            Self::Rows => "rows",
            Self::Notes => "notes",
            Self::Scraps => "scraps",
            Self::Sums => "sums",
        }
    }

    /// What its key of this number is about.
    pub(crate) fn subject(self, number: u32) -> Subject {
        match self {
            Self::Items | Self::Rows => Subject::Row(Table::Item, number),
            Self::Notes => Subject::Row(Table::Note, number),
            Self::Scraps => Subject::Row(Table::Scrap, number),
            Self::Sums => Subject::Sum(number),
        }
    }

    /// The numbers that are read, the often written last.
    pub(crate) fn numbers(self) -> Vec<u32> {
        match self {
            Self::Items | Self::Rows | Self::Notes => (1..=IDS).collect(),
            Self::Scraps => Table::Scrap.ids(0),
            Self::Sums => (0..GROUPS).collect(),
        }
    }

    /// The number of what nobody writes.
    pub(crate) fn probe(self) -> u32 {
        if self == Self::Sums { PROBE_GROUP } else { PROBE }
    }

    /// The cache's path for a number.
    pub(crate) fn path(self, source: Source, number: u32) -> String {
        format!("/v1/{}-{}/{number}", source.name(), self.name())
    }

    /// The content type of its values.
    pub(crate) fn content_type(self) -> &'static str {
        if self == Self::Rows { "application/vnd.freshet.row+json" } else { "text/plain" }
    }

    /// A value's bytes.
    pub(crate) fn body(self, number: u32, value: &str) -> String {
        match self {
            Self::Rows => serde_json::json!({"id": number, "grp": number % GROUPS, "val": value}).to_string(),
            _ => value.to_owned(),
        }
    }

    /// The value in such bytes.
    pub(crate) fn value(self, number: u32, body: &str) -> Result<String> {
        if self != Self::Rows {
            return Ok(body.to_owned());
        }
        let row: serde_json::Value = serde_json::from_str(body).with_context(|| format!("a row: {body}"))?;
        if row["id"] != number || row["grp"] != number % GROUPS {
            bail!("the row of another key than {number}: {body}");
        }
        Ok(row["val"].as_str().with_context(|| format!("a row without val: {body}"))?.to_owned())
    }
}

impl Subject {
    /// The query that reads it: rows of texts that [`Subject::value`] takes.
    pub(crate) fn query(self) -> String {
        match self {
            Self::Row(table, id) => format!("SELECT val FROM {} WHERE id = {id}", table.name()),
            Self::Sum(group) => {
                let part = |letter: char, table: Table| {
                    format!(
                        "SELECT '{letter}' AS t, id, val FROM {} WHERE id > 0 AND id < {HUGE} AND id % {GROUPS} = {group}",
                        table.name()
                    )
                };
                let parts = [part('n', Table::Note), part('s', Table::Scrap)].join(" UNION ALL ");
                format!("SELECT t, id, val FROM ({parts}) AS parts ORDER BY t, id")
            }
        }
    }

    /// The value that the query's rows stand for; `None` is a row that isn't there.
    pub(crate) fn value(self, rows: &[Vec<Option<String>>]) -> Option<String> {
        match self {
            Self::Row(..) => rows.first().and_then(|row| row.first()?.clone()),
            Self::Sum(group) => {
                let text = |cell: &Option<String>| cell.clone().unwrap_or_default();
                let part = |row: &Vec<Option<String>>| match row.as_slice() {
                    [t, id, val] => format!("{}{}={},", text(t), text(id), text(val)),
                    _ => "?".to_owned(),
                };
                Some(format!("{group}:{}", rows.iter().map(part).collect::<String>()))
            }
        }
    }
}

/// What is computed from the group of these rows.
pub(crate) fn sum(rows: &Rows, group: u32) -> String {
    let parts = rows.iter().filter_map(|((table, id), val)| {
        let letter = match table {
            Table::Item => return None,
            Table::Note => 'n',
            Table::Scrap => 's',
        };
        (id % GROUPS == group).then(|| format!("{letter}{id}={val},"))
    });
    format!("{group}:{}", parts.collect::<String>())
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres => "postgres",
            Self::MariaDb => "mariadb",
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.subject {
            Subject::Row(table, id) => write!(f, "{} {} {id}", self.source, table.name()),
            Subject::Sum(group) => write!(f, "{} group {group}", self.source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_the_same_from_rows_and_from_the_database() {
        let rows: Rows = [((Table::Note, 7), "a"), ((Table::Scrap, 1), "b"), ((Table::Item, 13), "c")]
            .map(|(key, val)| (key, val.to_owned()))
            .into();
        let row = |cells: [&str; 3]| cells.map(|cell| Some(cell.to_owned())).to_vec();
        let read = Subject::Sum(1).value(&[row(["n", "7", "a"]), row(["s", "1", "b"])]);
        assert_eq!(read, Some(sum(&rows, 1)));
        assert_eq!(sum(&rows, 1), "1:n7=a,s1=b,");
    }

    #[test]
    fn a_groups_rows_have_one_owner() {
        for table in Table::ALL {
            for writer in 0..WRITERS {
                for id in table.ids(writer) {
                    assert_eq!((id % GROUPS) % WRITERS, writer);
                }
            }
        }
    }

    #[test]
    fn a_row_of_another_key_is_told() {
        let body = Cache::Rows.body(7, "a");
        assert_eq!(Cache::Rows.value(7, &body).unwrap(), "a");
        assert!(Cache::Rows.value(8, &body).is_err());
    }
}
