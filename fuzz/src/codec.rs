//! JSON and CBOR, one made from the other: what is made is well-formed, and says the same when it is made back.
//!
//! An input is a letter for the codec and what is in it.

use freshet_sidecar::codec::Codec::{Cbor, Json};
use serde_json::value::RawValue;

/// Converts it there and back.
pub(crate) fn run(input: &[u8]) {
    let Some((letter, bytes)) = input.split_first() else { return };
    if *letter == b'j' { from_json(bytes) } else { from_cbor(bytes) }
}

/// CBOR is deterministic: made back and forth once more, it is the same bytes.
fn from_json(json: &[u8]) {
    let Ok(cbor) = Json.convert(json) else { return };
    assert!(serde_json::from_slice::<&RawValue>(json).is_ok(), "it isn't JSON");
    let back = Cbor.convert(&cbor).expect("what was made is CBOR that JSON can say");
    assert_eq!(Json.convert(&back).as_ref(), Ok(&cbor), "{}", String::from_utf8_lossy(&back));
}

/// JSON that was made can be said in CBOR, and that says the same JSON, but for the order of members.
fn from_cbor(cbor: &[u8]) {
    let Ok(json) = Cbor.convert(cbor) else { return };
    assert!(serde_json::from_slice::<&RawValue>(&json).is_ok(), "{}", String::from_utf8_lossy(&json));
    // A number of a byte is at most so long as text, and so is a character that has to be escaped.
    assert!(json.len() <= cbor.len() * 32 + 32, "{} bytes became {}", cbor.len(), json.len());
    assert!(Cbor.convert(&[cbor, b"\0"].concat()).is_err(), "something is behind it");
    from_json(&json);
    assert!(Json.convert(&json).is_ok(), "{}", String::from_utf8_lossy(&json));
}

/// All kinds of values, and what is just too much.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let json = [
        r#"j{"b":[1,-1,1.5,1e2,-0,-0.0,1e400],"a":"\u00fc\ud83d\ude00\u0000","":null}"#,
        "j[18446744073709551616,-18446744073709551617,9007199254740993.0,0.12345678901234567890]",
        r#"j{"a":1,"\u0061":2}"#,
        r#"j"\ud800""#,
        "j1e100000000000000001",
        "j[[[[[[[[[[]]]]]]]]]]",
        "j[1,]",
    ];
    let cbor: [&[u8]; 12] = [
        b"c\xa2\x61a\xf9\x3c\x00\x01\x9f\x20\xff",
        b"c\xd6\x82\x41\xfb\xd7\x41\xfb",
        b"c\xc2\x49\x01\0\0\0\0\0\0\0\0",
        b"c\xc4\x82\x21\x19\x6a\xb3",
        b"c\xc4\x82\x3b\0\0\0\0\0\0\xff\xff\xc3\x49\x01\0\0\0\0\0\0\0\0",
        b"c\x7f\x61a\x61b\xff",
        b"c\x5f\x41a\x41b\xff",
        b"c\xbf\x61a\xf6\xff",
        b"c\x9b\xff\xff\xff\xff\xff\xff\xff\xff\x00",
        b"c\xf8\x14",
        b"c\xa2\x01\xf6\x61\x31\xf6",
        b"c\xfb\x7f\xf0\0\0\0\0\0\0",
    ];
    json.map(|text| text.as_bytes().to_vec()).into_iter().chain(cbor.map(<[u8]>::to_vec)).collect()
}
