//! Headers of requests: what they ask for is understood, or the request is refused.
//!
//! An input is lines of `Name: value`.

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};

use freshet_sidecar::fuzzing;

use crate::Bound;

const FACTOR: usize = 1024;

/// Reads them as those of a read and those of a fill.
pub(crate) fn run(input: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(line[colon + 1..].trim_ascii()));
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let bound = Bound::of(FACTOR, input);
    let [read, fill] = fuzzing::directives(&headers, &["cdc", "other"]);
    drop(bound);
    // What nobody understands must not be ignored.
    assert!(
        read || !unlike(&headers, "freshet-max-staleness", |text| text.bytes().all(|b| b.is_ascii_digit()))
    );
    assert!(fill || !unlike(&headers, "freshet-absent", |text| matches!(text, "?0" | "?1")));
    assert!(read || !unlike(&headers, "freshet-min-position", |text| text.contains('"')));
    assert!(fill || !unlike(&headers, "freshet-position", |text| text.contains('"')));
}

/// Whether the header is there and its first value isn't like that.
fn unlike(headers: &HeaderMap, name: &str, like: impl Fn(&str) -> bool) -> bool {
    headers.get(name).is_some_and(|value| !value.to_str().is_ok_and(|text| like(text.trim())))
}

/// All headers that mean something, well and badly written.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [
        "Cache-Control: no-cache",
        "cache-control: max-age=0, only-if-cached, no-store\nCache-Control: max-age=\"5\"",
        "Cache-Control: max-age=99999999999999999999999",
        "Cache-Control: max-age=-1",
        "Cache-Control: ,,=,max-age",
        "Freshet-Max-Staleness: 500",
        "Freshet-Min-Position: cdc=\"lsn:0/157D6E8\"",
        "Freshet-Min-Position: cdc=\"gtid:0-1-17\", other=\"xid:755\"",
        "Freshet-Position: cdc=\"snap:725:727:725\"",
        "Freshet-Position: cdc=5",
        "Freshet-Position: cdc=\"a\";p=1, cdc=(\"a\" \"b\")",
        "Freshet-Position: cdc=:aGVsbG8=:, other=?1, third=1.5",
        "Freshet-Absent: ?1",
        "Freshet-Absent: ?2\nFreshet-Depends: inventory.product",
        "If-None-Match: W/\"abc\", \"def\", *",
        "Content-Type: application/vnd.freshet.row+json; charset=utf-8",
        "Prefer: wait=0.5, return=minimal",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
