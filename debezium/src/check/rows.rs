//! Whether a table's rows can be told apart and ordered as the views over them need it.

use freshet_crds::{
    binding::{CacheSpec, ViewSpec},
    json_pointer::JsonPointer,
};

use super::{Report, Severity, Subject, database::Table};

pub(super) fn check(subject: &Subject<'_>, table: &Table, report: &mut Report<'_>) {
    if !subject.ranks(&table.name) {
        return;
    }
    if table.key.is_empty() {
        report.database(
            Severity::Error,
            format!(
                "{} has no primary key, by which views tell its rows apart: none over it is ever whole",
                table.name
            ),
            "give it a primary key",
        );
    }
    for cache in subject.ranked(&table.name) {
        key(table, cache, report);
        for view in subject.binding.views.iter().filter(|v| v.is_over_rows() && v.cache == cache.name) {
            columns(table, view, report);
        }
    }
}

/// Rows that the cache's key doesn't tell apart are one to a view, and an event whose key has not all of it names none.
fn key(table: &Table, cache: &CacheSpec, report: &mut Report<'_>) {
    let Some(declared) = &cache.key else { return };
    let same = declared.len() == table.key.len() && declared.iter().all(|c| table.key.contains(&c.column));
    // Somebody has said what events' keys are instead.
    let other = report.properties.line("debezium.source.message.key.columns").is_some();
    if same || table.key.is_empty() || other {
        return;
    }
    let declared: Vec<_> = declared.iter().map(|column| column.column.as_str()).collect();
    let (declared, primary) = (declared.join(", "), table.key.join(", "));
    report.database(
        Severity::Error,
        format!(
            "the primary key of {} is ({primary}), and the cache {} has the key ({declared}): no view over it is ever whole",
            table.name, cache.name
        ),
        "leave out the cache's key, or give it these columns",
    );
}

fn columns(table: &Table, view: &ViewSpec, report: &mut Report<'_>) {
    let filters = view.filter.iter().map(|condition| &condition.pointer);
    let mut told = Vec::new();
    for column in std::iter::once(&view.order_by).chain(filters).filter_map(first) {
        if table.columns.iter().any(|known| *known == *column) || told.contains(&column) {
            continue;
        }
        told.push(column);
        report.database(
            Severity::Error,
            format!("{} has no column {column}, which the view {} goes by", table.name, view.name),
            format!("its columns are {}", table.columns.join(", ")),
        );
    }
}

/// The column that a pointer into a row begins with.
fn first(pointer: &JsonPointer) -> Option<&str> {
    pointer.steps().first().map(|column| &**column)
}
