//! Whether every change that the binding depends on becomes an event.

use freshet_crds::topics::HEARTBEAT_TABLE;

use super::{Report, Said, Severity, Subject, patterns::List};
use crate::{Database, Routing};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report<'_>) {
    lists(subject, report);
    operations(report);
    streaming(report);
    failures(subject, report);
    unchanged(report);
    if subject.is(Database::Postgres) {
        postgres(report);
        others(subject, report);
    }
    if subject.is(Database::MariaDb) {
        servers(report);
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

/// The binding's tables that the lists leave out.
fn lists(subject: &Subject<'_>, report: &mut Report<'_>) {
    let outer = match subject.database {
        Some(Database::Postgres) => {
            ("debezium.source.schema.include.list", "debezium.source.schema.exclude.list")
        }
        Some(Database::MariaDb) => {
            ("debezium.source.database.include.list", "debezium.source.database.exclude.list")
        }
        None => return,
    };
    let inner = ("debezium.source.table.include.list", "debezium.source.table.exclude.list");
    let mut wanted = subject.tables.clone();
    let query = report.properties.said("debezium.source.heartbeat.action.query");
    if subject.is(Database::MariaDb) && matches!(query, Said::Value(query) if query.contains(HEARTBEAT_TABLE))
    {
        wanted.push(subject.wanted.heartbeat_table());
    }
    for ((include, exclude), whole) in [(outer, false), (inner, true)] {
        for (name, includes) in [(include, true), (exclude, false)] {
            let list = match List::of(report.properties, name) {
                Ok(Some(list)) => list,
                Ok(None) => continue,
                Err(unjudged) => {
                    report.unjudged(name, unjudged, "the binding's tables are captured");
                    continue;
                }
            };
            for table in &wanted {
                let part = if whole { table } else { table.split('.').next().unwrap_or(table) };
                if list.names(part) != includes {
                    report.setting(
                        Severity::Error,
                        name,
                        format!("{table} isn't captured ({name}): what is cached of it is never voided"),
                        if includes { "add it" } else { "remove it from what is left out" },
                    );
                }
            }
        }
    }
}

/// Tables whose streams the binding doesn't read. A lost commit shows in the next transaction's events, which name it: not
/// if all of those are in such streams.
fn others(subject: &Subject<'_>, report: &mut Report<'_>) {
    if subject.wanted.routing != Routing::PerTable {
        return;
    }
    let name = "debezium.source.table.include.list";
    // What can't be judged was told where the binding's tables were looked for.
    let Ok(list) = List::of(report.properties, name) else { return };
    let beyond = match &list {
        None => format!("{name} isn't set"),
        Some(list) => match list.beyond(&subject.tables) {
            Some(expression) => format!("{expression} isn't just one of the binding's tables"),
            None => return,
        },
    };
    report.setting(
        Severity::Hint,
        name,
        format!(
            "{beyond}: should a whole transaction be lost right before one of tables that the binding doesn't \
             read, nothing tells"
        ),
        "send everything into one stream and give the binding stream instead of topicPrefix, or capture the binding's \
         tables alone",
    );
}

fn operations(report: &mut Report<'_>) {
    let name = "debezium.source.skipped.operations";
    let Some(skipped) = report.value(name, "t", "it is none") else { return };
    let skipped = skipped.to_ascii_lowercase();
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
    let value = report.value(mode, "all_tables", "it is disabled");
    if value.is_some_and(|value| value.eq_ignore_ascii_case("all_tables")) {
        report.setting(
            Severity::Warning,
            mode,
            "Debezium makes a publication of all tables, which takes a superuser and sends everything",
            format!("make a publication of the binding's tables and set {mode}=disabled"),
        );
    }
    let options = "debezium.source.slot.stream.params";
    if report.value(options, "", "it isn't set").is_some_and(|options| !options.is_empty()) {
        report.setting(
            Severity::Warning,
            options,
            "what else the log's decoder is told can't be judged: origin and messages, for two, leave changes or \
             heartbeats out",
            format!("leave {options} out"),
        );
    }
}

/// Whether Debezium follows the log at all, after it has read what is there.
fn streaming(report: &mut Report<'_>) {
    let (name, start) =
        ("debezium.source.snapshot.mode", "debezium.source.snapshot.mode.configuration.based.start.stream");
    let Some(mode) = report.value(name, "initial", "it isn't initial_only") else { return };
    match mode.to_ascii_lowercase().as_str() {
        "initial_only" => report.setting(
            Severity::Error,
            name,
            "Debezium reads what is there and stops: no change ever comes",
            format!("leave {name} out, or set {name}=no_data"),
        ),
        "configuration_based" => report.has_to_be(
            Severity::Error,
            start,
            "false",
            "true",
            "Debezium reads what is there and stops: no change ever comes",
        ),
        "custom" => report.setting(
            Severity::Warning,
            name,
            "a snapshot of somebody's own can't be judged",
            "see to it that it goes on with the log",
        ),
        _ => {}
    }
}

/// What becomes of an event that Debezium can't process.
fn failures(subject: &Subject<'_>, report: &mut Report<'_>) {
    let common = ["debezium.source.event.processing.failure.handling.mode"];
    let binlog = [
        "debezium.source.event.deserialization.failure.handling.mode",
        "debezium.source.inconsistent.schema.handling.mode",
    ];
    let binlog = binlog.into_iter().filter(|_| subject.is(Database::MariaDb));
    for name in common.into_iter().chain(binlog) {
        report.has_to_be(
            Severity::Error,
            name,
            "fail",
            "fail",
            "a change that Debezium can't process is left out: caches never hear of it",
        );
    }
}

/// Updates of nothing but columns that are left out.
fn unchanged(report: &mut Report<'_>) {
    let skip = "debezium.source.skip.messages.without.change";
    if report.properties.said(skip) == Said::Nothing {
        return;
    }
    for name in ["debezium.source.column.include.list", "debezium.source.column.exclude.list"] {
        if report.value(name, "", "it leaves no column out").is_some_and(|list| !list.is_empty()) {
            report.has_to_be(
                Severity::Error,
                skip,
                "false",
                "false",
                "updates of columns that are left out are skipped: what was computed from these is never voided",
            );
        }
    }
}

/// Servers whose changes are left out.
fn servers(report: &mut Report<'_>) {
    let filter = "debezium.source.gtid.source.filter.dml.events";
    for name in ["debezium.source.gtid.source.includes", "debezium.source.gtid.source.excludes"] {
        if report.value(name, "", "it names every server, or isn't set").is_none_or(str::is_empty) {
            continue;
        }
        let filters = report.value(filter, "true", "it is false");
        if filters.is_some_and(|filters| !filters.eq_ignore_ascii_case("false")) {
            report.setting(
                Severity::Warning,
                name,
                "changes that other servers wrote are left out, those of the next primary among them",
                format!("leave {name} out, or set {filter}=false"),
            );
        }
    }
}
