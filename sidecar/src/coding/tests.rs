use std::io::{Read as _, Write as _};

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::{Coding, DecodeError};

const ALL: [Coding; 3] = [Coding::Gzip, Coding::Brotli, Coding::Zstd];

fn encode(coding: Coding, plain: &[u8]) -> Vec<u8> {
    match coding {
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Coding::Brotli => {
            let mut encoded = Vec::new();
            brotli::CompressorReader::new(plain, 4096, 5, 22).read_to_end(&mut encoded).unwrap();
            encoded
        }
        Coding::Zstd => compress_to_vec(plain, CompressionLevel::Fastest),
    }
}

#[test]
fn names_are_those_of_http() {
    for (name, coding) in [
        ("gzip", Some(Coding::Gzip)),
        ("X-GZip", Some(Coding::Gzip)),
        ("br", Some(Coding::Brotli)),
        ("zstd", Some(Coding::Zstd)),
        ("deflate", None),
        ("identity", None),
        ("gzip, br", None),
        ("", None),
    ] {
        assert_eq!(Coding::named(name), coding, "{name}");
    }
    assert_eq!(ALL.map(Coding::as_str).join(", "), Coding::NAMES);
}

#[test]
fn what_is_too_large_when_decoded_is_refused_before_it_is() {
    let bomb = vec![b'x'; 32 << 20];
    for coding in ALL {
        let encoded = encode(coding, &bomb);
        assert!(encoded.len() < 64 << 10, "{coding:?}: {}", encoded.len());
        assert_eq!(coding.decode(&encoded, 1 << 20), Err(DecodeError::TooLarge), "{coding:?}");
        let exact = encode(coding, &bomb[..1 << 20]);
        assert_eq!(coding.decode(&exact, 1 << 20).unwrap().len(), 1 << 20, "{coding:?}");
        assert_eq!(coding.decode(&exact, (1 << 20) - 1), Err(DecodeError::TooLarge), "{coding:?}");
    }
}

#[test]
fn what_is_not_whole_or_has_something_behind_it_is_refused() {
    for coding in ALL {
        let whole = encode(coding, b"a value, a value, a value");
        for end in 0..whole.len() {
            assert_eq!(coding.decode(&whole[..end], 1000), Err(DecodeError::Malformed), "{coding:?} {end}");
        }
        let behind = [&whole[..], b"?"].concat();
        assert_eq!(coding.decode(&behind, 1000), Err(DecodeError::Malformed), "{coding:?}");
        for other in ALL.into_iter().filter(|other| *other != coding) {
            assert_eq!(other.decode(&whole, 1000), Err(DecodeError::Malformed), "{coding:?} as {other:?}");
        }
    }
}

#[test]
fn several_members_and_frames_are_one_value() {
    for coding in [Coding::Gzip, Coding::Zstd] {
        let two = [encode(coding, b"one "), encode(coding, b"two")].concat();
        assert_eq!(coding.decode(&two, 1000).unwrap(), b"one two", "{coding:?}");
    }
    let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9][..], &encode(Coding::Zstd, b"x")].concat();
    assert_eq!(Coding::Zstd.decode(&skipped, 1000).unwrap(), b"x");
    assert_eq!(Coding::Zstd.decode(&skipped[..10], 1000), Err(DecodeError::Malformed), "nothing is in it");
    assert_eq!(Coding::Zstd.decode(&skipped[..9], 1000), Err(DecodeError::Malformed));
}

#[test]
fn a_window_beyond_what_is_allowed_is_refused() {
    // A frame's header that asks for a window of 16 MiB, and one empty last block.
    let (large, allowed) =
        ([0x28, 0xb5, 0x2f, 0xfd, 0, 14 << 3, 1, 0, 0], [0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3, 1, 0, 0]);
    assert_eq!(Coding::Zstd.decode(&large, 1000), Err(DecodeError::Malformed));
    assert_eq!(Coding::Zstd.decode(&allowed, 1000).unwrap(), b"");
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(plain in proptest::collection::vec(0u8..4, 0..5000)) {
        for coding in ALL {
            prop_assert_eq!(coding.decode(&encode(coding, &plain), 5000).unwrap(), &plain[..]);
        }
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..300), head in 0usize..3) {
        for coding in ALL {
            let whole = encode(coding, b"x");
            let begun = [&whole[..whole.len().min(head * 4)], &bytes[..]].concat();
            let _ = coding.decode(&begun, 1000);
        }
    }

    #[test]
    fn a_flipped_bit_is_no_panic(plain in proptest::collection::vec(0u8..4, 1..500), at: prop::sample::Index, bit in 0u8..8) {
        for coding in ALL {
            let mut encoded = encode(coding, &plain);
            let at = at.index(encoded.len());
            encoded[at] ^= 1 << bit;
            let _ = coding.decode(&encoded, 5000);
        }
    }
}
