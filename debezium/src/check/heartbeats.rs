//! Whether it shows that changes still come through.

use std::time::Duration;

use freshet_crds::Heartbeat;

use super::{Report, Severity, Subject};
use crate::Database;

const INTERVAL: &str = "debezium.source.heartbeat.interval.ms";
const QUERY: &str = "debezium.source.heartbeat.action.query";
const SKIP: &str = "debezium.sink.redis.skip.heartbeat.messages";
const KEEP_ALIVE: &str = "debezium.source.connect.keep.alive.interval.ms";
const SOCKET: &str = "debezium.source.driver.socketTimeout";
const POLL: &str = "debezium.source.poll.interval.ms";

pub(super) fn check(subject: &Subject<'_>, report: &mut Report<'_>) {
    silence(subject, report);
    let declared = subject.freshness.map(|bound| bound.heartbeat);
    let worse = |kind| if declared == Some(kind) { Severity::Error } else { Severity::Warning };
    let interval = report.number(INTERVAL, 0);
    if interval == 0 {
        let severity = if declared.is_some() { Severity::Error } else { Severity::Warning };
        report.setting(
            severity,
            INTERVAL,
            "there are no heartbeats: silence can't be told from loss",
            format!("set {INTERVAL}=1000"),
        );
        return;
    }
    timely(subject, interval, report);
    query(subject, worse(Heartbeat::Database), report);
    report.has_to_be(
        worse(Heartbeat::Debezium),
        SKIP,
        "true",
        "false",
        "the sink skips Debezium's own heartbeats",
    );
    let poll = report.number(POLL, 500);
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
    if report.number(SOCKET, 0) == 0 {
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
    let silence = if subject.is(Database::MariaDb) { report.number(KEEP_ALIVE, 60_000) / 10 * 8 } else { 0 };
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

fn query(subject: &Subject<'_>, severity: Severity, report: &mut Report<'_>) {
    if report.properties.is_open(QUERY) {
        return;
    }
    let (mark, remedy) = match subject.database {
        Some(Database::Postgres) => ("freshet-hb", "postgres"),
        Some(Database::MariaDb) => (crate::HEARTBEAT_TABLE, "mariadb"),
        None => return,
    };
    let has = report.properties.get(QUERY).map(|query| query.contains(mark));
    let what = match has {
        Some(true) => return,
        Some(false) => format!("the heartbeat's query doesn't write what sidecars look for ({mark})"),
        None => {
            "no heartbeat goes through the database's log: entries that Redis never got don't show".into()
        }
    };
    report.setting(
        severity,
        QUERY,
        what,
        format!("take {QUERY} from `freshet-operator debezium --database {remedy}`"),
    );
}
