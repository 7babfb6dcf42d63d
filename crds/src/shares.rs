//! How `memory` is divided: the part of each cache that has a `share`, and what is left for the others.
//!
//! Whatever one cache holds, it pushes nothing out of another's part.

use crate::{
    binding::{Binding, CacheSpec, UpstreamSpec},
    quantity::{SHARE, WHOLE},
};

pub(crate) const SHARE_FORM: &str = "share is a part of memory such as 25% or 0.5%, more than zero and at most 100%, with at most three decimals";
pub(crate) const SHARES_FIT: &str = "the caches' shares add up to at most 100% of memory, and to less if any cache has none: lower them, or give \
                                     each cache one";
pub(crate) const VALUES_FIT: &str = "maxValue has to fit each cache's share of memory, and what the shares leave for the other caches: raise the \
                                     share or memory, or lower maxValue";

/// The CEL expression of a cache's share in thousandths of a percent, if it has one that can be read.
fn thousandths(cache: &str) -> String {
    format!("int(double({cache}.share.substring(0, {cache}.share.size() - 1)) * 1000.0 + 0.5)")
}

/// The API server takes a filtered list for one without a bound, and the rule for one that costs too much.
fn sum() -> String {
    let thousandths = thousandths("s");
    format!("self.caches.map(s, has(s.share) && s.share.matches('{SHARE}') ? {thousandths} : 0).sum()")
}

/// The CEL rule of a binding that its shares are no more than there is.
pub(crate) fn sum_rule() -> String {
    format!("{} + (self.caches.all(c, has(c.share)) ? 0 : 1) <= {WHOLE}", sum())
}

/// The CEL rule of a binding that the largest value fits each part. Of texts that can't be read, their own rules tell.
pub(crate) fn values_rule() -> String {
    let (memory, value) = ("self.memory", "self.sidecar.maxValue");
    let is_read = |text: &str| format!("isQuantity({text}) && quantity({text}).isInteger()");
    let fits = |share: &str| {
        format!("quantity({value}).asInteger() * {WHOLE} <= quantity({memory}).asInteger() * ({share})")
    };
    format!(
        "!self.caches.exists(c, has(c.share)) || !({}) || !({}) || \
         (self.caches.all(c, !has(c.share) || !c.share.matches('{SHARE}') || {}) && \
         (self.caches.all(c, has(c.share)) || {}))",
        is_read(memory),
        is_read(value),
        fits(&thousandths("c")),
        fits(&format!("{WHOLE} - {}", sum())),
    )
}

/// The CEL rule of a binding that the largest answer of each upstream fits the cache's part.
pub(crate) fn answers_rule() -> String {
    let is_read = |text: &str| format!("isQuantity({text}) && quantity({text}).isInteger()");
    let (memory, answer) = ("self.memory", "c.upstream.maxBytes");
    format!(
        "!({}) || self.caches.all(c, !has(c.upstream) || !has({answer}) || !({}) || (has(c.share) && !c.share.matches('{SHARE}')) || \
         quantity({answer}).asInteger() * {WHOLE} <= quantity({memory}).asInteger() * (has(c.share) ? {} : {WHOLE} - {}))",
        is_read(memory),
        is_read(answer),
        thousandths("c"),
        sum(),
    )
}

/// What shares leave of the whole, in thousandths of a percent: nothing if they are more than that.
pub(crate) fn left(shares: impl IntoIterator<Item = Option<u32>>) -> u32 {
    shares.into_iter().flatten().fold(WHOLE, u32::saturating_sub)
}

/// So much of `memory`, in bytes, rounded down.
pub(crate) fn part(memory: u64, share: u32) -> u64 {
    u64::try_from(u128::from(memory) * u128::from(share) / u128::from(WHOLE)).unwrap_or(memory)
}

impl CacheSpec {
    /// Bytes of a binding's `memory` that are this cache's own, if it has a share.
    #[must_use]
    pub fn own_memory(&self, memory: u64) -> Option<u64> {
        self.share.map(|share| part(memory, share))
    }
}

impl UpstreamSpec {
    /// Bytes of a binding's `memory` that are this cache's own, if it has a share.
    #[must_use]
    pub fn own_memory(&self, memory: u64) -> Option<u64> {
        self.share.map(|share| part(memory, share))
    }
}

impl Binding {
    /// Bytes that all caches without a share may hold together.
    #[must_use]
    pub fn common_memory(&self) -> u64 {
        let upstreams = self.upstreams.iter().map(|upstream| upstream.share);
        part(self.memory, left(self.caches.iter().map(|cache| cache.share).chain(upstreams)))
    }
}

#[cfg(test)]
mod tests {
    use super::part;
    use crate::{binding::Binding, tests::shop_with};

    #[test]
    fn a_share_is_a_part_of_memory_and_the_rest_is_for_all_others() {
        let object = shop_with("ttl: 10m", "ttl: 10m\n    share: 12.5%");
        let binding = Binding::parse(&object).unwrap();
        assert_eq!(binding.caches[0].own_memory(binding.memory), Some(8 << 20));
        assert_eq!(binding.caches[1].own_memory(binding.memory), None);
        assert_eq!(binding.common_memory(), 56 << 20);
        // The largest memory there is doesn't overflow.
        assert_eq!(part(1 << 40, 100_000), 1 << 40);
        assert_eq!(part(1 << 40, 1), (1 << 40) / 100_000);
    }
}
