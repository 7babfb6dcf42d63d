//! Whether it shows that changes still come through.

use std::time::Duration;

use freshet_crds::{
    Heartbeat,
    topics::{HEARTBEAT_MESSAGES, HEARTBEAT_TABLE},
};

use super::{Report, Severity, Subject, patterns::List};
use crate::Database;

const INTERVAL: &str = "debezium.source.heartbeat.interval.ms";
const QUERY: &str = "debezium.source.heartbeat.action.query";
const SKIP: &str = "debezium.sink.redis.skip.heartbeat.messages";
const KEEP_ALIVE: &str = "debezium.source.connect.keep.alive.interval.ms";
const SOCKET: &str = "debezium.source.driver.socketTimeout";
const POLL: &str = "debezium.source.poll.interval.ms";
const MESSAGES: &str = "debezium.source.message.prefix.include.list";
const NO_MESSAGES: &str = "debezium.source.message.prefix.exclude.list";
const BINARY: &str = "debezium.source.binary.handling.mode";

pub(super) fn check(subject: &Subject<'_>, report: &mut Report<'_>) {
    silence(subject, report);
    let interval = report.number(INTERVAL, 0, "it is 1000, or as much less as maxStaleness needs");
    if interval == Some(0) {
        let severity = if subject.freshness.is_some() { Severity::Error } else { Severity::Warning };
        report.setting(
            severity,
            INTERVAL,
            "there are no heartbeats: silence can't be told from loss",
            format!("set {INTERVAL}=1000"),
        );
        return;
    }
    if let Some(interval) = interval {
        timely(subject, interval, report);
    }
    query(subject, report);
    if subject.is(Database::Postgres) {
        messages(subject, report);
    }
    if subject.wanted.sink.redis().is_some() {
        report.has_to_be(
            subject.without(Heartbeat::Debezium),
            SKIP,
            "true",
            "false",
            "the sink skips Debezium's own heartbeats",
        );
    }
    let poll = report.number(POLL, 500, "it is 5").unwrap_or(0);
    if poll > 100 {
        report.setting(
            Severity::Warning,
            POLL,
            format!("a change waits up to {poll} ms before it is sent"),
            format!("set {POLL}=5"),
        );
    }
}

fn silence(subject: &Subject<'_>, report: &mut Report<'_>) {
    let remedy = match subject.database {
        Some(Database::Postgres) => "20",
        Some(Database::MariaDb) => "20000",
        None => return,
    };
    if report.number(SOCKET, 0, format_args!("it is {remedy}")) == Some(0) {
        report.setting(
            Severity::Warning,
            SOCKET,
            "a connection to the database that is half open isn't given up: values are bypassed until it is",
            format!("set {SOCKET}={remedy}"),
        );
    }
}

fn timely(subject: &Subject<'_>, interval: u64, report: &mut Report<'_>) {
    // While nothing changes, the binlog connector does nothing between the server's own signs of life.
    let silence = if subject.is(Database::MariaDb) {
        report.number(KEEP_ALIVE, 60_000, "it is 2500").unwrap_or(0) / 10 * 8
    } else {
        0
    };
    let (name, between) = if silence > interval { (KEEP_ALIVE, silence) } else { (INTERVAL, interval) };
    let Some(bound) = subject.freshness else { return };
    let most = bound.max_staleness;
    let severity = match Duration::from_millis(between) {
        between if between >= most => Severity::Error,
        between if between * 2 > most => Severity::Warning,
        _ => return,
    };
    let remedy = if name == KEEP_ALIVE { "2500" } else { "1000" };
    report.setting(
        severity,
        name,
        format!(
            "while nothing changes, heartbeats are {between} ms apart, and the binding's maxStaleness is {} ms: values \
             are bypassed in between",
            most.as_millis()
        ),
        format!("set {name}={remedy}"),
    );
}

/// The query that has the database write heartbeats.
fn query(subject: &Subject<'_>, report: &mut Report<'_>) {
    let (mark, database) = match subject.database {
        Some(Database::Postgres) => (HEARTBEAT_MESSAGES, "postgres"),
        Some(Database::MariaDb) => (HEARTBEAT_TABLE, "mariadb"),
        None => return,
    };
    let generated = format!("`freshet-operator debezium --database {database}`");
    let Some(query) = report.value(QUERY, "", format_args!("it is that of {generated}")) else { return };
    let severity = subject.without(Heartbeat::Database);
    let (severity, what) = if query.is_empty() {
        (severity, "no heartbeat goes through the database's log: entries that never came don't show".into())
    } else if !query.contains(mark) {
        (severity, format!("the heartbeat's query doesn't write what sidecars look for ({mark})"))
    } else if let Some(what) = lacks(query, subject) {
        (Severity::Warning, what.to_owned())
    } else {
        return;
    };
    report.setting(severity, QUERY, what, format!("take {QUERY} from {generated}"));
}

/// What a query that writes heartbeats does without.
fn lacks(query: &str, subject: &Subject<'_>) -> Option<&'static str> {
    let plain: String =
        query.to_ascii_lowercase().chars().filter(|c| !c.is_whitespace() && *c != '`').collect();
    let (number, unnumbered) = match subject.database? {
        Database::Postgres => ("nextval(", "heartbeats have no numbers: a lost one doesn't show"),
        Database::MariaDb => ("beat=beat+1", "heartbeats aren't counted: a lost one doesn't show"),
    };
    if !plain.contains(number) {
        Some(unnumbered)
    } else if subject.is(Database::Postgres) && !plain.contains("pg_logical_emit_message(true,") {
        Some("heartbeats are no transactions: one that was lost before them doesn't show")
    } else {
        None
    }
}

/// What keeps the messages of the heartbeat's query from sidecars.
fn messages(subject: &Subject<'_>, report: &mut Report<'_>) {
    let severity = subject.without(Heartbeat::Database);
    for (name, has_to) in [(MESSAGES, true), (NO_MESSAGES, false)] {
        match List::of(report.properties, name) {
            Ok(Some(list)) if list.names(HEARTBEAT_MESSAGES) != has_to => report.setting(
                severity,
                name,
                format!(
                    "messages with the prefix {HEARTBEAT_MESSAGES} are left out: the database's heartbeats don't come"
                ),
                if has_to { format!("add {HEARTBEAT_MESSAGES}") } else { format!("remove {HEARTBEAT_MESSAGES}") },
            ),
            Ok(_) => {}
            Err(unjudged) => report.unjudged(name, unjudged, &format!("messages with the prefix {HEARTBEAT_MESSAGES} come")),
        }
    }
    let binary = report.value(BINARY, "bytes", "it is bytes");
    if binary.is_some_and(|mode| mode.eq_ignore_ascii_case("hex")) {
        report.setting(
            severity,
            BINARY,
            "messages are written in hexadecimal: the database's heartbeats can't be read",
            format!("set {BINARY}=bytes"),
        );
    }
}
