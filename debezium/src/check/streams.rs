//! Whether entries come to the streams that the binding's sidecars read.

use super::{Report, Said, Severity, Subject, jet_stream, kafka, redis};
use crate::Sink;

pub(super) fn check(subject: &Subject<'_>, report: &mut Report<'_>) {
    let (sink, what) = match &subject.wanted.sink {
        Sink::Redis(_) => {
            ("redis", "the sink isn't Redis: no entry comes to the streams that the binding follows")
        }
        Sink::Kafka(_) => {
            ("kafka", "the sink isn't Kafka: no record comes to the topics that the binding follows")
        }
        Sink::JetStream(_) => (
            "nats-jetstream",
            "the sink isn't NATS JetStream: no message comes to the stream that the binding follows",
        ),
    };
    report.has_to_be(Severity::Error, "debezium.sink.type", "", sink, what);
    match &subject.wanted.sink {
        Sink::Redis(wanted) => redis::check(wanted, report),
        Sink::Kafka(wanted) => kafka::check(wanted, report),
        Sink::JetStream(wanted) => jet_stream::check(wanted, report),
    }
    let class = "debezium.source.connector.class";
    if report.properties.said(class) == Said::Elsewhere {
        report.elsewhere(class, "what is particular to it holds: docs/guides/debezium.md");
    } else if subject.database.is_none() {
        report.setting(
            Severity::Warning,
            class,
            "what is particular to this connector can't be checked",
            "look at the guide for what has to hold: docs/guides/debezium.md",
        );
    }
}
