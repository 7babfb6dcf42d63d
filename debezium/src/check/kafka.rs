//! Whether records come to the Kafka that the binding's sidecars read, all of them and in order.

use super::{Report, Said, Severity};
use crate::KafkaServer;

const BROKERS: &str = "debezium.sink.kafka.producer.bootstrap.servers";
const PROTOCOL: &str = "debezium.sink.kafka.producer.security.protocol";
const IN_FLIGHT: &str = "debezium.sink.kafka.producer.max.in.flight.requests.per.connection";
const RETRIES: &str = "debezium.sink.kafka.producer.retries";
const PARTITIONER: &str = "debezium.sink.kafka.producer.partitioner.class";
const STRINGS: &str = "org.apache.kafka.common.serialization.StringSerializer";
const NO_STRINGS: &str = "keys and values aren't written as the text that they are";
/// So many batches under way keep their order when they are sent again.
const MOST_IN_FLIGHT: u64 = 5;
/// The port of a broker unless told otherwise: here of one that Debezium is told without one.
const PORT: &str = ":9092";

pub(super) fn check(wanted: &KafkaServer, report: &mut Report<'_>) {
    brokers(wanted, report);
    report.has_to_be(
        Severity::Warning,
        PROTOCOL,
        "PLAINTEXT",
        wanted.protocol(),
        "Debezium comes to other listeners of Kafka's than the sidecars: those that the binding's tls and sasl are for",
    );
    for part in ["key", "value"] {
        let name = format!("debezium.sink.kafka.producer.{part}.serializer");
        report.has_to_be(Severity::Error, &name, "", STRINGS, NO_STRINGS);
    }
    let acks = "debezium.sink.kafka.producer.acks";
    let found = report.value(acks, "all", "it is all");
    if found.is_some_and(|found| found != "all" && found != "-1") {
        report.setting(
            Severity::Error,
            acks,
            "what one broker has is taken for written: it is lost with that broker, and only heartbeats tell",
            format!("set {acks}=all"),
        );
    }
    report.has_to_be(
        Severity::Error,
        "debezium.sink.kafka.producer.enable.idempotence",
        "true",
        "true",
        "what is sent again may be written behind what was changed later: an older value would win",
    );
    if report.number(IN_FLIGHT, MOST_IN_FLIGHT, "it is at most 5").is_some_and(|many| many > MOST_IN_FLIGHT) {
        report.setting(
            Severity::Error,
            IN_FLIGHT,
            "more than 5 batches under way don't keep their order: the producer doesn't start, or isn't idempotent",
            format!("leave {IN_FLIGHT} out"),
        );
    }
    if report.number(RETRIES, u64::MAX, "it isn't set") == Some(0) {
        report.setting(
            Severity::Warning,
            RETRIES,
            "whatever a broker refuses for a moment, at each election of a leader, ends Debezium Server",
            format!("leave {RETRIES} out"),
        );
    }
    if report.value(PARTITIONER, "", "it isn't set").is_some_and(|class| !class.is_empty()) {
        report.setting(
            Severity::Warning,
            PARTITIONER,
            "which partition a record is in isn't known here: changes of one row have to be in one",
            format!("leave {PARTITIONER} out"),
        );
    }
    report.has_to_be(
        Severity::Error,
        "debezium.sink.kafka.producer.partitioner.ignore.keys",
        "false",
        "false",
        "changes of one row go to different partitions, and nothing tells which is newer",
    );
}

/// The same brokers needn't be named: any one of a cluster will do.
fn brokers(wanted: &KafkaServer, report: &mut Report<'_>) {
    let found = match report.properties.said(BROKERS) {
        Said::Elsewhere => return report.elsewhere(BROKERS, format_args!("it is {}", wanted.brokers)),
        Said::Nothing => {
            let remedy = format!("set {BROKERS}={}", wanted.brokers);
            return report.setting(Severity::Error, BROKERS, "there are no brokers", remedy);
        }
        Said::Value(found) => found,
    };
    let is_same = |one: &str| {
        let one = one.trim();
        let whole = if one.contains(':') { one.to_owned() } else { format!("{one}{PORT}") };
        wanted.brokers.split(',').any(|broker| broker == whole)
    };
    if !found.split(',').any(is_same) {
        report.setting(
            Severity::Warning,
            BROKERS,
            format!("Debezium writes to {found}, sidecars read from {}", wanted.brokers),
            "see to it that both are of the same cluster",
        );
    }
}
