//! Whether entries come to the Redis that the binding's sidecars read, in a form that they read.

use super::{Report, Said, Severity};
use crate::RedisServer;

pub(super) fn check(wanted: &RedisServer, report: &mut Report<'_>) {
    place(wanted, report);
    let format = "debezium.sink.redis.message.format";
    match report.value(format, "compact", "it is extended").unwrap_or("extended") {
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
    for (name, what) in [
        ("debezium.sink.redis.null.key", "entries without a key are taken for unreadable ones"),
        ("debezium.sink.redis.null.value", "tombstones are taken for unreadable entries"),
    ] {
        report.has_to_be(Severity::Warning, name, "default", "default", what);
    }
}

fn place(wanted: &RedisServer, report: &mut Report<'_>) {
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
    match report.properties.said(address) {
        Said::Elsewhere => report.elsewhere(address, format_args!("it is {}", wanted.address)),
        Said::Value(found) if found != wanted.address => report.setting(
            Severity::Warning,
            address,
            format!("Debezium writes to {found}, sidecars read from {}", wanted.address),
            "see to it that both are the same server",
        ),
        Said::Value(_) => {}
        Said::Nothing => {
            report.setting(
                Severity::Error,
                address,
                "there is no address of Redis",
                format!("set {address}"),
            );
        }
    }
    let index = "debezium.sink.redis.db.index";
    let read = u64::from(wanted.database.unwrap_or(0));
    if let Some(found) = report.number(index, 0, format_args!("it is {read}"))
        && found != read
    {
        report.setting(
            Severity::Error,
            index,
            format!("Debezium writes to database {found}, sidecars read database {read}"),
            format!("set {index}={read}"),
        );
    }
}
