//! Whether views over rows ever learn of all rows: of snapshots, that these are of everything, and that one can be asked for.

use super::{Report, Said, Severity, Subject, patterns::List};

const CHANNELS: &str = "debezium.source.notification.enabled.channels";
pub(super) const TOPIC: &str = "debezium.source.notification.sink.topic.name";
const SIGNALS: &str = "debezium.source.signal.enabled.channels";
const COLLECTION: &str = "debezium.source.signal.data.collection";
const MODE: &str = "debezium.source.snapshot.mode";
const DATA: &str = "debezium.source.snapshot.mode.configuration.based.snapshot.data";
const INCLUDED: &str = "debezium.source.snapshot.include.collection.list";
const OVERRIDES: &str = "debezium.source.snapshot.select.statement.overrides";

/// The table that a snapshot is asked for by, where the file names one.
pub(super) fn signal_table(properties: &super::Properties) -> Option<&str> {
    match properties.said(COLLECTION) {
        Said::Value(table) => Some(table),
        Said::Nothing | Said::Elsewhere => None,
    }
}

pub(super) fn check(subject: &Subject<'_>, report: &mut Report<'_>) {
    let Some(ranked) = &subject.wanted.ranked else { return };
    told(subject, report);
    let asked = asked_for(subject, report);
    taken(ranked, asked, report);
    whole(ranked, report);
    if subject.retention().is_some() {
        report.setting(
            Severity::Hint,
            COLLECTION,
            "the binding's retention removes snapshots like all else: to sidecars that start when the last one is gone, views over \
             rows are incomplete",
            "ask for one more often than that, or leave retention out",
        );
    }
}

/// Whether it is told how many rows a snapshot had.
fn told(subject: &Subject<'_>, report: &mut Report<'_>) {
    let Some(channels) = report.value(CHANNELS, "", "it has sink") else { return };
    if !names(channels, "sink") {
        let remedy = if channels.is_empty() { format!("set {CHANNELS}=sink") } else { "add sink".into() };
        report.setting(
            Severity::Error,
            CHANNELS,
            "nothing tells how many rows a snapshot had: no view over rows is ever whole",
            remedy,
        );
    } else if report.value(TOPIC, "", "there is one").is_some_and(str::is_empty) {
        let topic = freshet_crds::topics::of_notifications(&subject.wanted.prefix);
        report.setting(
            Severity::Error,
            TOPIC,
            "what is told of snapshots has no topic: Debezium doesn't start",
            format!("set {TOPIC}={topic}"),
        );
    }
}

/// Whether a snapshot can be asked for while Debezium runs, as far as the file says so.
fn asked_for(subject: &Subject<'_>, report: &mut Report<'_>) -> bool {
    let table = subject.wanted.signal_table();
    let expected = format_args!("it has source, and {COLLECTION} is {table}");
    let Some(channels) = report.value(SIGNALS, "source", expected) else { return true };
    if ["kafka", "file", "jmx"].into_iter().any(|channel| names(channels, channel)) {
        return true;
    }
    let (name, remedy) = if !names(channels, "source") {
        (SIGNALS, format!("set {SIGNALS}=source and {COLLECTION}={table}"))
    } else if report.value(COLLECTION, "", format_args!("it is {table}")).is_some_and(str::is_empty) {
        (COLLECTION, format!("set {COLLECTION}={table}"))
    } else {
        return true;
    };
    report.setting(
        Severity::Hint,
        name,
        "no snapshot can be asked for: after a loss, views over rows stay incomplete until Debezium begins anew with an \
         empty stream",
        format!("{remedy}, and make that table: {}", crate::signal_table(&subject.wanted.quoted(&table))),
    );
    false
}

/// Whether the stream begins with a snapshot of these tables.
fn taken(ranked: &[String], asked: bool, report: &mut Report<'_>) {
    let remedy = |name: &str| {
        let leave = format!("leave {name} out for a stream that is to begin");
        if asked { format!("ask for one once views are incomplete, or {leave}") } else { leave }
    };
    let mode = report.value(MODE, "initial", "it is initial").unwrap_or("initial");
    let without = match mode.to_ascii_lowercase().as_str() {
        "no_data" | "never" | "schema_only" | "recovery" | "schema_only_recovery" => true,
        "configuration_based" => {
            let data = report.value(DATA, "false", "it is true");
            data.is_some_and(|data| !data.eq_ignore_ascii_case("true"))
        }
        _ => false,
    };
    if without {
        report.setting(
            Severity::Warning,
            MODE,
            "Debezium takes no snapshot by itself: views over rows are incomplete until one is asked for",
            remedy(MODE),
        );
        return;
    }
    match List::of(report.properties, INCLUDED) {
        Ok(None) => {}
        Ok(Some(list)) => {
            for table in ranked.iter().filter(|table| !list.names(table)) {
                report.setting(
                    Severity::Warning,
                    INCLUDED,
                    format!("the first snapshot is without {table}: views over it are incomplete until one is asked for"),
                    remedy(INCLUDED),
                );
            }
        }
        Err(unjudged) => report.unjudged(INCLUDED, unjudged, "it has the tables that views are over"),
    }
}

/// Whether a snapshot of a table has all of its rows.
fn whole(ranked: &[String], report: &mut Report<'_>) {
    match List::of(report.properties, OVERRIDES) {
        Ok(None) => {}
        Ok(Some(list)) => {
            for table in ranked.iter().filter(|table| list.names(table)) {
                report.setting(
                    Severity::Error,
                    OVERRIDES,
                    format!("snapshots of {table} have what a statement selects, which views over it take for all rows"),
                    "remove it",
                );
            }
        }
        Err(unjudged) => {
            report.unjudged(OVERRIDES, unjudged, "it has none of the tables that views are over");
        }
    }
}

/// Whether a list of channels has this one.
fn names(channels: &str, channel: &str) -> bool {
    channels.split(',').any(|name| name.trim() == channel)
}
