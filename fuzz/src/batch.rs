//! Batches: JSON of many keys and fills, read without copying what isn't stored.

use freshet_sidecar::fuzzing;

use crate::Bound;

const FACTOR: usize = 1024;

/// Reads it, and all that its fills say.
pub(crate) fn run(input: &[u8]) {
    let bound = Bound::of(FACTOR, input);
    let taken = fuzzing::batch(input, &["cdc", "other"], 1 << 10);
    drop(bound);
    let Some(taken) = taken else { return };
    // Numbers that no double can hold are JSON, too.
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(input) else { return };
    let length = |name: &str| value[name].as_array().map_or(0, Vec::len);
    assert_eq!((taken.keys, taken.fills.len()), (length("get"), length("put")));
    for (i, fill) in taken.fills.iter().enumerate() {
        let Some(body) = fill else { continue };
        assert!(body.len() <= 1 << 10, "longer than a value may be");
        let asked = &value["put"][i];
        if asked.get("value").is_some() {
            // JSON as it was written is the JSON that was meant.
            let written: serde_json::Value = serde_json::from_slice(body).expect("a value is JSON");
            assert_eq!(written, asked["value"]);
        }
    }
}

/// Everything that a batch can say, well and badly.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [
        r#"{"get":["7","a%2Fb/3"],"put":[]}"#,
        r#"{"put":[{"key":"9","lease":"gAAA","value":{"name":"anvil"},"maxAge":60,"age":1,"position":"cdc=\"lsn:0/157D6E8\"","depends":["tag:home"]}]}"#,
        r#"{"put":[{"key":"9","value": null },{"key":"9","absent":true},{"key":"9","base64":"aGVsbG8=","type":"text/plain"}]}"#,
        r#"{"put":[{"key":"9","value":[1e400,-0.0,"\u0000\ud83d\ude00"],"type":"application/x+json"}]}"#,
        r#"{"put":[{"key":"9","base64":"%"},{"key":"9","value":1,"absent":true},{"key":"\n","lease":"\u00e9"}]}"#,
        r#"{"put":[{"key":"9","value":1,"type":"a\r\nb: c"}]}"#,
        r#"{"get":[[[[]]]]}"#,
        "{}",
        "",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
