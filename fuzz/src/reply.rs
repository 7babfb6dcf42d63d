//! Redis's replies, from their bytes.

use freshet_sidecar::fuzzing;

use crate::Bound;

/// What a byte of a reply may cost: the library's values take some dozens of bytes each, ours more.
const FACTOR: usize = 512;

/// Reads the reply as each of those that the sidecar asks for.
pub(crate) fn run(input: &[u8]) {
    let bound = Bound::of(FACTOR, input);
    let entries = fuzzing::replies(input);
    drop(bound);
    let bytes: usize =
        entries.iter().flat_map(|record| &record.fields).map(|(name, value)| name.len() + value.len()).sum();
    assert!(bytes <= input.len(), "more was read than there is");
}

/// Each reply as a real server writes it, and what only a broken one would.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let text = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let list = |items: &[String]| format!("*{}\r\n{}", items.len(), items.concat());
    let entry = list(&[text("1795233906789-0"), list(&[text("{\"id\":1}"), text("{\"op\":\"c\"}")])]);
    let entries = list(&[entry.clone(), entry.clone()]);
    let streams = list(&[list(&[text("shop.cdc"), entries.clone()])]);
    let state = [
        text("length"),
        ":5\r\n".into(),
        text("last-generated-id"),
        text("5-1"),
        text("entries-added"),
        ":9\r\n".into(),
    ];
    let map = format!("%3\r\n{}", state.concat());
    let info = "# Server\r\nrun_id:0123\r\n# Replication\r\nrole:master\r\nmaster_replid:4567\r\n";
    [
        entry,
        entries,
        list(&state),
        map,
        text(info),
        list(&[text(info), streams.clone(), "*-1\r\n".into()]),
        streams,
        "$-1\r\n".into(),
        "_\r\n".into(),
        "-ERR no such key\r\n".into(),
        ":18446744073709551615\r\n".into(),
        ":-1\r\n".into(),
        "*1000000000\r\n".into(),
        "$536870912\r\nx".into(),
        "%-5\r\n".into(),
        "*1\r\n".repeat(200),
        "=15\r\ntxt:Some string\r\n".into(),
        "~1\r\n#t\r\n".into(),
        ">2\r\n+a\r\n(12345678901234567890\r\n".into(),
        "|1\r\n+k\r\n+v\r\n+OK\r\n".into(),
    ]
    .map(String::into_bytes)
    .to_vec()
}
