//! What an upstream answered, ranked as a binding says.
//!
//! An input is a line of what the binding says, a JSON pointer with letters before it, and a JSON text.

use freshet_crds::{
    Order, OrderAs,
    binding::{ConditionSpec, Test, ViewSpec},
    json_pointer::JsonPointer,
};
use freshet_sidecar::views::{filter::Filter, pointer::find, ranking::rank};
use serde_json::{Value, value::RawValue};

use crate::Bound;

/// What a byte of an answer may cost: an item of two bytes is a candidate of some hundred.
const FACTOR: usize = 512;

/// Ranks it, and looks at what came out.
pub(crate) fn run(input: &[u8]) {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return };
    let (line, text) = (String::from_utf8_lossy(&input[..end]), &input[end + 1..]);
    let letters = line.split('/').next().unwrap_or_default();
    let Ok(order_by) = line[letters.len()..].parse::<JsonPointer>() else { return };
    pointed(text, &order_by);
    let order_as = match letters.as_bytes().first() {
        Some(b'n') => OrderAs::Number,
        Some(b't') => OrderAs::Time,
        Some(b'x') => OrderAs::Text,
        _ => OrderAs::Auto,
    };
    let spec = ViewSpec {
        name: "top".into(),
        cache: "api".into(),
        keys: vec!["a".into()],
        order_by: order_by.clone(),
        order_as,
        order: if letters.ends_with('a') { Order::Ascending } else { Order::Descending },
        limit: 3,
        filter: Vec::new(),
    };
    let all = ranked(&spec, text);
    let condition = ConditionSpec { pointer: order_by, tests: vec![Test::AtLeast("1".into())] };
    let some = ranked(&ViewSpec { filter: vec![condition], ..spec }, text);
    assert_eq!(all.is_some(), some.is_some(), "whether a text is fit no filter decides");
    assert!(some <= all, "a filter adds nothing");
}

/// How many items there are, if the text is fit.
fn ranked(spec: &ViewSpec, text: &[u8]) -> Option<usize> {
    let bound = Bound::of(FACTOR, text);
    let ranked = rank(spec, &Filter::new(&spec.filter), [Some(Ok(text))]).ok()?;
    drop(bound);
    let mut before = Vec::new();
    for n in 1..=4 {
        let (pieces, digest) = ranked.first(n);
        let body = pieces.concat();
        let items: Vec<&RawValue> = serde_json::from_slice(&body).expect("it is a JSON array");
        assert_eq!(items.len(), n.min(3).min(ranked.items));
        for item in &items {
            let item = item.get().as_bytes();
            assert!(text.windows(item.len()).any(|part| part == item), "it is as it was written");
        }
        if body == before {
            assert_eq!(digest, ranked.first(n - 1).1);
        }
        before = body;
    }
    Some(ranked.items)
}

/// A pointer finds what it finds for those who read all of a text.
fn pointed(text: &[u8], pointer: &JsonPointer) {
    let (Ok(text), Ok(whole)) = (std::str::from_utf8(text), serde_json::from_slice::<Value>(text)) else {
        return;
    };
    let found =
        find(text, pointer.steps()).map(|found| serde_json::from_str(found.get()).expect("it is JSON"));
    assert_eq!(found.as_ref(), whole.pointer(&pointer.to_string()));
}

/// Lists that are good, and what JSON can do to their readers.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [
        "/stars\n[{\"stars\": 1.50}, {\"stars\":1e1},{\"stars\":\"10\"},{\"stars\":null},{}]",
        "na/a~1b/~0/0\n{\"a/b\":{\"~\":[\"-0.0\", 2]}}",
        "t/at\n[{\"at\":\"2024-02-29T12:00:00.5+01:00\"},{\"at\":\"2024-02-29t11:00:00Z\"},{\"at\":\"2024-02-30T00:00:00Z\"}]",
        "xa/n\n[{\"n\":\"\\ud83d\\ude00\"},{\"n\":\"\\ud83d\"},{\"\\udc00\":1,\"n\":\"\u{e9}\"},[1]]",
        "a\n[9007199254740993, 9007199254740992.5, -1e-99999999999999999999, 1E+99999999999999999999, true, \"\"]",
        "/a\n{\"a\":1,\"a\":{\"a\":2}}",
        "/0/1\n[[0,[1]],[[2],3]]",
        "/a\n[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
        "/a\n[{\"a\":1}] x",
        "\n\"text\"",
    ]
    .map(|seed| seed.as_bytes().to_vec())
    .into()
}
