//! Values that are sent compressed: decoded within bounds, or refused.
//!
//! An input is a letter for the coding and what is in it.

use freshet_sidecar::coding::{Coding, DecodeError};

/// The most that may come out, in bytes.
const LIMIT: usize = 64 << 10;

/// Decodes it, with more and with less room.
pub(crate) fn run(input: &[u8]) {
    let Some((letter, bytes)) = input.split_first() else { return };
    let coding = match letter {
        b'g' => Coding::Gzip,
        b'b' => Coding::Brotli,
        _ => Coding::Zstd,
    };
    let decoded = coding.decode(bytes, LIMIT);
    if let Ok(plain) = &decoded {
        assert!(plain.len() <= LIMIT);
        assert_eq!(coding.decode(bytes, plain.len()).as_ref(), Ok(plain), "with just the room that it takes");
        if let Some(less) = plain.len().checked_sub(1) {
            assert_eq!(coding.decode(bytes, less), Err(DecodeError::TooLarge));
        }
    }
    // Not even a byte more is looked over.
    if decoded.is_ok() && coding != Coding::Zstd {
        let behind = [bytes, b"?"].concat();
        assert!(coding.decode(&behind, LIMIT).is_err(), "something is behind it");
    }
}

/// What each coding makes of a short text, and headers that ask for much.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let gzip = b"g\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\x4b\x04\x00\x43\xbe\xb7\xe8\x01\x00\x00\x00";
    let stored = b"b\x0b\x00\x80a\x03";
    let raw = b"z\x28\xb5\x2f\xfd\x20\x01\x09\x00\x00a";
    let window = b"z\x28\xb5\x2f\xfd\x00\x70\x01\x00\x00";
    let skipped = b"z\x50\x2a\x4d\x18\x02\x00\x00\x00ab\x28\xb5\x2f\xfd\x20\x01\x09\x00\x00a";
    [&gzip[..], stored, raw, window, skipped, b"g", b"b\x06", b"z"].map(<[u8]>::to_vec).to_vec()
}
