use freshet_crds::{
    Order, OrderAs,
    binding::{ConditionSpec, Test, ViewSpec},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Filter, Ranked, Unfit, rank};
use crate::entry::digest;

fn spec(order_by: &str, order: Order, limit: usize) -> ViewSpec {
    ViewSpec {
        name: "top".into(),
        cache: "api".into(),
        keys: vec!["a".into(), "b".into()],
        order_by: order_by.parse().unwrap(),
        order_as: OrderAs::Auto,
        order,
        limit,
        filter: Vec::new(),
    }
}

fn ranked(spec: &ViewSpec, texts: &[&str]) -> Result<Ranked, Vec<(usize, Unfit)>> {
    rank(
        spec,
        &Filter::new(&spec.filter),
        texts.iter().map(|text| (*text != "none").then_some(Ok(text.as_bytes()))),
    )
}

fn text(ranked: &Ranked, n: usize) -> String {
    String::from_utf8(ranked.first(n).0.concat()).unwrap()
}

#[test]
fn items_are_as_they_are_written_and_those_without_a_value_come_last() {
    let first = r#"[ {"n": 1.50, "k":"a"},{"n":1e1},  {"k":"none"} ,{"n":null}, {"n" : "x"} ]"#;
    let second = r#"{"n":0010e0}"#.replace("0010e0", "10.0");
    let down = ranked(&spec("/n", Order::Descending, 10), &[first, "none", &second]).unwrap();
    assert_eq!(
        text(&down, 10),
        r#"[{"n" : "x"},{"n":1e1},{"n":10.0},{"n": 1.50, "k":"a"},{"k":"none"},{"n":null}]"#
    );
    assert_eq!(down.items, 6);
    let up = ranked(&spec("/n", Order::Ascending, 10), &[first, "none", &second]).unwrap();
    assert_eq!(
        text(&up, 10),
        r#"[{"n": 1.50, "k":"a"},{"n":1e1},{"n":10.0},{"n" : "x"},{"k":"none"},{"n":null}]"#
    );
    assert_eq!(text(&up, 1), r#"[{"n": 1.50, "k":"a"}]"#);
}

#[test]
fn what_there_is_no_item_in_is_an_empty_array_and_what_is_unfit_is_told() {
    let spec = spec("/n", Order::Descending, 10);
    for texts in [&["none"][..], &["[]"], &["none", "[]"], &[]] {
        let ranked = ranked(&spec, texts).unwrap();
        assert_eq!((text(&ranked, 5).as_str(), ranked.items), ("[]", 0));
    }
    for (texts, unfit) in [
        (&["[1]"][..], vec![(0, Unfit::Element(0))]),
        (&["[{},[],null]"], vec![(0, Unfit::Element(2))]),
        (
            &["{}", "5", "[{}]", "{", "\u{feff}{}"],
            vec![(1, Unfit::Scalar), (3, Unfit::NotJson), (4, Unfit::NotJson)],
        ),
        (&["[{}] x", ""], vec![(0, Unfit::NotJson), (1, Unfit::NotJson)]),
    ] {
        assert_eq!(ranked(&spec, texts).unwrap_err(), unfit, "{texts:?}");
    }
    let own = ViewSpec { order_by: "".parse().unwrap(), ..spec.clone() };
    assert_eq!(text(&ranked(&own, &["[1,3,2,null]"]).unwrap(), 3), "[3,2,1]");
    assert_eq!(rank(&spec, &Filter::new(&[]), [Some(Ok(&b"\xff"[..]))]).unwrap_err(), [(0, Unfit::NotJson)]);
}

#[test]
fn each_length_has_a_tag_of_its_bytes() {
    let spec = spec("/n", Order::Ascending, 3);
    let ranked = ranked(&spec, &[r#"[{"n":1},{"n":2},{"n":3},{"n":4}]"#]).unwrap();
    let tags: Vec<_> = (1..=4).map(|n| ranked.first(n).1).collect();
    assert!(tags[0] != tags[1] && tags[1] != tags[2] && tags[2] == tags[3]);
    for n in 1..=3 {
        let whole = text(&ranked, n);
        assert_eq!(ranked.first(n).1, digest(&whole.as_bytes()[..whole.len() - 1]), "the same in every pod");
    }
}

fn item() -> impl Strategy<Value = Value> {
    let value = prop_oneof![
        4 => (-3i32..3).prop_map(|n| json!(n)),
        2 => "[ab]{0,1}".prop_map(|text| json!(text)),
        1 => Just(json!(null)),
        1 => Just(json!([])),
    ];
    (value, any::<bool>(), 0u32..4)
        .prop_map(|(n, there, k)| if there { json!({"n": n, "k": k}) } else { json!({"k": k}) })
}

/// An order of JSON values that is written without the one it is held against.
fn key(value: &Value) -> Option<(u8, i64, String)> {
    match &value["n"] {
        Value::Number(n) => Some((0, n.as_i64().unwrap(), String::new())),
        Value::String(text) => Some((1, 0, text.clone())),
        _ => None,
    }
}

proptest! {
    /// The top of all is the front of what a stable sort makes of those that the filter takes.
    #[test]
    fn it_is_the_front_of_a_stable_sort(
        texts in prop::collection::vec(prop::collection::vec(item(), 0..12), 0..4),
        descending in any::<bool>(),
        limit in 1usize..20,
        n in 1usize..20,
        least in 0u32..4,
    ) {
        let order = if descending { Order::Descending } else { Order::Ascending };
        let condition = ConditionSpec { pointer: "/k".parse().unwrap(), tests: vec![Test::AtLeast(least.to_string().into())] };
        let spec = ViewSpec { filter: vec![condition], ..spec("/n", order, limit) };
        let bodies: Vec<_> = texts.iter().map(|items| serde_json::to_string(items).unwrap()).collect();
        let ranked = ranked(&spec, &bodies.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        let mut all: Vec<_> = texts.concat().into_iter().filter(|item| item["k"].as_u64() >= Some(least.into())).collect();
        prop_assert_eq!(ranked.items, all.len());
        let (mut with, without): (Vec<_>, Vec<_>) = all.drain(..).partition(|item| key(item).is_some());
        with.sort_by(|a, b| if descending { key(b).cmp(&key(a)) } else { key(a).cmp(&key(b)) });
        let top: Vec<_> = with.into_iter().chain(without).take(limit.min(n)).collect();
        let found: Vec<Value> = serde_json::from_str(&text(&ranked, n)).unwrap();
        prop_assert_eq!(found, top);
    }
}
