//! What producers and brokers compress batches by.

use std::io::Read;

use bytes::{Buf as _, Bytes};
use flate2::read::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder;
use ruzstd::decoding::StreamingDecoder;

/// The largest batch, decompressed, in bytes: far above what brokers take (1 MiB compressed, unless told otherwise),
/// far below what a machine has.
const LARGEST: usize = 256 << 20;

/// How the stream of Java's snappy begins: 8 bytes of magic, then two version numbers of 4 bytes each.
const XERIAL: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEADER: usize = 16;

/// The records of a batch as they were before `codec`, the lowest three bits of its attributes.
pub(super) fn decompress(codec: i16, bytes: Bytes) -> Result<Bytes, &'static str> {
    match codec {
        0 => Ok(bytes),
        1 => all(MultiGzDecoder::new(&*bytes)),
        2 => snappy(bytes),
        3 => all(FrameDecoder::new(&*bytes)),
        4 => all(StreamingDecoder::new(&*bytes).map_err(|_| "zstd that can't be decompressed")?),
        _ => Err("an unknown compression"),
    }
}

fn all(from: impl Read) -> Result<Bytes, &'static str> {
    let mut plain = Vec::new();
    let most = LARGEST as u64 + 1;
    from.take(most).read_to_end(&mut plain).map_err(|_| "a batch that can't be decompressed")?;
    if plain.len() > LARGEST { Err("a batch that is too large") } else { Ok(plain.into()) }
}

/// Either a stream of blocks as Java writes it, or one bare block as some others do.
fn snappy(mut bytes: Bytes) -> Result<Bytes, &'static str> {
    let mut plain = Vec::new();
    if !bytes.starts_with(XERIAL) {
        block(&bytes, &mut plain)?;
        return Ok(plain.into());
    }
    let cut_off = "snappy that is cut off";
    if bytes.len() < XERIAL_HEADER {
        return Err(cut_off);
    }
    bytes.advance(XERIAL_HEADER);
    while !bytes.is_empty() {
        let length = bytes.try_get_u32().map_err(|_| cut_off)? as usize;
        if length > bytes.len() {
            return Err(cut_off);
        }
        block(&bytes.split_to(length), &mut plain)?;
    }
    Ok(plain.into())
}

fn block(bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), &'static str> {
    let bad = "snappy that can't be decompressed";
    let length = snap::raw::decompress_len(bytes).map_err(|_| bad)?;
    let begin = plain.len();
    if length > LARGEST - begin.min(LARGEST) {
        return Err("a batch that is too large");
    }
    plain.resize(begin + length, 0);
    snap::raw::Decoder::new().decompress(bytes, &mut plain[begin..]).map_err(|_| bad)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snappy_comes_in_blocks_or_bare() {
        let compressed = |text: &[u8]| snap::raw::Encoder::new().compress_vec(text).unwrap();
        let (one, two) = (compressed(b"one "), compressed(b"two"));
        assert_eq!(decompress(2, one.clone().into()).unwrap(), "one ");
        let mut stream = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
        for block in [&one, &two] {
            stream.extend(u32::try_from(block.len()).unwrap().to_be_bytes());
            stream.extend(block);
        }
        assert_eq!(decompress(2, stream.clone().into()).unwrap(), "one two");
        for cut in [10, 18, stream.len() - 1] {
            decompress(2, stream[..cut].to_vec().into()).unwrap_err();
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_unpacked() {
        // The length that a block of snappy begins with: 4 GiB less one.
        let claims = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0];
        assert_eq!(decompress(2, Bytes::copy_from_slice(&claims)), Err("a batch that is too large"));
    }

    #[test]
    fn what_is_no_compression_is_told() {
        for codec in 1..=7 {
            decompress(codec, Bytes::from_static(b"not compressed")).unwrap_err();
        }
        assert_eq!(decompress(0, Bytes::from_static(b"as it is")).unwrap(), "as it is");
    }
}
