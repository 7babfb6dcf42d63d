//! Whether events say what is true of a row.

use super::{Report, Said, Severity, Subject};
use crate::{Database, Routing};

/// What Debezium writes for a large value that the database didn't log because it stayed as it was.
const PLACEHOLDER: &str = "__debezium_unavailable_value";

/// What writes JSON, unless told otherwise.
const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";

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
    for (name, what) in [
        ("debezium.format.value.class", "values aren't written by Kafka Connect's converter to JSON"),
        ("debezium.format.key.class", "keys aren't written by Kafka Connect's converter to JSON"),
    ] {
        report.has_to_be(Severity::Error, name, JSON, JSON, what);
    }
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
    let tombstones = match subject.wanted.routing {
        Routing::OneStream(_) => Some((
            Severity::Warning,
            "each delete is followed by an entry that, in one stream for all, names no table",
        )),
        Routing::PerTable => {
            Some((Severity::Hint, "each delete is followed by an entry that tells nothing new"))
        }
        // The sink leaves them out.
        Routing::Subjects => None,
    };
    if let Some((severity, what)) = tombstones {
        report.has_to_be(severity, "debezium.source.tombstones.on.delete", "true", "false", what);
    }
    let decimals = "debezium.source.decimal.handling.mode";
    let what = match report.value(decimals, "precise", "it is string") {
        None | Some("string") => None,
        Some("double") => Some("exact numbers lose digits"),
        Some(_) => Some("exact numbers are base64 of an integer without its scale"),
    };
    if let Some(what) = what {
        report.setting(Severity::Warning, decimals, what, format!("set {decimals}=string"));
    }
    let (severity, what) = if subject.wanted.tells_snapshots() {
        (Severity::Error, "events don't say of which transaction they are: no view over rows is ever whole")
    } else {
        let what = "transactions don't say how many rows they had: entries that never came don't show by it";
        (Severity::Warning, what)
    };
    report.has_to_be(severity, "debezium.source.provide.transaction.metadata", "false", "true", what);
    unconverted(subject, report);
    if subject.hydrates() && subject.is(Database::Postgres) {
        report.has_to_be(
            Severity::Warning,
            "debezium.source.include.unknown.datatypes",
            "false",
            "true",
            "columns of types that Debezium doesn't know (composites, box, pg_lsn and others) aren't in its events: hydrated \
             values are without them",
        );
    }
    if subject.hydrates() {
        columns(report);
        report.has_to_be(
            Severity::Error,
            "debezium.source.unavailable.value.placeholder",
            PLACEHOLDER,
            PLACEHOLDER,
            "a value that the database didn't log is written in a way that sidecars take for the value itself",
        );
    }
    unwrapped(worse, report);
}

/// What becomes of a value that Debezium can't convert: all but `fail` write NULL in its place. The event still comes, and
/// voids its row by its key.
fn unconverted(subject: &Subject<'_>, report: &mut Report<'_>) {
    let (severity, what) = if subject.hydrates() {
        (Severity::Error, "a value that Debezium can't convert becomes NULL in the event, and is hydrated so")
    } else if subject.wanted.reads_values {
        let what = "a value that Debezium can't convert becomes NULL in the event: a new row whose key is one doesn't drop \
                    the cached absence of that key";
        (Severity::Error, what)
    } else {
        return;
    };
    report.has_to_be(
        severity,
        "debezium.source.event.converting.failure.handling.mode",
        "warn",
        "fail",
        what,
    );
}

/// Settings that leave out columns, or change what is in some.
fn columns(report: &mut Report<'_>) {
    let names: Vec<_> = report
        .properties
        .beginning("debezium.source.column.")
        .filter(|name| !name.contains("propagate"))
        .map(str::to_owned)
        .chain(CHANGING.iter().filter(|name| report.properties.line(name).is_some()).map(ToString::to_string))
        .collect();
    for name in names {
        if report.value(&name, "", "it changes no values").is_none_or(str::is_empty) {
            continue;
        }
        report.setting(
            Severity::Warning,
            &name,
            format!(
                "{name}: hydrated values are without some columns, or have them otherwise than the database"
            ),
            "leave it out, or use onChange: Invalidate",
        );
    }
}

/// Programs that change values.
const CHANGING: [&str; 2] = ["debezium.source.converters", "debezium.source.post.processors"];

/// `ExtractNewRecordState` has settings of its own for what is lost with the event around the row.
fn unwrapped(worse: Severity, report: &mut Report<'_>) {
    let names: Vec<String> = report
        .properties
        .beginning("debezium.transforms.")
        .filter(|name| {
            matches!(report.properties.said(name), Said::Value(class) if class.ends_with("ExtractNewRecordState"))
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
        report.setting(
            Severity::Error,
            &format!("{name}.type"),
            "ExtractNewRecordState drops truncates: caches never hear of them",
            "leave it out: sidecars read whole events",
        );
        let deletes = format!("{name}.delete.tombstone.handling.mode");
        let mode = report.value(&deletes, "tombstone", "it is rewrite");
        if mode.is_some_and(|mode| mode.eq_ignore_ascii_case("drop")) {
            report.setting(
                Severity::Error,
                &deletes,
                "ExtractNewRecordState drops deletes: caches never hear of them",
                format!("set {deletes}=rewrite"),
            );
        }
        let fields = format!("{name}.add.fields");
        let Some(has) = report.value(&fields, "", "it is op,table,lsn,source.ts_ms") else { continue };
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
