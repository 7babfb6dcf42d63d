//! Debezium's own file, as the operator's `check` reads it.

use freshet_debezium::check::{Properties, Said};

use crate::Bound;

/// Reads it; no setting comes of nothing.
pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let bound = Bound::of(256, input);
    let properties = Properties::read(text);
    drop(bound);
    let Ok(properties) = properties else { return };
    let lines = text.lines().count();
    // One can stand for a few: in a shell's manner, and for key, value and header.
    assert!(properties.beginning("").count() <= 8 * lines);
    for name in properties.beginning("") {
        assert!(properties.line(name).is_some_and(|line| (1..=lines).contains(&line)));
        assert_ne!(properties.said(name), Said::Nothing, "{name}");
    }
}

/// What the format allows.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [
        "debezium.sink.type=redis\n# a comment\n! another\n\ndebezium.source.topic.prefix : shop\n",
        "a = b \\\n   c\nd=\\u00e9\\n\\t\\\\\n",
        "debezium.sink.redis.password=${REDIS_PASSWORD}\n",
        "a\\ b\\=c = d\\",
        "a=\\u12",
        "DEBEZIUM_SOURCE_POLL_INTERVAL_MS=7\n%prod.debezium.sink.type=redis\n%dev.debezium.sink.type=http\n",
        "debezium.source.value.converter.schemas.enable=false\ndebezium.format.schemas.enable=true\n",
        "=b\n:c\n \\\n",
        "a=1\na=2\r\nb\tc",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
