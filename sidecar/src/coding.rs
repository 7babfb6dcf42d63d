//! Content codings: values that are stored compressed, as they were given.
//!
//! Every one is decoded once when it is filled: what isn't what it says, or is too large when decoded, is never stored.

use std::io::Read as _;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy::UptoBlocks,
    FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

/// The largest window that RFC 9659 lets `zstd` need, in bytes.
const ZSTD_WINDOW: u64 = 8 << 20;

/// What is decoded at once, in bytes.
const PIECE: usize = 16 << 10;

/// How a value is compressed.
///
/// `deflate` isn't one of them: what it means is told in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `gzip`.
    Gzip,
    /// `br`.
    Brotli,
    /// `zstd`.
    Zstd,
}

/// Why a value can't be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It isn't of its coding, or not whole, or something is behind it.
    #[error("it can't be decoded")]
    Malformed,
    /// It would be larger than it may be.
    #[error("it is too large")]
    TooLarge,
}

// === impl Coding ===

impl Coding {
    /// All of them, by the names of HTTP.
    pub const NAMES: &str = "gzip, br, zstd";

    /// Of its name in HTTP, in whatever case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match name {
            _ if is("gzip") || is("x-gzip") => Some(Self::Gzip),
            _ if is("br") => Some(Self::Brotli),
            _ if is("zstd") => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Its name in HTTP.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// What these bytes stand for, if that is at most `limit` bytes.
    pub fn decode(self, bytes: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
        let mut plain = Vec::new();
        match self {
            Self::Gzip => gzip(bytes, &mut plain, limit)?,
            Self::Brotli => brotli(bytes, &mut plain, limit)?,
            Self::Zstd => zstd(bytes, &mut plain, limit)?,
        }
        Ok(plain)
    }
}

fn gzip(bytes: &[u8], plain: &mut Vec<u8>, limit: usize) -> Result<(), DecodeError> {
    let most = (limit as u64).saturating_add(1);
    MultiGzDecoder::new(bytes).take(most).read_to_end(plain).map_err(|_| DecodeError::Malformed)?;
    if plain.len() > limit { Err(DecodeError::TooLarge) } else { Ok(()) }
}

fn brotli(bytes: &[u8], plain: &mut Vec<u8>, limit: usize) -> Result<(), DecodeError> {
    // Without the large windows that `br` doesn't have.
    let mut state =
        BrotliState::new_strict(StandardAlloc::default(), StandardAlloc::default(), StandardAlloc::default());
    let (mut available, mut at, mut total) = (bytes.len(), 0, 0);
    let mut piece = vec![0; PIECE];
    loop {
        let (mut room, mut made) = (piece.len(), 0);
        let result = BrotliDecompressStream(
            &mut available,
            &mut at,
            bytes,
            &mut room,
            &mut made,
            &mut piece,
            &mut total,
            &mut state,
        );
        extend(plain, &piece[..made], limit)?;
        match result {
            BrotliResult::NeedsMoreOutput => {}
            BrotliResult::ResultSuccess if available == 0 => return Ok(()),
            _ => return Err(DecodeError::Malformed),
        }
    }
}

fn zstd(mut bytes: &[u8], plain: &mut Vec<u8>, limit: usize) -> Result<(), DecodeError> {
    let malformed = |_: FrameDecoderError| DecodeError::Malformed;
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(ZSTD_WINDOW);
    let mut piece = vec![0; PIECE];
    let mut frames = 0;
    while !bytes.is_empty() {
        match decoder.reset(&mut bytes) {
            Ok(()) => frames += 1,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => {
                let length = usize::try_from(length).map_err(|_| DecodeError::Malformed)?;
                bytes = bytes.get(length..).ok_or(DecodeError::Malformed)?;
                continue;
            }
            Err(error) => return Err(malformed(error)),
        }
        while !decoder.is_finished() || decoder.can_collect() > 0 {
            if !decoder.is_finished() {
                decoder.decode_blocks(&mut bytes, UptoBlocks(1)).map_err(malformed)?;
            }
            loop {
                match decoder.read(&mut piece) {
                    Ok(0) => break,
                    Ok(made) => extend(plain, &piece[..made], limit)?,
                    Err(_) => return Err(DecodeError::Malformed),
                }
            }
        }
        if decoder.get_checksum_from_data().is_some_and(|sum| decoder.get_calculated_checksum() != Some(sum))
        {
            return Err(DecodeError::Malformed);
        }
    }
    if frames == 0 { Err(DecodeError::Malformed) } else { Ok(()) }
}

fn extend(plain: &mut Vec<u8>, piece: &[u8], limit: usize) -> Result<(), DecodeError> {
    if plain.len() + piece.len() > limit {
        return Err(DecodeError::TooLarge);
    }
    plain.extend_from_slice(piece);
    Ok(())
}

#[cfg(test)]
mod tests;
