//! Whether events say what is true of a row.

use super::{Report, Severity, Subject};
use crate::Routing;

pub(super) fn check(subject: &Subject<'_>, report: &mut Report<'_>) {
    let worse = if subject.hydrates() { Severity::Error } else { Severity::Warning };
    report.has_to_be(
        Severity::Error,
        "debezium.format.value",
        "json",
        "json",
        "values aren't JSON: no change can be read, and each voids everything",
    );
    report.has_to_be(
        Severity::Error,
        "debezium.format.key",
        "json",
        "json",
        "keys aren't JSON: each change voids all of its table",
    );
    report.has_to_be(
        worse,
        "debezium.format.value.replace.null.with.default",
        "true",
        "false",
        "a column's DEFAULT is written where a row has NULL: such rows aren't hydrated",
    );
    for name in ["debezium.format.key.schemas.enable", "debezium.format.value.schemas.enable"] {
        report.has_to_be(
            Severity::Hint,
            name,
            "true",
            "false",
            "each entry carries its schema and is several times as long",
        );
    }
    let tombstones = if matches!(subject.wanted.routing, Routing::OneStream(_)) {
        (Severity::Warning, "each delete is followed by an entry that, in one stream for all, names no table")
    } else {
        (Severity::Hint, "each delete is followed by an entry that tells nothing new")
    };
    report.has_to_be(tombstones.0, "debezium.source.tombstones.on.delete", "true", "false", tombstones.1);
    let decimals = "debezium.source.decimal.handling.mode";
    if !report.properties.is_open(decimals) {
        let what = match report.properties.get(decimals).unwrap_or("precise") {
            "string" => None,
            "double" => Some("exact numbers lose digits"),
            _ => Some("exact numbers are base64 of an integer without its scale"),
        };
        if let Some(what) = what {
            report.setting(Severity::Warning, decimals, what, format!("set {decimals}=string"));
        }
    }
    report.has_to_be(
        Severity::Warning,
        "debezium.source.provide.transaction.metadata",
        "false",
        "true",
        "transactions don't say how many rows they had: entries that Redis never got don't show by it",
    );
    if subject.hydrates() {
        columns(report);
    }
    unwrapped(worse, report);
}

/// Settings that leave out columns, or change what is in them.
fn columns(report: &mut Report<'_>) {
    let names: Vec<_> = report
        .properties
        .beginning("debezium.source.column.")
        .filter(|name| !name.contains("propagate"))
        .map(str::to_owned)
        .collect();
    for name in names {
        report.setting(
            Severity::Warning,
            &name,
            format!(
                "{name}: hydrated values are without these columns, or have them otherwise than the database"
            ),
            "leave it out, or use onChange: Invalidate",
        );
    }
}

/// `ExtractNewRecordState` has settings of its own for what is lost with the event around the row.
fn unwrapped(worse: Severity, report: &mut Report<'_>) {
    let names: Vec<String> = report
        .properties
        .beginning("debezium.transforms.")
        .filter(|name| {
            report.properties.get(name).is_some_and(|class| class.ends_with("ExtractNewRecordState"))
        })
        .filter_map(|name| name.strip_suffix(".type").map(str::to_owned))
        .collect();
    for name in names {
        report.has_to_be(
            worse,
            &format!("{name}.replace.null.with.default"),
            "true",
            "false",
            "ExtractNewRecordState writes a column's DEFAULT where a row has NULL",
        );
        let fields = format!("{name}.add.fields");
        let has = report.properties.get(&fields).unwrap_or_default().to_owned();
        for field in ["op", "table", "lsn", "source.ts_ms"] {
            if !has.split(',').any(|has| has.trim().split(':').next() == Some(field)) {
                report.setting(
                    Severity::Warning,
                    &fields,
                    format!(
                        "unwrapped rows don't carry {field}: fewer of them are hydrated, and more is voided"
                    ),
                    format!("set {fields}=op,table,lsn,source.ts_ms"),
                );
            }
        }
    }
}
