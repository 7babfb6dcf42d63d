//! Which of the two codecs a reader wants, by RFC 9110, and what it is given then.
//!
//! A cache isn't an origin that negotiates: whatever can't be given as it is wanted, is given as it was stored.

use bytes::Bytes;
use hyper::{
    HeaderMap,
    header::{ACCEPT, HeaderValue},
};

use crate::{
    codec::{Media, Range},
    entry::etag,
};

/// A value in the other codec than the one it was stored in.
pub(super) struct Converted {
    pub(super) content_type: Bytes,
    pub(super) body: Bytes,
    /// The entity tag that it would have, had it been stored so.
    pub(super) etag: Bytes,
}

/// What a request with these headers is given of a value of this type instead of its bytes, of which `plain` are those
/// without a content coding; `None` where that is the value as it was stored.
pub(super) fn converted(
    headers: &HeaderMap,
    content_type: &[u8],
    plain: impl FnOnce() -> Bytes,
) -> Option<Converted> {
    headers.get(ACCEPT)?;
    let stored = Media::of(content_type)?;
    let wanted = stored.other();
    if weight(headers, &wanted) <= weight(headers, &stored) {
        return None;
    }
    in_other_codec(&stored, &plain())
}

/// A value of this type in the other codec, if it can be said there.
pub(super) fn in_other_codec(stored: &Media<'_>, plain: &[u8]) -> Option<Converted> {
    let body = stored.codec.convert(plain).ok()?;
    let content_type = stored.other().to_bytes();
    Some(Converted { etag: etag(&content_type, &body), content_type, body })
}

/// Whether a value of this type could be converted, so that answers vary.
pub(super) fn varies(content_type: &[u8]) -> bool {
    Media::of(content_type).is_some()
}

/// What `Accept` weighs a type, in thousandths. Of several items that name it, the closest counts.
fn weight(headers: &HeaderMap, media: &Media<'_>) -> u16 {
    let mut closest: Option<(Range, u16)> = None;
    let lines = headers.get_all(ACCEPT).iter().map(HeaderValue::as_bytes);
    for item in lines.flat_map(|line| line.split(|b| *b == b',')) {
        let mut parts = item.split(|b| *b == b';').map(<[u8]>::trim_ascii);
        let Some(range) = parts.next().and_then(|range| media.is_in(range)) else { continue };
        let q = parts.find_map(|part| part.strip_prefix(b"q=").or(part.strip_prefix(b"Q=")));
        let q = q.map_or(1000, thousandths);
        if closest.is_none_or(|(other, before)| (range, q) > (other, before)) {
            closest = Some((range, q));
        }
    }
    closest.map_or(0, |(_, q)| q)
}

/// A weight of RFC 9110: at most 1, with at most three digits behind the point. What is none weighs nothing.
fn thousandths(text: &[u8]) -> u16 {
    let (whole, fraction) = match text {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] => (whole, fraction),
        _ => return 0,
    };
    if !matches!(whole, b'0' | b'1') || fraction.len() > 3 || !fraction.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    let digit = |at: usize| fraction.get(at).map_or(0, |digit| u16::from(digit - b'0'));
    let weight = u16::from(whole - b'0') * 1000 + digit(0) * 100 + digit(1) * 10 + digit(2);
    if weight > 1000 { 0 } else { weight }
}

#[cfg(test)]
mod tests {
    use hyper::{
        HeaderMap,
        header::{ACCEPT, HeaderValue},
    };

    use super::converted;

    /// The type that is given of one that was stored.
    fn given(stored: &'static str, lines: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT, HeaderValue::from_static(line));
        }
        let body: &[u8] = if stored.contains("json") { b"[1]" } else { b"\x81\x01" };
        let converted = converted(&headers, stored.as_bytes(), || body.into());
        converted
            .map_or("as stored".to_owned(), |given| String::from_utf8(given.content_type.to_vec()).unwrap())
    }

    #[test]
    fn the_codec_that_weighs_more_is_given() {
        let (json, cbor) = ("application/json", "application/cbor");
        for (lines, of_json, of_cbor) in [
            (&[][..], "as stored", "as stored"),
            (&["*/*"], "as stored", "as stored"),
            (&["application/*"], "as stored", "as stored"),
            (&[""], "as stored", "as stored"),
            (&["text/html"], "as stored", "as stored"),
            (&["text/html, */*;q=0.1"], "as stored", "as stored"),
            (&["application/cbor"], cbor, "as stored"),
            (&["Application/CBOR"], cbor, "as stored"),
            (&["application/json"], "as stored", json),
            (&["application/cbor, application/json"], "as stored", "as stored"),
            (&["application/cbor, application/json;q=0.9, */*;q=0.1"], cbor, "as stored"),
            (&["application/cbor;q=0.1, application/json;q=0.100"], "as stored", "as stored"),
            (&["application/cbor;q=0.099, application/json;q=0.1"], "as stored", json),
            (&["*/*, application/json;q=0.5"], cbor, "as stored"),
            (&["*/*;q=0.1, application/*;q=0.5, application/json;q=0.4"], cbor, "as stored"),
            (&["application/json;q=0, */*"], cbor, "as stored"),
            (&["application/json;q=0"], "as stored", "as stored"),
            (&["application/cbor;q=0"], "as stored", "as stored"),
            (&["application/cbor;q=x"], "as stored", "as stored"),
            (&["application/cbor;q=1.1"], "as stored", "as stored"),
            (&["application/cbor;q=0.0001"], "as stored", "as stored"),
            (&["application/cbor; q=0.001"], cbor, "as stored"),
            (&["application/cbor;v=1; Q=1.000"], cbor, "as stored"),
            (&["application/json;q=0.2", "application/cbor;q=0.3"], cbor, "as stored"),
        ] {
            assert_eq!((&*given(json, lines), &*given(cbor, lines)), (of_json, of_cbor), "{lines:?}");
        }
        let row = "application/vnd.freshet.row+json";
        let converted = "application/vnd.freshet.row+cbor";
        assert_eq!(given(row, &["application/cbor"]), converted);
        assert_eq!(given(row, &["application/vnd.freshet.row+cbor"]), converted);
        assert_eq!(given(row, &["application/json, application/cbor;q=0.9"]), "as stored");
        assert_eq!(
            given(
                row,
                &["application/json;q=0.9, application/vnd.freshet.row+json;q=0, application/cbor;q=0.1"]
            ),
            converted
        );
        assert_eq!(given("text/plain", &["application/cbor"]), "as stored");
        assert_eq!(given("application/jsonl", &["application/cbor"]), "as stored");
    }

    #[test]
    fn what_is_not_what_its_type_says_is_left_as_it_is() {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/cbor"));
        assert!(converted(&headers, b"application/json", || "{not json".into()).is_none());
    }
}
