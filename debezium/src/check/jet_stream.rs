//! Whether messages come to the stream of NATS that the binding's sidecars read, and stay there.

use super::{Report, Said, Severity};
use crate::JetStreamServer;

const URL: &str = "debezium.sink.nats-jetstream.url";
const STREAM: &str = "debezium.sink.nats-jetstream.stream-name";
const MADE: &str = "debezium.sink.nats-jetstream.create-stream";
pub(super) const SUBJECTS: &str = "debezium.sink.nats-jetstream.subjects";
const STORAGE: &str = "debezium.sink.nats-jetstream.storage";
const ASYNC: &str = "debezium.sink.nats-jetstream.async.enabled";

pub(super) fn check(wanted: &JetStreamServer, report: &mut Report<'_>) {
    match report.properties.said(URL) {
        // The binding's is in a Secret: nothing is known.
        Said::Elsewhere | Said::Value(_) if wanted.url.starts_with('$') => {}
        Said::Elsewhere => report.elsewhere(URL, "it names the servers of the binding's source"),
        Said::Nothing => {
            report.setting(
                Severity::Error,
                URL,
                "there is no URL of NATS",
                format!("set {URL}={}", wanted.url),
            );
        }
        Said::Value(found) if !shares_a_server(found, &wanted.url) => {
            report.setting(
                Severity::Warning,
                URL,
                format!("Debezium writes to {}, sidecars read from {}", servers(found).join(","), wanted.url),
                "see to it that both are of the same cluster",
            );
        }
        Said::Value(_) => {}
    }
    report.has_to_be(
        Severity::Error,
        STREAM,
        "DebeziumStream",
        &wanted.stream,
        "Debezium writes into another stream than the binding follows",
    );
    if is_made(report) {
        report.has_to_be(
            Severity::Error,
            STORAGE,
            "memory",
            "file",
            "Debezium makes the stream in memory: the next start of the server loses it, and with it all that is cached",
        );
        report.setting(
            Severity::Hint,
            MADE,
            "Debezium makes the stream on one server and without limits, and doesn't start where it is otherwise already",
            format!("make it with replicas and max_age, and set {MADE}=false"),
        );
    }
    report.has_to_be(
        Severity::Hint,
        ASYNC,
        "true",
        "true",
        "each message waits for the one before it to be stored: changes come late when there are many",
    );
}

/// Whether Debezium makes the stream.
fn is_made(report: &mut Report<'_>) -> bool {
    let made = report.value(MADE, "false", "it is false");
    made.is_some_and(|made| made.eq_ignore_ascii_case("true"))
}

/// The subjects that the stream gets, where Debezium makes it. `None`: somebody else does, or the environment knows.
pub(super) fn subjects<'p>(report: &mut Report<'p>, expected: &[String]) -> Option<Vec<&'p str>> {
    if !is_made(report) {
        return None;
    }
    let found = report.value(SUBJECTS, "*.*.*", format_args!("it is {}", expected.join(",")))?;
    Some(found.split(',').map(str::trim).collect())
}

/// Whether a subject is one of those that a pattern of NATS means.
pub(super) fn covers(pattern: &str, subject: &str) -> bool {
    let (mut wanted, mut words) = (pattern.split('.'), subject.split('.'));
    loop {
        match (wanted.next(), words.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

/// Its servers, without credentials.
fn servers(url: &str) -> Vec<&str> {
    url.split(',').map(|one| one.rsplit(['@', '/']).next().unwrap_or(one).trim()).collect()
}

fn shares_a_server(url: &str, other: &str) -> bool {
    let whole = |one: &str| if one.contains(':') { one.to_owned() } else { format!("{one}:4222") };
    let others: Vec<_> = servers(other).into_iter().map(whole).collect();
    servers(url).into_iter().any(|one| others.contains(&whole(one)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_covered_as_nats_does_it() {
        for (pattern, subject, is) in [
            ("shop.>", "shop.inventory.product", true),
            ("shop.>", "shop", false),
            ("shop", "shop", true),
            ("*.*.*", "shop.inventory.product", true),
            ("*.*.*", "shop.transaction", false),
            ("shop.*", "shop.a.b", false),
            (">", "a", true),
        ] {
            assert_eq!(covers(pattern, subject), is, "{pattern} {subject}");
        }
    }

    #[test]
    fn servers_are_compared_without_what_is_secret() {
        assert_eq!(servers("nats://user:hush@a,tls://b:1"), ["a", "b:1"]);
        assert!(shares_a_server("nats://u:p@a", "nats://b:1,nats://a:4222"));
        assert!(!shares_a_server("nats://a:1", "nats://a"));
    }
}
