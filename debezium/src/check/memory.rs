//! Whether Debezium finds again where it was.

use super::{Report, Said, Severity, Subject};
use crate::{Database, Routing};

const OFFSETS: &str = "debezium.source.offset.storage";
const HISTORY: &str = "debezium.source.schema.history.internal";
const FILL_RATE: &str = "debezium.sink.redis.buffer.fill.rate";

/// What no retention of Freshet's touches.
const OURS: &str = "metadata:debezium:";

pub(super) fn check(subject: &Subject<'_>, report: &mut Report<'_>) {
    let is_redis = subject.wanted.sink.redis().is_some();
    let best = if is_redis {
        "io.debezium.storage.redis.offset.RedisOffsetBackingStore"
    } else {
        "org.apache.kafka.connect.storage.FileOffsetBackingStore"
    };
    let lost = "changes that were made while it was away may be missed";
    store(OFFSETS, "the position in the log", lost, best, report);
    key(subject, &format!("{OFFSETS}.redis.key"), "offsets", report);
    let flush = "debezium.source.offset.flush.interval.ms";
    if report.number(flush, 60_000, "it is 0").is_some_and(|flush| flush > 5_000) {
        report.setting(
            Severity::Hint,
            flush,
            "a restart repeats what came since the position was written last: each of these changes voids once more",
            format!("set {flush}=0"),
        );
    }
    if subject.is(Database::MariaDb) {
        let best = if is_redis {
            "io.debezium.storage.redis.history.RedisSchemaHistory"
        } else {
            "io.debezium.storage.file.history.FileSchemaHistory"
        };
        let what = "how tables looked when the log was written";
        store(HISTORY, what, "the log can't be read without it", best, report);
        key(subject, &format!("{HISTORY}.redis.key"), "schema_history", report);
    }
    if is_redis && report.number(FILL_RATE, 30_000, "it is 1000").is_some_and(|rate| rate > 5_000) {
        report.setting(
            Severity::Hint,
            FILL_RATE,
            "with a maxmemory, the sink stops while there isn't room for so many entries",
            format!("set {FILL_RATE}=1000"),
        );
    }
}

/// `best` is what would be generated.
fn store(name: &str, what: &str, lost: &str, best: &str, report: &mut Report<'_>) {
    let Some(class) = report.value(name, "", format_args!("it is {best}")) else { return };
    let class = class.rsplit('.').next().unwrap_or_default();
    if class.is_empty() {
        report.setting(
            Severity::Error,
            name,
            format!("nothing says where {what} is kept"),
            format!("set {name}={best}"),
        );
    } else if class.contains("Memory") {
        report.setting(
            Severity::Error,
            name,
            format!("{what} is gone with the process: {lost}"),
            format!("set {name}={best}"),
        );
    } else if class.contains("File") && best.contains(".redis.") {
        report.setting(
            Severity::Hint,
            name,
            format!("{what} is in a file"),
            "see to it that the file outlives the container, or keep it in Redis",
        );
    }
}

/// A key of Debezium's own in Redis, which has to be no stream that is followed, or trimmed.
fn key(subject: &Subject<'_>, name: &str, what: &str, report: &mut Report<'_>) {
    let storage = if what == "offsets" { OFFSETS } else { HISTORY };
    if !matches!(report.properties.said(storage), Said::Value(class) if class.contains(".redis.")) {
        return;
    }
    let wanted = format!("{OURS}{what}:{}", subject.wanted.prefix);
    let Some(key) = report.value(name, "", format_args!("it is {wanted}")) else { return };
    if key.is_empty() {
        report.setting(
            Severity::Hint,
            name,
            format!(
                "the default key is shared with every other Debezium on this Redis, and {what} get mixed"
            ),
            format!("set {name}={wanted}, once: with another key a running Debezium begins anew"),
        );
        return;
    }
    let followed = match &subject.wanted.routing {
        Routing::OneStream(stream) => key == *stream,
        Routing::PerTable | Routing::Subjects => {
            key == subject.wanted.prefix || key.starts_with(&format!("{}.", subject.wanted.prefix))
        }
    };
    if followed {
        report.setting(
            Severity::Error,
            name,
            format!(
                "{key} is a stream of the binding's: with a retention it would be trimmed, and {what} with it"
            ),
            format!("set {name}={wanted}"),
        );
    } else if !key.starts_with(OURS) {
        report.setting(
            Severity::Hint,
            name,
            format!(
                "whoever trims streams has to leave {key} alone; Freshet does, and never touches {OURS}*"
            ),
            format!("set {name}={wanted}, once: with another key a running Debezium begins anew"),
        );
    }
}
