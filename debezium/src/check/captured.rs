//! Whether every change that the binding depends on becomes an event.

use super::{
    Properties, Report, Severity, Subject,
    patterns::{List, Unjudged},
};
use crate::Database;

pub(super) fn check(subject: &Subject<'_>, report: &mut Report<'_>) {
    match uncaptured(subject, report.properties) {
        Ok(missing) => {
            for (table, by) in missing {
                report.setting(
                    Severity::Error,
                    by,
                    format!("{table} isn't captured ({by}): what is cached of it is never voided"),
                    "add it, or remove it from what is left out",
                );
            }
        }
        Err((name, unjudged)) => report.setting(
            Severity::Warning,
            name,
            format!("{} can't be judged: Java's expressions have forms that this program lacks", unjudged.0),
            "look yourself whether it names the binding's tables",
        ),
    }
    operations(report);
    if subject.is(Database::Postgres) {
        postgres(report);
    }
    if subject.is(Database::MariaDb) {
        report.has_to_be(
            Severity::Warning,
            "debezium.source.include.schema.changes",
            "true",
            "true",
            "an altered or dropped table doesn't void what is cached of it",
        );
        let id = "debezium.source.database.server.id";
        if report.properties.line(id).is_none() {
            report.setting(
                Severity::Error,
                id,
                "Debezium has no id among the binlog's readers",
                format!("set {id} to a number that no other server or client has"),
            );
        }
    }
    let keys = "debezium.source.message.key.columns";
    if report.properties.line(keys).is_some() {
        report.setting(
            Severity::Hint,
            keys,
            "events have other keys than the primary key: a row whose key changes leaves the old one's value until its \
             ttl, unless the database logs it",
            "give such tables REPLICA IDENTITY FULL (Postgres)",
        );
    }
}

/// The binding's tables that the lists leave out, each with the list that does.
fn uncaptured<'n>(
    subject: &Subject<'_>,
    properties: &Properties,
) -> Result<Vec<(String, &'n str)>, (&'n str, Unjudged)> {
    let outer = match subject.database {
        Some(Database::Postgres) => {
            ("debezium.source.schema.include.list", "debezium.source.schema.exclude.list")
        }
        Some(Database::MariaDb) => {
            ("debezium.source.database.include.list", "debezium.source.database.exclude.list")
        }
        None => return Ok(Vec::new()),
    };
    let inner = ("debezium.source.table.include.list", "debezium.source.table.exclude.list");
    let mut wanted = subject.tables.clone();
    let query = properties.get("debezium.source.heartbeat.action.query").unwrap_or_default();
    if subject.is(Database::MariaDb) && query.contains(crate::HEARTBEAT_TABLE) {
        wanted.push(subject.wanted.heartbeat_table());
    }
    let mut missing = Vec::new();
    for ((include, exclude), whole) in [(outer, false), (inner, true)] {
        let of = |name| List::of(properties, name).map_err(|unjudged| (name, unjudged));
        let (including, excluding) = (of(include)?, of(exclude)?);
        for table in &wanted {
            let schema = table.split('.').next().unwrap_or(table);
            let name = if whole { table.as_str() } else { schema };
            if including.as_ref().is_some_and(|list| !list.names(name)) {
                missing.push((table.clone(), include));
            } else if excluding.as_ref().is_some_and(|list| list.names(name)) {
                missing.push((table.clone(), exclude));
            }
        }
    }
    Ok(missing)
}

fn operations(report: &mut Report<'_>) {
    let name = "debezium.source.skipped.operations";
    if report.properties.is_open(name) {
        return;
    }
    let skipped = report.properties.get(name).unwrap_or("t").to_ascii_lowercase();
    for (letter, what) in [("t", "truncates"), ("d", "deletes"), ("u", "updates"), ("c", "inserts")] {
        if skipped.split(',').any(|skipped| skipped.trim() == letter) {
            report.setting(
                Severity::Error,
                name,
                format!("{what} are skipped: caches never hear of them"),
                format!("set {name}=none"),
            );
        }
    }
}

fn postgres(report: &mut Report<'_>) {
    report.has_to_be(
        Severity::Warning,
        "debezium.source.plugin.name",
        "decoderbufs",
        "pgoutput",
        "the log isn't decoded by Postgres' own plugin: messages and truncates may be missing",
    );
    report.has_to_be(
        Severity::Error,
        "debezium.source.slot.drop.on.stop",
        "false",
        "false",
        "what changes while Debezium is away is lost: the slot is dropped when it stops",
    );
    let mode = "debezium.source.publication.autocreate.mode";
    if !report.properties.is_open(mode)
        && report.properties.get(mode).unwrap_or("all_tables").eq_ignore_ascii_case("all_tables")
    {
        report.setting(
            Severity::Warning,
            mode,
            "Debezium makes a publication of all tables, which takes a superuser and sends everything",
            format!("make a publication of the binding's tables and set {mode}=disabled"),
        );
    }
}
