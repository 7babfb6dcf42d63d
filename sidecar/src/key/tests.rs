use std::borrow::Cow;

use freshet_crds::KeyType;
use proptest::prelude::*;

use super::{Form, Key, KeyError, Scalar, Unaddressable};

const fn form(kind: KeyType) -> Form {
    Form { kind, ..Form::AUTO }
}

fn path(raw: &str, forms: &[Form]) -> Result<String, KeyError> {
    Key::from_path(raw, Some(forms)).map(|key| key.as_str().to_owned())
}

#[test]
fn segments_are_columns() {
    let two = [Form::AUTO, Form::AUTO];
    assert_eq!(path("berlin/42", &two).unwrap(), "berlin/42");
    assert_eq!(path("ber%2Flin/42", &two).unwrap(), "ber%2Flin/42");
    assert_eq!(path("42", &two), Err(KeyError::Columns { expected: 2, found: 1 }));
    assert_eq!(Key::from_path("a/b/c", None).unwrap().as_str(), "a/b/c");
}

#[test]
fn a_slash_inside_a_column_is_not_a_separator() {
    assert_ne!(Key::from_path("a%2Fb", None), Key::from_path("a/b", None));
    assert_ne!(Key::from_path("a%252Fb", None), Key::from_path("a%2Fb", None));
}

#[test]
fn malformed_paths_are_refused() {
    for raw in ["", "a//b", "/a", "a/", ".", "..", "a/../b", "%2e%2E"] {
        assert_eq!(Key::from_path(raw, None), Err(KeyError::Segment), "{raw}");
    }
    for raw in ["%", "%4", "%zz", "%ff", "a%"] {
        assert_eq!(Key::from_path(raw, None), Err(KeyError::Encoding), "{raw}");
    }
    assert_eq!(Key::from_path(&"x".repeat(1025), None), Err(KeyError::TooLong));
    assert!(Key::from_path(&"x".repeat(1024), None).is_ok());
    assert_eq!(Key::from_path(&"%41".repeat(1025), None), Err(KeyError::TooLong));
}

#[test]
fn texts_that_no_event_would_carry_are_refused() {
    let uuid = "6f96a0f1-3c0e-4c6b-9a53-0a6c2f3f0b1d";
    for (text, kind, good) in [
        ("7", KeyType::Integer, true),
        ("-7", KeyType::Integer, true),
        ("0", KeyType::Integer, true),
        ("007", KeyType::Integer, false),
        ("+7", KeyType::Integer, false),
        ("-0", KeyType::Integer, false),
        ("7.0", KeyType::Integer, false),
        ("seven", KeyType::Integer, false),
        (uuid, KeyType::Uuid, true),
        ("6F96A0F1-3C0E-4C6B-9A53-0A6C2F3F0B1D", KeyType::Uuid, false),
        ("6f96a0f13c0e4c6b9a530a6c2f3f0b1d", KeyType::Uuid, false),
        ("007", KeyType::Auto, false),
        ("%207", KeyType::Auto, false),
        ("SKU-007", KeyType::Auto, true),
        ("6F96A0F1-3C0E-4C6B-9A53-0A6C2F3F0B1D", KeyType::Auto, false),
        ("%7B6f96a0f1-3c0e-4c6b-9a53-0a6c2f3f0b1d%7D", KeyType::Auto, false),
        ("d41d8cd98f00b204e9800998ecf8427e", KeyType::Auto, false),
        ("6f96a0f1-3c0e4c6b9a530a6c2f3f0b1d", KeyType::Auto, false),
        (uuid, KeyType::Auto, true),
        ("0", KeyType::Auto, true),
        ("-7", KeyType::Auto, true),
        ("-0", KeyType::Auto, false),
        ("7.0", KeyType::Auto, false),
        ("7.", KeyType::Auto, false),
        (".5", KeyType::Auto, false),
        ("7e0", KeyType::Auto, false),
        ("1_000", KeyType::Auto, false),
        ("0x7", KeyType::Auto, false),
        ("NaN", KeyType::Auto, false),
        ("-Infinity", KeyType::Auto, false),
        ("7%20", KeyType::Auto, false),
        ("1.2.3", KeyType::Auto, true),
        ("e5", KeyType::Auto, true),
        ("2026-11-21", KeyType::Auto, true),
        ("information", KeyType::Auto, true),
        ("007", KeyType::Text, true),
        ("ab%20", KeyType::Text, false),
        ("ab%20", KeyType::Auto, false),
        ("%20ab", KeyType::Auto, true),
    ] {
        assert_eq!(path(text, &[form(kind)]).is_ok(), good, "{text} as {kind:?}");
    }
}

#[test]
fn case_is_folded_on_both_sides() {
    let folded = Form { kind: KeyType::Text, fold_case: true, ..Form::AUTO };
    let event = Key::from_event([(Scalar::Text("Größe".into()), folded)]).unwrap().unwrap();
    assert_eq!(Key::from_path("GRÖSSE", Some(&[folded])).unwrap().as_str(), "grösse");
    assert_eq!(Key::from_path("gRÖßE", Some(&[folded])).unwrap(), event);
    // A database that lowers letter by letter finds this row by either text.
    let event = Key::from_event([(Scalar::Text("ΟΔΟΣ".into()), folded)]).unwrap().unwrap();
    assert_eq!(Key::from_path("οδοσ", Some(&[folded])).unwrap(), event);
}

#[test]
fn a_floating_point_number_has_no_second_spelling() {
    let small = Form::AUTO.learn(&Scalar::Number("0.5"), false).unwrap();
    assert!(Key::from_path("10000000.0", Some(&[small])).is_ok());
    // What was filled under the old shape is void with this.
    let large = small.learn(&Scalar::Number("1.0E7"), false).unwrap();
    for text in ["10000000.0", "10000000", "0.5"] {
        assert!(Key::from_path(text, Some(&[large])).is_err(), "{text}");
    }
    let zero = Form::AUTO.learn(&Scalar::Number("-0.0"), false).unwrap();
    assert!(Key::from_path("0", Some(&[zero])).is_err());
    // As texts they were sent by a numeric column, or by one of texts.
    let text = Form::AUTO.learn(&Scalar::Text("0.5".into()), false).unwrap();
    let text = text.learn(&Scalar::Text("NaN".into()), false).unwrap();
    assert!(Key::from_path("1.5", Some(&[text])).is_ok());
}

/// `char(5)` is padded in its events, and most collations take `ab` and `ab ` for one.
#[test]
fn blanks_at_the_end_are_no_part_of_a_key() {
    for kind in [KeyType::Auto, KeyType::Text] {
        for text in ["ab", "ab ", "ab   "] {
            let event = Key::from_event([(Scalar::Text(text.into()), form(kind))]).unwrap().unwrap();
            assert_eq!(event.as_str(), "ab", "{kind:?}");
        }
        assert!(path("ab%20%20%20", &[form(kind)]).is_err(), "{kind:?}");
    }
    let padded = Form::AUTO.learn(&Scalar::Text("7    ".into()), false).unwrap();
    assert_eq!(path("7", &[padded]).unwrap(), "7");
    assert!(path("007", &[padded]).is_err());
}

/// What requests may say once events of one column have shown these texts.
fn taken<const N: usize>(shown: &[&str], collated: bool, asked: [&str; N]) -> [bool; N] {
    let form = shown.iter().fold(Form::AUTO, |form, text| {
        let scalar = Scalar::Text((*text).into());
        form.learn(&scalar, collated).unwrap_or(form)
    });
    asked.map(|text| path(text, &[form]).is_ok())
}

#[test]
fn what_databases_read_in_many_ways_is_spelled_as_events_show_it() {
    let instants = ["2026-11-21T02:05:06.789Z", "2026-11-21T02:05:06Z"];
    for other in [
        "2026-11-21%2002:05:06.789+00",
        "2026-11-21T02:05:06.7890Z",
        "2026-11-21T02:05:06.7890001Z",
        "2026-11-20T24:00:00Z",
        "20261121T020506Z",
        "now",
    ] {
        assert_eq!(
            taken(&instants[..1], false, [instants[0], instants[1], other]),
            [true, true, false],
            "{other}"
        );
    }
    // Digits as its column has them: nobody can say how many.
    assert_eq!(taken(&["2026-11-21T02:05:06.500Z"], false, [instants[0], "x"]), [false; 2]);
    let hosts = ["10.0.0.1", "10.0.0.1%2F32", "010.0.0.1", "10.0.0.0%2F8", "::1", "0::1", "::A"];
    assert_eq!(taken(&["10.0.0.7"], false, hosts), [true, false, false, true, true, false, false]);
    let macs =
        ["08:00:2b:01:02:03", "08:00:2B:01:02:03", "08-00-2b-01-02-03", "08002b010203", "08002b:010203"];
    assert_eq!(taken(&[macs[0]], false, macs), [true, false, false, false, false]);
    // One that is none of them: a text, whose spellings are other rows.
    assert_eq!(taken(&[macs[0], "printer"], false, macs), [true; 5]);
    assert_eq!(taken(&["10.0.0.7", "printer"], false, hosts), [true; 7]);
}

/// `decimal.handling.mode=precise` writes 7 as `Bw==` and 65536 as `AQAA`; bytes are written so, too.
#[test]
fn where_events_may_show_bytes_no_number_names_a_row() {
    assert_eq!(
        taken(&["AQAA"], false, ["AQAA", "65536", "7", "7.00", "007"]),
        [true, false, false, false, false]
    );
    assert_eq!(taken(&["Bw=="], false, ["Bw==", "7", "abc", "%5Cx07"]), [true, false, false, false]);
    assert_eq!(taken(&["1234", "AQAA"], false, ["1234"]), [false], "three bytes, or a number?");
    assert_eq!(taken(&["AQAA", "SKU-1"], false, ["65536", "7"]), [true; 2], "a text");
    assert_eq!(taken(&["1234"], false, ["1234", "7"]), [true; 2], "numbers");
}

/// Their collations take `ab`, `AB`, `áb` and `ａｂ` for one, unless they are told not to.
#[test]
fn texts_of_mariadb_and_mysql_are_refused_until_they_are_declared() {
    let upper = "6F96A0F1-3C0E-4C6B-9A53-0A6C2F3F0B1D";
    let lower = upper.to_lowercase();
    assert_eq!(taken(&["ab"], true, ["ab", "AB", "%C3%A1b", "7", &lower]), [false; 5]);
    assert_eq!(taken(&["7"], true, ["7", "007", "ab"]), [true, false, false]);
    assert_eq!(taken(&[&lower], true, [&lower, upper, "ab"]), [true, false, false]);
    assert_eq!(taken(&[&lower, upper], true, [&lower, upper]), [false; 2], "one may be the other's row");
    let declared = Form { kind: KeyType::Text, ..Form::AUTO };
    assert_eq!(declared.learn(&Scalar::Text("ab".into()), true), None, "byte for byte");
    let folded = Form { fold_case: true, ..declared };
    assert!(path("%C3%A1b", &[folded]).is_ok(), "PostgreSQL's end at case");
    let folded = folded.learn(&Scalar::Text("ab".into()), true).unwrap();
    assert_eq!(folded.learn(&Scalar::Text("cd".into()), true), None);
    let asked = ["AB", "a-b_c", "%C3%A1b", "a%01b", "stra%C3%9Fe"].map(|text| path(text, &[folded]).is_ok());
    assert_eq!(asked, [true, true, false, false, false]);
    // Which key that takes the place of nobody knows.
    assert_eq!(Key::from_event([(Scalar::Text("áb".into()), folded)]), Err(Unaddressable));
}

#[test]
fn events_without_a_text_for_the_key() {
    assert_eq!(Key::from_event([(Scalar::Null, Form::AUTO)]), Ok(None));
    assert_eq!(Key::from_event([(Scalar::Compound, Form::AUTO)]), Err(Unaddressable));
    assert_eq!(Key::from_event([(Scalar::Text("x".into()), form(KeyType::Integer))]), Err(Unaddressable));
}

#[test]
fn a_keys_path_is_ascii_without_what_urls_mean_otherwise() {
    let key = Key::from_columns(["_a b/c%?#".into(), "_ü\u{7f}\"<>[]{}|^`\\".into()]);
    let path = key.to_path();
    assert_eq!(path, "%5Fa%20b%2Fc%25%3F%23/_%C3%BC%7F%22%3C%3E%5B%5D%7B%7D%7C%5E%60%5C");
    assert_eq!(Key::from_path(&path, None), Ok(key));
}

proptest! {
    #[test]
    fn a_keys_path_is_read_as_the_key(columns in proptest::collection::vec("\\PC{1,12}", 1..4)) {
        let key = Key::from_columns(columns.iter().map(|c| c.as_str().into()));
        let path = key.to_path();
        prop_assert!(format!("/v1/c/{path}").parse::<hyper::Uri>().is_ok() && !path.starts_with('_'), "{}", path);
        let dots = columns.iter().any(|c| c == "." || c == "..");
        prop_assert!(dots || Key::from_path(&path, None) == Ok(key));
    }

    /// Whatever columns an event has, a client that encodes them finds the same key.
    #[test]
    fn path_and_event_agree(columns in proptest::collection::vec("\\PC{1,12}", 1..4)) {
        prop_assume!(columns.iter().all(|c| c != "." && c != ".." && !c.ends_with(' ')));
        let forms = vec![form(KeyType::Text); columns.len()];
        let event = Key::from_event(columns.iter().map(|c| (Scalar::Text(Cow::Borrowed(c)), form(KeyType::Text))));
        let raw: Vec<String> = columns.iter().map(|c| {
            percent_encoding::utf8_percent_encode(c, percent_encoding::NON_ALPHANUMERIC).to_string()
        }).collect();
        prop_assert_eq!(Key::from_path(&raw.join("/"), Some(&forms)).unwrap(), event.unwrap().unwrap());
    }

    /// Different columns never share a key.
    #[test]
    fn keys_are_injective(a in proptest::collection::vec("[a/%]{1,4}", 1..3), b in proptest::collection::vec("[a/%]{1,4}", 1..3)) {
        let key = |columns: &[String]| Key::from_columns(columns.iter().map(|c| Cow::Borrowed(c.as_str())));
        prop_assert_eq!(key(&a) == key(&b), a == b);
    }

    /// No path makes the parser panic.
    #[test]
    fn any_path_is_judged(raw in ".{0,64}") {
        let _ = Key::from_path(&raw, Some(&[Form::AUTO]));
    }
}
