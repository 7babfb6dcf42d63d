//! The rules about `spec.caches[].share`.

use super::Faults;
use crate::{
    Cache,
    binding::CacheSpec,
    quantity,
    shares::{SHARE_FORM, SHARES_FIT, VALUES_FIT, left, part},
};

impl Faults {
    pub(super) fn share(&mut self, path: &str, cache: &Cache) -> Option<u32> {
        let text = cache.share.as_ref()?;
        let share = quantity::share(text);
        if share.is_none() {
            self.add(format!("{path}.share"), format!("`{text}`: {SHARE_FORM}"));
        }
        share
    }

    /// Whether the shares are no more than there is, and the largest value fits each part.
    pub(in crate::binding) fn shares(&mut self, caches: &[CacheSpec], memory: Option<u64>, max_value: u64) {
        let shares = || caches.iter().filter_map(|cache| cache.share.map(|share| (cache, share)));
        let sum: u64 = shares().map(|(_, share)| u64::from(share)).sum();
        let all_have_one = caches.iter().all(|cache| cache.share.is_some());
        if sum + u64::from(!all_have_one) > u64::from(quantity::WHOLE) {
            return self.add("spec.caches", SHARES_FIT);
        }
        let Some(memory) = memory.filter(|_| sum > 0) else { return };
        for (cache, share) in shares().filter(|(_, share)| part(memory, *share) < max_value) {
            let part = part(memory, share);
            self.add(format!("spec.caches[{}].share", cache.name), format!("{part} bytes: {VALUES_FIT}"));
        }
        let common = part(memory, left(caches));
        if !all_have_one && common < max_value {
            self.add("spec.caches", format!("{common} bytes are left: {VALUES_FIT}"));
        }
    }
}
