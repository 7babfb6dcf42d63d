//! Which partition a key belongs to.

use std::num::NonZeroU32;

const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;

/// The partition, from 0, that Kafka's producers in Java choose for a key among `partitions` of them, so that whoever
/// writes a key, its records are in one order.
#[must_use]
pub fn partition_of(key: &[u8], partitions: NonZeroU32) -> i32 {
    let positive = murmur2(key) & 0x7fff_ffff;
    // Kafka has no more partitions than that.
    i32::try_from(positive % partitions).unwrap_or_default()
}

/// MurmurHash2 of 32 bits with Kafka's seed.
fn murmur2(key: &[u8]) -> u32 {
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let mut hash = SEED ^ length;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut word = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        word ^= word >> 24;
        hash = hash.wrapping_mul(MULTIPLIER) ^ word.wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        for (place, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of `UtilsTest.testMurmur2` of Kafka's own tests.
    #[test]
    fn hashes_as_kafka_does() {
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn every_partition_is_one_of_them() {
        let count = NonZeroU32::new(7).unwrap();
        let mut seen = [false; 7];
        for key in 0..1000_u32 {
            seen[usize::try_from(partition_of(&key.to_be_bytes(), count)).unwrap()] = true;
        }
        assert_eq!(seen, [true; 7]);
        assert_eq!(partition_of(b"foobar", NonZeroU32::MIN), 0);
        // -790332482 without its sign, of 7.
        assert_eq!(partition_of(b"foobar", count), 1_357_151_166 % 7);
    }
}
