//! Whether each topic of Debezium's becomes the stream in which the binding's sidecars look for it.

use freshet_crds::{
    Heartbeat,
    topics::{self, DEBEZIUM_HEARTBEATS},
};

use super::{Report, Said, Severity, Subject, jet_stream, patterns::Route, snapshots};
use crate::{Database, Routing, sink::subjects as jet_stream_subjects};

const TRANSFORMS: &str = "debezium.transforms";
const PREFIX: &str = "debezium.source.topic.prefix";
const DELIMITER: &str = "debezium.source.topic.delimiter";
const TRANSACTION: &str = "debezium.source.topic.transaction";
const HEARTBEAT: &str = "debezium.source.topic.heartbeat.name";
const HEARTBEAT_PREFIX: &str = "debezium.source.topic.heartbeat.prefix";
const STRATEGY: &str = "debezium.source.topic.naming.strategy";

/// A topic, and the stream it has to become.
struct Topic {
    name: String,
    follows: String,
    /// The settings that name it, beside the prefix.
    named_by: &'static [&'static str],
    /// How bad it is if it becomes another.
    severity: Severity,
    what: String,
}

pub(super) fn check(subject: &Subject<'_>, report: &mut Report<'_>) {
    if report.properties.said(PREFIX) == Said::Nothing {
        report.setting(
            Severity::Error,
            PREFIX,
            "there is no topic prefix",
            format!("set {PREFIX}={}", subject.wanted.prefix),
        );
        return;
    }
    let route = match Route::of(report.properties) {
        Ok(route) => route,
        Err(unjudged) => {
            report.unjudged(TRANSFORMS, unjudged, "entries go where the binding looks for them");
            return;
        }
    };
    for unknown in &route.unknown {
        report.setting(
            Severity::Warning,
            TRANSFORMS,
            format!("the transform {unknown} can't be judged: it isn't known here, or doesn't apply to all"),
            "see to it that it drops nothing and leaves topics, keys and values as they are",
        );
    }
    if subject.wanted.routing == Routing::Subjects {
        subjects(subject, &route, report);
        return;
    }
    // Then it matters to nobody how topics are named.
    if let Routing::OneStream(stream) = &subject.wanted.routing
        && route.sends_all_to(stream)
    {
        return;
    }
    if strategy(subject, report) {
        for topic in all(subject, report) {
            compare(subject, &route, &topic, report);
        }
    }
}

/// Whether the stream of NATS takes every topic as a subject, and Debezium's heartbeats are known by theirs. How the rest
/// is named matters to nobody: all of the stream is read.
fn subjects(subject: &Subject<'_>, route: &Route, report: &mut Report<'_>) {
    let all = all(subject, report);
    let expected = match report.properties.said(PREFIX) {
        Said::Value(prefix) => jet_stream_subjects(prefix),
        Said::Nothing | Said::Elsewhere => subject.wanted.subjects(),
    };
    let made = jet_stream::subjects(report, &expected);
    for topic in all {
        let goes = route.stream(&topic.name);
        let is_heartbeat = topic.name.starts_with(DEBEZIUM_HEARTBEATS) || topic.named_by.contains(&HEARTBEAT);
        if is_heartbeat && !goes.starts_with(DEBEZIUM_HEARTBEATS) {
            let cause = if goes == topic.name { topic.named_by } else { &[TRANSFORMS] };
            let cause = cause.iter().find(|name| report.properties.line(name).is_some());
            let cause = *cause.unwrap_or(&TRANSFORMS);
            report.setting(
                topic.severity,
                cause,
                format!("Debezium's heartbeats have the subject {goes}: without a key they are known by {DEBEZIUM_HEARTBEATS} alone"),
                format!("leave {cause} out: a stream has one order, whatever its subjects"),
            );
        }
        if let Some(made) = &made
            && !made.iter().any(|pattern| jet_stream::covers(pattern, &goes))
        {
            report.setting(
                Severity::Error,
                jet_stream::SUBJECTS,
                format!(
                    "{} go to {goes}, which the stream that Debezium makes doesn't have ({}): Debezium Server ends there",
                    topic.what,
                    made.join(",")
                ),
                format!("set {}={}", jet_stream::SUBJECTS, expected.join(",")),
            );
        }
    }
}

fn compare(subject: &Subject<'_>, route: &Route, topic: &Topic, report: &mut Report<'_>) {
    let goes = route.stream(&topic.name);
    if goes == topic.follows {
        return;
    }
    // What makes it go there: the routing or its absence, or its name where nothing should be routed.
    let (cause, remedy) = match &subject.wanted.routing {
        Routing::OneStream(stream) => {
            (TRANSFORMS, format!("route everything by a RegexRouter: regex .*, replacement {stream}"))
        }
        Routing::PerTable | Routing::Subjects if goes != topic.name => {
            (TRANSFORMS, format!("route nothing, and make the binding's topicPrefix and {PREFIX} the same"))
        }
        Routing::PerTable | Routing::Subjects => {
            let set = |name: &&&str| report.properties.line(name).is_some();
            match topic.named_by.iter().find(set) {
                Some(name) => (*name, format!("leave {name} out")),
                None => (PREFIX, format!("make the binding's topicPrefix and {PREFIX} the same")),
            }
        }
    };
    let Topic { follows, severity, what, .. } = topic;
    report.setting(
        *severity,
        cause,
        format!("{what} go to {goes}, the binding looks for them in {follows}"),
        remedy,
    );
}

/// Whether tables' topics are named as the connector names them unless told otherwise.
fn strategy(subject: &Subject<'_>, report: &mut Report<'_>) -> bool {
    let default = match subject.database {
        Some(Database::Postgres) => "io.debezium.schema.SchemaTopicNamingStrategy",
        Some(Database::MariaDb) => "io.debezium.schema.DefaultTopicNamingStrategy",
        None => return true,
    };
    let Some(class) = report.value(STRATEGY, default, format_args!("it is {default}")) else { return false };
    if class == default {
        return true;
    }
    // Debezium's own others name them otherwise; somebody's own may do as it likes.
    let severity = if class.starts_with("io.debezium.") { Severity::Error } else { Severity::Warning };
    report.setting(
        severity,
        STRATEGY,
        format!("{class} may name topics otherwise than the binding looks for them"),
        format!("leave {STRATEGY} out"),
    );
    false
}

/// The topics whose names can be told, each with the stream it has to become.
fn all(subject: &Subject<'_>, report: &mut Report<'_>) -> Vec<Topic> {
    let expected = match &subject.wanted.routing {
        Routing::PerTable | Routing::Subjects => format!("it is {}", subject.wanted.prefix),
        Routing::OneStream(stream) => format!("everything with it is routed to {stream}"),
    };
    let Some(prefix) = report.value(PREFIX, "", expected) else { return Vec::new() };
    let follows = |stream: String| match &subject.wanted.routing {
        Routing::PerTable | Routing::Subjects => stream,
        Routing::OneStream(stream) => stream.clone(),
    };
    let wanted = &subject.wanted.prefix;
    let mut all = Vec::new();
    let mut add = |name: String, stream: String, named_by, severity, what: String| {
        all.push(Topic { name, follows: follows(stream), named_by, severity, what });
    };
    if subject.is(Database::Postgres) {
        let what = "the database's heartbeats".into();
        add(topics::of_messages(prefix), topics::of_messages(wanted), &[], Severity::Error, what);
    }
    if subject.is(Database::MariaDb) {
        let [name, stream] = [prefix, wanted.as_str()].map(topics::of_schema_changes);
        add(name, stream, &[], Severity::Warning, "schema changes".into());
    }
    let Some(delimiter) = report.value(DELIMITER, ".", "it is .") else { return all };
    let mut of_table = |table: &str, what| {
        let name = format!("{prefix}{delimiter}{}", topics::part(&table.replace('.', delimiter)));
        add(name, topics::of_table(wanted, table), &[DELIMITER], Severity::Error, what);
    };
    for table in &subject.tables {
        of_table(table, format!("changes of {table}"));
    }
    if subject.is(Database::MariaDb) {
        of_table(&subject.wanted.heartbeat_table(), "the database's heartbeats".into());
    }
    if let Some(transaction) = report.value(TRANSACTION, "transaction", "it is transaction") {
        let name = format!("{prefix}{delimiter}{transaction}");
        let what = "the beginnings and ends of transactions".into();
        let named_by = &[TRANSACTION, DELIMITER];
        add(name, topics::of_transactions(wanted), named_by, Severity::Warning, what);
    }
    if subject.wanted.tells_snapshots()
        && let Said::Value(name) = report.properties.said(snapshots::TOPIC)
    {
        let what = "notifications of snapshots".into();
        let stream = topics::of_notifications(wanted);
        add(name.to_owned(), stream, &[snapshots::TOPIC], Severity::Error, what);
    }
    let whole = report.value(HEARTBEAT, "", "it isn't set");
    let before =
        report.value(HEARTBEAT_PREFIX, DEBEZIUM_HEARTBEATS, format_args!("it is {DEBEZIUM_HEARTBEATS}"));
    if let (Some(whole), Some(before)) = (whole, before) {
        let name = if whole.is_empty() { format!("{before}{delimiter}{prefix}") } else { whole.to_owned() };
        let severity = subject.without(Heartbeat::Debezium);
        let named_by = &[HEARTBEAT, HEARTBEAT_PREFIX, DELIMITER];
        let stream = topics::of_debezium_heartbeats(wanted);
        add(name, stream, named_by, severity, "Debezium's heartbeats".into());
    }
    all
}
