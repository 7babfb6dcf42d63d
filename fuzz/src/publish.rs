//! Requests to publish: what is taken of them every receiver has to be able to read.

use freshet_sidecar::fuzzing;

use crate::Bound;

const FACTOR: usize = 1024;

/// Reads it, and has all that it says written and read back.
pub(crate) fn run(input: &[u8]) {
    let bound = Bound::of(FACTOR, input);
    let taken = fuzzing::publishing(input, 1 << 10);
    drop(bound);
    let Some((count, is_read)) = taken else { return };
    assert!(is_read, "what was taken can't be read");
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(input) else { return };
    let length = |name: &str| value[name].as_array().map_or(0, Vec::len);
    let clears = usize::from(value["clear"] == true);
    assert_eq!(count, clears + length("delete") + length("put"));
}

/// Everything that a request can say, well and badly.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [
        r#"{"clear":true,"delete":["a",["b","c/d"]],"put":[{"key":"e","value":{"bid":1.08},"ttl":60000}]}"#,
        r#"{"put":[{"key":["[a","%"],"text":"\u0000\ud83d\ude00","ttl":"1m30s","type":"text/html"}]}"#,
        r#"{"put":[{"key":"e","base64":"H4sIAAAAAAAAAwMAAAAAAAAAAAA=","encoding":"gzip","ttl":1}]}"#,
        r#"{"put":[{"key":"[\"x\"]","value": null ,"ttl":18446744073709551615}]}"#,
        r#"{"put":[{"key":"e","value":[1e400,-0.0,[[[]]]],"type":" application/x+json;a","ttl":1}]}"#,
        r#"{"put":[{"key":"..","text":"","ttl":0},{"key":[],"value":1,"text":"x"}]}"#,
        r#"{"put":[{"key":"e","text":"x","type":"a\r\nb: c","ttl":1}]}"#,
        r#"{"delete":[7]}"#,
        "{}",
        "",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
