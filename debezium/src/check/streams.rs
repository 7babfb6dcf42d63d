//! Whether entries come to where the binding's sidecars look for them.

use super::{Report, Severity, Subject, patterns::Route};
use crate::{Database, RedisServer, Routing};

pub(super) fn check(subject: &Subject<'_>, report: &mut Report<'_>) {
    report.has_to_be(
        Severity::Error,
        "debezium.sink.type",
        "",
        "redis",
        "the sink isn't Redis: no entry comes to the streams that the binding follows",
    );
    redis(&subject.wanted.sink, report);
    let format = "debezium.sink.redis.message.format";
    match report.properties.get(format).unwrap_or("compact") {
        "extended" => {}
        "compact" => report.setting(
            Severity::Hint,
            format,
            "compact entries have no headers",
            format!("set {format}=extended; both are followed"),
        ),
        other => report.setting(
            Severity::Error,
            format,
            format!("{other} is no format of Redis entries"),
            format!("set {format}=extended"),
        ),
    }
    if subject.database.is_none() {
        report.setting(
            Severity::Warning,
            "debezium.source.connector.class",
            "what is particular to this connector can't be checked",
            "look at the guide for what has to hold: docs/guides/debezium.md",
        );
    }
    topics(subject, report);
}

fn redis(wanted: &RedisServer, report: &mut Report<'_>) {
    if wanted.tls {
        report.has_to_be(
            Severity::Error,
            "debezium.sink.redis.ssl.enabled",
            "false",
            "true",
            "the binding's URL says TLS, and Debezium doesn't speak it",
        );
    }
    if wanted.cluster {
        report.has_to_be(
            Severity::Error,
            "debezium.sink.redis.cluster.enabled",
            "false",
            "true",
            "the binding's URL says Cluster, and Debezium takes it for a single server",
        );
        // Any node will do, and they need not be the same.
        return;
    }
    let address = "debezium.sink.redis.address";
    // The binding's URL is in a Secret: nothing is known.
    if wanted.address.starts_with('$') {
        return;
    }
    match report.properties.get(address) {
        Some(found) if found != wanted.address => report.setting(
            Severity::Warning,
            address,
            format!("Debezium writes to {found}, sidecars read from {}", wanted.address),
            "see to it that both are the same server",
        ),
        None if !report.properties.is_open(address) => {
            report.setting(
                Severity::Error,
                address,
                "there is no address of Redis",
                format!("set {address}"),
            );
        }
        _ => {}
    }
    let index = "debezium.sink.redis.db.index";
    let (found, read) = (report.number(index, 0), u64::from(wanted.database.unwrap_or(0)));
    if found != read {
        report.setting(
            Severity::Error,
            index,
            format!("Debezium writes to database {found}, sidecars read database {read}"),
            format!("set {index}={read}"),
        );
    }
}

fn topics(subject: &Subject<'_>, report: &mut Report<'_>) {
    let name = "debezium.source.topic.prefix";
    let Some(prefix) = report.properties.get(name) else {
        if !report.properties.is_open(name) {
            report.setting(
                Severity::Error,
                name,
                "there is no topic prefix",
                format!("set {name}={}", subject.wanted.prefix),
            );
        }
        return;
    };
    let prefix = prefix.to_owned();
    let route = match Route::of(report.properties) {
        Ok(route) => route,
        Err(unjudged) => {
            report.setting(
                Severity::Warning,
                "debezium.transforms",
                format!(
                    "{} can't be judged: Java's expressions have forms that this program lacks",
                    unjudged.0
                ),
                "look yourself where entries go",
            );
            return;
        }
    };
    for unknown in &route.unknown {
        report.setting(
            Severity::Hint,
            "debezium.transforms",
            format!("the transform {unknown} isn't known here, or doesn't apply to all"),
            "see to it that it leaves topics, keys and values as they are",
        );
    }
    for (topic, follows, severity, what) in wanted_topics(subject, &prefix) {
        let goes = route.stream(&topic);
        if goes != follows {
            // What makes them go there: the routing or its absence, or the prefix where nothing should be routed.
            let of_prefix = goes == topic && subject.wanted.routing == Routing::PerTable;
            let cause = if of_prefix { name } else { "debezium.transforms" };
            report.setting(
                severity,
                cause,
                format!("{what} go to {goes}, the binding looks for them in {follows}"),
                match &subject.wanted.routing {
                    Routing::PerTable => {
                        format!("make the binding's topicPrefix and {name} the same, and route nothing")
                    }
                    Routing::OneStream(stream) => {
                        format!("route everything by a RegexRouter: regex .*, replacement {stream}")
                    }
                },
            );
        }
    }
}

/// Topics, the streams they have to come to, how bad it is if they don't, and what is in them.
fn wanted_topics(subject: &Subject<'_>, prefix: &str) -> Vec<(String, String, Severity, String)> {
    let mut topics: Vec<_> = subject
        .tables
        .iter()
        .map(|table| (format!(".{table}"), Severity::Error, format!("changes of {table}")))
        .collect();
    match subject.database {
        Some(Database::Postgres) => {
            topics.push((".message".into(), Severity::Error, "the database's heartbeats".into()));
        }
        Some(Database::MariaDb) => {
            let table = subject.wanted.heartbeat_table();
            topics.push((format!(".{table}"), Severity::Error, "the database's heartbeats".into()));
            topics.push((String::new(), Severity::Warning, "schema changes".into()));
        }
        None => {}
    }
    topics.push((".transaction".into(), Severity::Warning, "the beginnings and ends of transactions".into()));
    let place = |(suffix, severity, what): (String, Severity, String)| {
        let topic = format!("{prefix}{suffix}");
        let follows = match &subject.wanted.routing {
            Routing::PerTable => format!("{}{suffix}", subject.wanted.prefix),
            Routing::OneStream(stream) => stream.clone(),
        };
        (topic, follows, severity, what)
    };
    topics.into_iter().map(place).collect()
}
