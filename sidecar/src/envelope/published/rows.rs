//! What an envelope says of rows of a database.

use serde::Deserialize;

use super::Named;
use crate::{
    change::{Change, Columns, Mark, Op, Origin, RowChange, TableName, TableReason},
    envelope::columns,
    key::Scalar,
};

/// What happened to a row, or to rows of a table.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Operation {
    Insert,
    Update,
    Delete,
    Truncate,
}

/// The table with this name, of two or three parts as bindings write them.
pub(super) fn table<'b>(name: &str) -> Option<TableName<'b>> {
    let parts: Vec<_> = name.split('.').collect();
    let is_name = (2..=3).contains(&parts.len()) && parts.iter().all(|part| !part.is_empty());
    is_name.then(|| TableName::from_binding(name))
}

/// The change of the row with this key, or, without one, of any rows of the table.
pub(super) fn change<'a>(
    name: &str,
    op: Operation,
    key: Option<Named<'a>>,
    oversized: Option<bool>,
) -> Option<Change<'a>> {
    let (table, oversized) = (table(name)?, oversized.unwrap_or_default());
    let whole = |why| Change::Table { table: table.clone(), why, version: None, mark: Mark::default() };
    let op = match (op, key.is_some()) {
        (Operation::Truncate, false) if !oversized => return Some(whole(TableReason::Truncated)),
        (Operation::Truncate, _) => return None,
        (_, false) => return Some(whole(TableReason::Changed { oversized })),
        (_, true) if oversized => return None,
        (Operation::Insert, true) => Op::Create,
        (Operation::Update, true) => Op::Update,
        (Operation::Delete, true) => Op::Delete,
    };
    Some(Change::Row(Box::new(RowChange {
        table,
        op,
        key: Some(key?.columns()?),
        other_key: None,
        keyless: None,
        after: None,
        version: None,
        commit_ms: None,
        origin: Origin::Published,
        is_old: false,
        mark: Mark::default(),
    })))
}

impl<'a> Named<'a> {
    /// A row's key: the columns of its table's primary key, none of which is null.
    fn columns(self) -> Option<Columns<'a>> {
        let columns = match self {
            Self::Json(json) => columns(json.get())?,
            Self::Text(text) => match text {
                std::borrow::Cow::Borrowed(text) => columns(text)?,
                std::borrow::Cow::Owned(_) => return None,
            },
        };
        let is_key = |scalar: &Scalar<'_>| !matches!(scalar, Scalar::Null | Scalar::Compound);
        Some(columns)
            .filter(|columns| !columns.is_empty() && columns.iter().all(|(_, scalar)| is_key(scalar)))
    }
}
