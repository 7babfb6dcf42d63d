//! Ids of entries as Redis writes them.

use freshet_sidecar::position::EntryId;

use crate::Bound;

/// Reads an id, and what it writes back.
pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let bound = Bound::of(16, input);
    let id = text.parse::<EntryId>();
    drop(bound);
    let Ok(id) = id else { return };
    assert_eq!(id.to_string().parse(), Ok(id));
    let digits = |text: &str| text.trim_start_matches('+').trim_start_matches('0').to_owned();
    let (ms, n) = text.split_once('-').unwrap_or((text, "0"));
    assert_eq!((digits(ms), digits(n)), (digits(&id.ms.to_string()), digits(&id.n.to_string())));
}

/// Ids and what nearly is one.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [
        "0-0",
        "1795233906789-3",
        "18446744073709551615-18446744073709551615",
        "18446744073709551616-0",
        "5",
        "-",
        "1-2-3",
        "0-1",
        " 1-1",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
