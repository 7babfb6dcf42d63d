//! Keys: what a path may say is spelled as events spell it.
//!
//! An input is one group of parts: the forms of the columns, a letter each, then texts of events that came before, a
//! letter for their JSON type first, then the raw path.

use std::borrow::Cow;

use freshet_crds::KeyType;
use freshet_sidecar::key::{Form, Key, Looks, MAX_KEY, Scalar};

use crate::{Bound, parts};

/// What a path of one byte may cost: a column is two bytes and a text on the heap.
const FACTOR: usize = 128;

/// Learns from the events, reads the path, and compares.
pub(crate) fn run(input: &[u8]) {
    let Some(parts) = parts::groups(input).next() else { return };
    let [forms, events @ .., path] = parts.as_slice() else { return };
    let Ok(path) = std::str::from_utf8(path) else { return };
    let bound = Bound::of(FACTOR, input);
    let unknown = Key::from_path(path, None);
    drop(bound);
    let Some(mut forms) = forms.iter().map(|letter| form(*letter)).collect::<Option<Vec<_>>>() else {
        return;
    };
    let decoded = decode(path);
    if let Ok(key) = &unknown {
        let columns = decoded.as_ref().expect("an accepted path can be decoded");
        assert_eq!(*key, joined(columns));
        assert!(key.as_str().len() <= 3 * MAX_KEY);
    }
    // Each event names one row; columns take its texts in turn.
    let mut shown: Vec<Vec<Scalar<'_>>> = Vec::new();
    let mut collated = false;
    for event in events {
        // MariaDB's and MySQL's begin with a `*`.
        collated |= event.starts_with(b"*");
        let event = event.strip_prefix(b"*").unwrap_or(event);
        let Some(columns) = event.split(|byte| *byte == b'\n').map(scalar).collect::<Option<Vec<_>>>() else {
            return;
        };
        if columns.len() != forms.len() {
            return;
        }
        for (form, scalar) in forms.iter_mut().zip(&columns) {
            *form = form.learn(scalar, collated).unwrap_or(*form);
        }
        shown.push(columns);
    }
    let bound = Bound::of(FACTOR, input);
    let asked = Key::from_path(path, Some(&forms));
    drop(bound);
    let Ok(asked) = asked else { return };
    assert!(unknown.is_ok(), "known forms accept no more than unknown ones");
    let columns = decoded.expect("an accepted path can be decoded");
    assert_eq!(columns.len(), forms.len());
    assert!(columns.iter().all(|text| !text.is_empty() && text != "." && text != ".."));
    // An event that carries the very texts of the path names the same key.
    let texts = columns.iter().map(|text| Scalar::Text(Cow::Borrowed(text)));
    assert_eq!(
        Key::from_event(texts.zip(forms.iter().copied())).expect("no column is compound"),
        Some(asked.clone())
    );
    // So does the event of a row that the database would find by these texts. After several, other spellings have
    // shown what isn't a number or a UUID.
    let typed = forms.iter().all(|form| form.kind != KeyType::Auto);
    for event in shown.iter().filter(|event| typed || shown.iter().all(|other| other == *event)) {
        let same = columns.iter().zip(event).zip(&forms).all(|((text, scalar), form)| {
            finds(text, scalar, *form) || collated && finds_by_collation(text, scalar, *form)
        });
        if same && let Ok(Some(named)) = Key::from_event(event.iter().cloned().zip(forms.iter().copied())) {
            assert_eq!(asked, named, "{path} finds the row of {event:?} under {forms:?}");
        }
    }
}

fn form(letter: u8) -> Option<Form> {
    let (kind, fold_case) = match letter {
        b'A' => (KeyType::Auto, false),
        b'I' => (KeyType::Integer, false),
        b'U' => (KeyType::Uuid, false),
        b'T' => (KeyType::Text, false),
        b'F' => (KeyType::Text, true),
        _ => return None,
    };
    Some(Form { kind, fold_case, shown: Looks::NONE })
}

/// A column's value in an event: `n7`, `sseven`, `t`, `f`, `0`.
fn scalar(text: &[u8]) -> Option<Scalar<'_>> {
    let (kind, text) = text.split_first()?;
    let text = std::str::from_utf8(text).ok()?;
    Some(match kind {
        b'n' if serde_json::from_str::<serde_json::Number>(text).is_ok() => Scalar::Number(text),
        b's' => Scalar::Text(Cow::Borrowed(text)),
        b't' => Scalar::Bool(true),
        b'f' => Scalar::Bool(false),
        _ => return None,
    })
}

/// Whether a database that has this value in a column of this form finds it by a request's text.
fn finds(text: &str, scalar: &Scalar<'_>, form: Form) -> bool {
    if let Scalar::Text(value) = scalar
        && (value.ends_with(' ') || text.ends_with(' '))
    {
        // Padded, or compared as if it were.
        let value = Scalar::Text(value.trim_end_matches(' ').into());
        return finds(text.trim_end_matches(' '), &value, form);
    }
    match (scalar, form.kind) {
        (Scalar::Null | Scalar::Compound, _) => false,
        // Who declares a text says that other spellings are other rows.
        (Scalar::Number(value), KeyType::Text) => text == *value,
        (Scalar::Bool(value), KeyType::Text) => text == if *value { "true" } else { "false" },
        (Scalar::Bool(value), _) => {
            let yes =
                ["t", "true", "y", "yes", "on", "1"].contains(&text.trim().to_ascii_lowercase().as_str());
            let no =
                ["f", "false", "n", "no", "off", "0"].contains(&text.trim().to_ascii_lowercase().as_str());
            if *value { yes } else { no }
        }
        (Scalar::Number(value), _) if value.contains(['.', 'e', 'E']) => {
            text.trim().parse::<f64>().is_ok_and(|asked| value.parse() == Ok(asked))
        }
        (Scalar::Number(value), _) => same_number(text, value),
        (Scalar::Text(value), KeyType::Integer) => same_number(text, value),
        (Scalar::Text(value), KeyType::Uuid) => same_uuid(text, value),
        (Scalar::Text(value), KeyType::Text) if form.fold_case => same_letters(text, value),
        (Scalar::Text(value), KeyType::Text) => text == value,
        // Nobody knows whether its column is a text, a numeric or a UUID, so it counts as each that would be
        // written so.
        (Scalar::Text(value), KeyType::Auto) => {
            text == value
                || is_written_uuid(value) && same_uuid(text, value)
                || is_written_decimal(value) && same_number(text, value)
        }
    }
}

/// Whether a database finds a text by another that its collation takes for the same, as far as case and accents go.
fn finds_by_collation(text: &str, scalar: &Scalar<'_>, form: Form) -> bool {
    let Scalar::Text(value) = scalar else { return false };
    let plain = |text: &str| text.to_lowercase().replace(['á', 'à', 'ä'], "a").replace(['é', 'è', 'ë'], "e");
    (form.kind == KeyType::Auto || form.fold_case) && plain(text) == plain(value)
}

/// Numerical equality of decimals, by their digits.
fn same_number(a: &str, b: &str) -> bool {
    fn digits(text: &str) -> Option<(bool, String, String)> {
        let text = text.trim();
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let all = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !all(whole) || !all(fraction) {
            return None;
        }
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        Some((negative && !(whole.is_empty() && fraction.is_empty()), whole.into(), fraction.into()))
    }
    matches!((digits(a), digits(b)), (Some(a), Some(b)) if a == b)
}

/// Whether both are UUIDs, and the same: 32 digits in any case, with dashes between, in braces or not.
fn same_uuid(a: &str, b: &str) -> bool {
    fn digits(text: &str) -> Option<String> {
        let text = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
        let digits: String = text.chars().filter(|c| *c != '-').collect::<String>().to_ascii_lowercase();
        (digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit())).then_some(digits)
    }
    matches!((digits(a), digits(b)), (Some(a), Some(b)) if a == b)
}

/// Whether databases write UUIDs so: with all dashes or none, in one case.
fn is_written_uuid(text: &str) -> bool {
    let dashes: Vec<_> = text.match_indices('-').map(|(at, _)| at).collect();
    let one_case = text == text.to_ascii_lowercase() || text == text.to_ascii_uppercase();
    one_case && (dashes.is_empty() && text.len() == 32 || dashes == [8, 13, 18, 23] && text.len() == 36)
}

/// Whether databases write decimals so: no sign but minus, no zeros before the number.
fn is_written_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let zero = unsigned.bytes().all(|b| matches!(b, b'0' | b'.'));
    digits(whole)
        && digits(fraction)
        && (whole == "0" || !whole.starts_with('0'))
        && !(zero && text.starts_with('-'))
}

/// Equality letter by letter, whatever their case: as a database lowers a text, which looks at no neighbours.
fn same_letters(a: &str, b: &str) -> bool {
    a.chars().flat_map(char::to_lowercase).eq(b.chars().flat_map(char::to_lowercase))
}

/// The path's columns, decoded byte by byte.
fn decode(path: &str) -> Option<Vec<String>> {
    path.split('/')
        .map(|segment| {
            let (mut bytes, mut rest) = (Vec::new(), segment.as_bytes());
            while let Some((first, after)) = rest.split_first() {
                if *first == b'%' {
                    let code = std::str::from_utf8(after.get(..2)?).ok()?;
                    bytes.push(u8::from_str_radix(code, 16).ok()?);
                    rest = &after[2..];
                } else {
                    bytes.push(*first);
                    rest = after;
                }
            }
            String::from_utf8(bytes).ok()
        })
        .collect()
}

fn joined(columns: &[String]) -> Key {
    Key::from_columns(columns.iter().map(|text| Cow::Borrowed(text.as_str())))
}

/// All spellings of numbers, UUIDs and texts that have ever mattered.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    const UUID: &str = "123e4567-e89b-12d3-a456-426614174000";
    let upper = UUID.to_ascii_uppercase();
    let bare = UUID.replace('-', "");
    let texts = [
        "7",
        "007",
        "-7",
        "-0",
        "7.0",
        "7.00",
        "+7",
        "7e0",
        "0x7",
        " 7",
        "nan",
        UUID,
        &upper,
        &bare,
        "true",
        "Straße",
        "ΟΔΟΣ",
        "ab ",
        "ab",
        "AB",
        "Bw==",
        "AQAA",
        "2026-11-21T02:05:06.789Z",
        "10.0.0.1",
        "::1",
        "08:00:2b:01:02:03",
    ];
    let mut seeds = Vec::new();
    for form in ["A", "I", "U", "T", "F"] {
        for event in texts {
            seeds.push(parts::one(&[form, &format!("s{event}"), event]));
            seeds.push(parts::one(&[form, &format!("*s{event}"), event]));
            seeds.push(parts::one(&[form, event]));
        }
        seeds.push(parts::one(&[form, "n7", "007"]));
        seeds.push(parts::one(&[form, "n7.50", "7.5"]));
        seeds.push(parts::one(&[form, "n0.5", "n1.0E7", "10000000.0"]));
        seeds.push(parts::one(&[form, "n-0.0", "0"]));
        seeds.push(parts::one(&[form, "t", "yes"]));
        seeds.push(parts::one(&[form, "sAQAA", "65536"]));
        seeds.push(parts::one(&[form, "sab  ", "ab"]));
        seeds.push(parts::one(&[form, "*sáb", "ab"]));
        seeds.push(parts::one(&[form, "sΟΔΟΣ", "οδοσ"]));
    }
    for path in ["a/b", "a%2Fb", "a%2fb", "%", "%zz", "%ff", "a//b", ".", "%2e%2E/b", "_batch", ""] {
        seeds.push(parts::one(&["T", path]));
        seeds.push(parts::one(&["TT", "sa\nsb", path]));
    }
    seeds.push(parts::one(&["IT", "n42\nsberlin", "42/berlin"]));
    seeds
}
