use proptest::prelude::*;
use serde_json::Value;

use super::{
    Codec::{Cbor, Json},
    MOST_DEPTH, Unconvertible,
};
use crate::views::decimal::Decimal;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn to_json(cbor: &[u8]) -> Result<String, Unconvertible> {
    Cbor.convert(cbor).map(|json| String::from_utf8(json.to_vec()).unwrap())
}

fn to_cbor(json: &str) -> Result<String, Unconvertible> {
    let digit = |digit: u8| char::from_digit(digit.into(), 16).unwrap();
    let digits = |byte: &u8| [digit(byte >> 4), digit(byte & 15)];
    Json.convert(json.as_bytes()).map(|cbor| cbor.iter().flat_map(digits).collect())
}

/// RFC 8949, appendix A, that JSON can say and that are written as deterministically as we do: both ways.
const BOTH: &[(&str, &str)] = &[
    ("00", "0"),
    ("01", "1"),
    ("0a", "10"),
    ("17", "23"),
    ("1818", "24"),
    ("1819", "25"),
    ("1864", "100"),
    ("1903e8", "1000"),
    ("1a000f4240", "1000000"),
    ("1b000000e8d4a51000", "1000000000000"),
    ("1bffffffffffffffff", "18446744073709551615"),
    ("c249010000000000000000", "18446744073709551616"),
    ("3bffffffffffffffff", "-18446744073709551616"),
    ("c349010000000000000000", "-18446744073709551617"),
    ("20", "-1"),
    ("29", "-10"),
    ("3863", "-100"),
    ("3903e7", "-1000"),
    ("f90000", "0.0"),
    ("f98000", "-0.0"),
    ("f93c00", "1.0"),
    ("fb3ff199999999999a", "1.1"),
    ("f93e00", "1.5"),
    ("f97bff", "65504.0"),
    ("fa47c35000", "100000.0"),
    ("fa7f7fffff", "3.4028234663852886e38"),
    ("fb7e37e43c8800759c", "1e300"),
    ("f90001", "5.960464477539063e-8"),
    ("f90400", "6.103515625e-5"),
    ("f9c400", "-4.0"),
    ("fbc010666666666666", "-4.1"),
    ("f4", "false"),
    ("f5", "true"),
    ("f6", "null"),
    ("60", r#""""#),
    ("6161", r#""a""#),
    ("6449455446", r#""IETF""#),
    ("62225c", r#""\"\\""#),
    ("62c3bc", "\"ü\""),
    ("63e6b0b4", "\"水\""),
    ("64f0908591", "\"\u{10151}\""),
    ("80", "[]"),
    ("83010203", "[1,2,3]"),
    ("8301820203820405", "[1,[2,3],[4,5]]"),
    (
        "98190102030405060708090a0b0c0d0e0f101112131415161718181819",
        "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25]",
    ),
    ("a0", "{}"),
    ("a26161016162820203", r#"{"a":1,"b":[2,3]}"#),
    ("826161a161626163", r#"["a",{"b":"c"}]"#),
    ("a56161614161626142616361436164614461656145", r#"{"a":"A","b":"B","c":"C","d":"D","e":"E"}"#),
];

#[test]
fn the_rfcs_examples_are_converted_both_ways() {
    for (cbor, json) in BOTH {
        assert_eq!(to_json(&hex(cbor)).as_deref(), Ok(*json), "{cbor}");
        assert_eq!(to_cbor(json).as_deref(), Ok(*cbor), "{json}");
    }
}

#[test]
fn what_json_cannot_say_has_its_substitute() {
    for (cbor, json) in [
        // Appendix A: more than one way to write, and what isn't finite.
        ("fa7f800000", "null"),
        ("f97c00", "null"),
        ("f97e00", "null"),
        ("f9fc00", "null"),
        ("fb7ff0000000000000", "null"),
        ("f7", "null"),
        ("f0", "null"),
        ("f8ff", "null"),
        ("c074323031332d30332d32315432303a30343a30305a", r#""2013-03-21T20:04:00Z""#),
        ("c11a514b67b0", "1363896240"),
        ("c1fb41d452d9ec200000", "1363896240.5"),
        ("d74401020304", r#""01020304""#),
        ("d818456449455446", r#""ZElFVEY""#),
        ("d82076687474703a2f2f7777772e6578616d706c652e636f6d", r#""http://www.example.com""#),
        ("40", r#""""#),
        ("4401020304", r#""AQIDBA""#),
        ("a201020304", r#"{"1":2,"3":4}"#),
        ("5f42010243030405ff", r#""AQIDBAU""#),
        ("7f657374726561646d696e67ff", r#""streaming""#),
        ("9fff", "[]"),
        ("9f018202039f0405ffff", "[1,[2,3],[4,5]]"),
        ("83018202039f0405ff", "[1,[2,3],[4,5]]"),
        ("bf61610161629f0203ffff", r#"{"a":1,"b":[2,3]}"#),
        ("826161bf61626163ff", r#"["a",{"b":"c"}]"#),
        ("bf6346756ef563416d7421ff", r#"{"Fun":true,"Amt":-2}"#),
        // What bytes are to become holds within, too.
        ("d64401020304", r#""AQIDBA==""#),
        ("d58241fbd641fb", r#"["-w","+w=="]"#),
        ("d783a161614cfffefdfcfbfaf9f8f7f6f5f441aad541fb", r#"[{"a":"FFFEFDFCFBFAF9F8F7F6F5F4"},"AA","-w"]"#),
        // Not the shortest, but the same.
        ("1817", "23"),
        ("1b0000000000000000", "0"),
        ("c24a00000000000000000001", "1"),
        ("c240", "0"),
        ("c340", "-1"),
        ("fb3ff0000000000000", "1.0"),
        // Decimal fractions.
        ("c48221196ab3", "273.15"),
        ("c482200f", "1.5"),
        ("c4822f3a00012fd0", "-0.0000000000077777"),
        ("c48238630f", "15e-100"),
        ("c4820005", "5.0"),
        ("c482190190c249010000000000000000", "18446744073709551616e400"),
        ("c49f200fff", "1.5"),
        ("a120f6", r#"{"-1":null}"#),
    ] {
        assert_eq!(to_json(&hex(cbor)).as_deref(), Ok(json), "{cbor}");
    }
}

#[test]
fn json_is_written_deterministically() {
    for (json, cbor) in [
        // Sorted by how the keys are written: shorter ones first.
        (r#" { "bb" : 1 , "a" : [ ] , "b" : { } , "" : 0 } "#, "a460006161806162a062626201"),
        ("{\"a\":{\"y\":1,\"x\":2},\"\\u0000\":3}", "a2610003 6161a2617802617901"),
        ("1e2", "f95640"),
        ("1E+2", "f95640"),
        ("100.0", "f95640"),
        ("-0", "f98000"),
        ("0e5", "f90000"),
        // Beyond a double: exact all the same.
        ("1e400", "c48219019001"),
        ("-1.5e-400", "c4823901902e"),
        ("9007199254740993.0", "c482001b0020000000000001"),
        ("0.12345678901234567890", "c48232 1b112210f47de98115"),
        ("\"\\ud800\\udd51 \\u00fc\\/\\n\"", "69f0908591 20c3bc2f0a"),
    ] {
        let cbor = cbor.replace(' ', "");
        assert_eq!(to_cbor(json).map(|c| c.replace(' ', "")).as_deref(), Ok(&*cbor), "{json}");
    }
}

#[test]
fn what_cannot_be_said_exactly_is_not_said() {
    use Unconvertible::{DuplicateKey, Key, Malformed, Number, Surrogate, TooDeep};
    let digits = "7".repeat(3000);
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for (json, why) in [
        ("", Malformed),
        ("{", Malformed),
        ("[1,]", Malformed),
        ("1 2", Malformed),
        ("nul", Malformed),
        ("NaN", Malformed),
        ("\u{feff}1", Malformed),
        (r#"{"a":1,"b":2,"\u0061":3}"#, DuplicateKey),
        (r#"{"b":{"a":1,"a":1}}"#, DuplicateKey),
        (r#""\ud800""#, Surrogate),
        (r#"{"\ude00":1}"#, Surrogate),
        (&digits, Number),
        (&format!("0.{digits}"), Number),
        ("1.5e1000000000000000000", Number),
        ("1e100000000000000001", Number),
        (&nested(MOST_DEPTH + 1), TooDeep),
        (&nested(100_000), TooDeep),
    ] {
        assert_eq!(to_cbor(json), Err(why), "{}", json.chars().take(40).collect::<String>());
    }
    assert_eq!(to_cbor(&nested(MOST_DEPTH)).unwrap(), format!("{}80", "81".repeat(MOST_DEPTH - 1)));
    assert_eq!(Json.convert(b"\"\xff\""), Err(Malformed));
    let deep = |depth: usize| format!("{}00", "81".repeat(depth));
    for (cbor, why) in [
        ("", Malformed),
        ("18", Malformed),
        ("0000", Malformed),
        ("1c", Malformed),
        ("ff", Malformed),
        ("81ff", Malformed),
        ("a1", Malformed),
        ("a161", Malformed),
        ("bf00ff", Malformed),
        ("f814", Malformed),
        ("f818", Malformed),
        ("61ff", Malformed),
        // Half a character in each piece.
        ("7f61c361bcff", Malformed),
        ("5f6161ff", Malformed),
        ("5f5f4101ffff", Malformed),
        ("9bffffffffffffffff00", Malformed),
        ("5bffffffffffffffff00", Malformed),
        ("c200", Malformed),
        ("c4820161", Malformed),
        ("c48101", Malformed),
        ("c483010101", Malformed),
        ("c0", Malformed),
        ("a1f600", Key),
        ("a1410000", Key),
        ("a18000", Key),
        ("a1f93c0000", Key),
        ("a26161016161 02", DuplicateKey),
        ("a201f66131f6", DuplicateKey),
        ("c4821b0de0b6b3a764000101", Number),
        ("c4821b016345785d8a00000a", Number),
        (&format!("c2590401{}", "ff".repeat(1025)), Number),
        (&deep(MOST_DEPTH + 1), TooDeep),
        (&deep(100_000), TooDeep),
        (&"c6".repeat(100_000), TooDeep),
    ] {
        let cbor = cbor.replace(' ', "");
        assert_eq!(to_json(&hex(&cbor)), Err(why), "{}", cbor.chars().take(40).collect::<String>());
    }
    assert!(to_json(&hex(&deep(MOST_DEPTH))).is_ok());
    // A number is one however it is written.
    for number in ["18446744073709551616", "1e400"] {
        let json = format!("{}{number}{}", "[".repeat(MOST_DEPTH), "]".repeat(MOST_DEPTH));
        assert_eq!(to_json(&Json.convert(json.as_bytes()).unwrap()).as_deref(), Ok(&*json));
    }
    assert_eq!(to_json(&hex("c4821b016345785d8a000001")).as_deref(), Ok("1e100000000000000000"));
    assert_eq!(to_cbor("1e100000000000000000").as_deref(), Ok("c4821b016345785d8a000001"));
    assert!(to_json(&hex(&format!("c2590400{}", "ff".repeat(1024)))).is_ok());
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,25})?([eE][-+]?[0-9]{1,3})?",
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(|f| format!("{f:e}")),
        any::<String>().prop_map(|text| Value::from(text).to_string()),
    ];
    leaf.prop_recursive(5, 48, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|items| format!("[ {} ]", items.join(" , "))),
            prop::collection::hash_map("[a-e\"\\\\ü]{0,3}", inner, 0..5).prop_map(|map| {
                let members: Vec<_> =
                    map.iter().map(|(name, value)| format!("{}: {value}", Value::from(&**name))).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

/// Whether two JSON texts say the same, numbers compared exactly.
fn same(a: &str, b: &str) -> bool {
    use serde_json::value::RawValue;
    let number = |text: &str| Decimal::read(text);
    if let (Some(a), Some(b)) = (number(a), number(b)) {
        return a == b;
    }
    let list = |text: &str| serde_json::from_str::<Vec<Box<RawValue>>>(text).ok();
    if let (Some(a), Some(b)) = (list(a), list(b)) {
        return a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| same(a.get(), b.get()));
    }
    let map =
        |text: &str| serde_json::from_str::<std::collections::BTreeMap<String, Box<RawValue>>>(text).ok();
    if let (Some(a), Some(b)) = (map(a), map(b)) {
        return a.keys().eq(b.keys()) && a.values().zip(b.values()).all(|(a, b)| same(a.get(), b.get()));
    }
    let leaf = |text: &str| serde_json::from_str::<Value>(text).ok();
    leaf(a) == leaf(b)
}

proptest! {
    #[test]
    fn json_comes_back_as_it_was(json in json()) {
        let cbor = Json.convert(json.as_bytes()).unwrap();
        let back = to_json(&cbor).unwrap();
        prop_assert!(same(&json, &back), "{json} became {back}");
        prop_assert_eq!(Json.convert(back.as_bytes()).unwrap(), cbor, "{}", back);
    }

    #[test]
    fn cbor_with_any_byte_in_it_becomes_json_or_nothing(json in json(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut cbor = Json.convert(json.as_bytes()).unwrap().to_vec();
        let at = at.index(cbor.len());
        cbor[at] = byte;
        if let Ok(json) = to_json(&cbor) {
            prop_assert!(serde_json::from_str::<&serde_json::value::RawValue>(&json).is_ok(), "{json}");
            prop_assert!(Json.convert(json.as_bytes()).is_ok(), "{json}");
        }
    }
}
