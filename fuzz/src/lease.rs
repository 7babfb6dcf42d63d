//! Leases as clients bring them back: only what this process sealed is one.

use freshet_sidecar::{
    clock::Tick,
    coherence::{LeaseNumber, RowHash, Seq},
    lease::{Lease, Sealer},
};

use crate::Bound;

/// Opens what isn't ours, and then ours with what it says.
pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // A new one each time: a fuzzer sees what is compared, and would learn the key of one that stays.
    let ours = Sealer::default();
    let bound = Bound::of(16, input);
    assert_eq!(ours.open(text), None, "{text} was never sealed");
    drop(bound);
    let number = |at: usize| {
        let mut bytes = [0; 8];
        let found = input.get(at..).unwrap_or_default();
        let length = found.len().min(8);
        bytes[..length].copy_from_slice(&found[..length]);
        u64::from_le_bytes(bytes)
    };
    let lease = Lease {
        cache: u32::try_from(number(0) >> 32).unwrap_or_default(),
        row: RowHash(number(8)),
        seq: Seq(number(16)),
        at: Tick(number(24)),
        number: LeaseNumber(number(32)),
    };
    let sealed = ours.seal(&lease);
    assert_eq!(ours.open(&sealed), Some(lease));
    // Any one letter replaced by the input's is another text, and no lease.
    for (i, letter) in text.char_indices().filter(|(i, letter)| *i < sealed.len() && letter.is_ascii()) {
        let mut forged = sealed.clone();
        forged.replace_range(i..=i, letter.encode_utf8(&mut [0; 4]));
        assert!(forged == sealed || ours.open(&forged).is_none(), "{forged} was forged");
    }
}

/// Leases of other processes, and what looks like one.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let lease = Lease { cache: 3, row: RowHash(u64::MAX), seq: Seq(9), at: Tick(77), number: LeaseNumber(1) };
    let foreign = Sealer::default().seal(&lease);
    [foreign.as_str(), &foreign[1..], "", "A", "AAAA", "not base64!", "////", "===="]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
}
