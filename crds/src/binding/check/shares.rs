//! The rules about `spec.caches[].share`.

use super::Faults;
use crate::{
    Cache,
    binding::{CacheSpec, UpstreamSpec},
    quantity, refusals,
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
    pub(in crate::binding) fn shares(
        &mut self,
        caches: &[CacheSpec],
        upstreams: &[UpstreamSpec],
        memory: Option<u64>,
        max_value: u64,
    ) {
        let tables = caches.iter().map(|cache| (&cache.name, cache.share));
        let all = || tables.clone().chain(upstreams.iter().map(|upstream| (&upstream.name, upstream.share)));
        let shares = || all().filter_map(|(name, share)| Some((name, share?)));
        let sum: u64 = shares().map(|(_, share)| u64::from(share)).sum();
        let all_have_one = all().all(|(_, share)| share.is_some());
        if sum + u64::from(!all_have_one) > u64::from(quantity::WHOLE) {
            return self.add("spec.caches", SHARES_FIT);
        }
        let Some(memory) = memory else { return };
        let common = part(memory, left(all().map(|(_, share)| share)));
        for upstream in upstreams {
            let own = upstream.own_memory(memory).unwrap_or(common);
            if upstream.max_bytes.is_some_and(|most| most > own) {
                let path = format!("spec.caches[{}].upstream.maxBytes", upstream.name);
                self.add(path, refusals::MAX_BYTES_FIT);
            }
        }
        if sum == 0 {
            return;
        }
        for (name, share) in shares().filter(|(_, share)| part(memory, *share) < max_value) {
            let part = part(memory, share);
            self.add(format!("spec.caches[{name}].share"), format!("{part} bytes: {VALUES_FIT}"));
        }
        if !all_have_one && common < max_value {
            self.add("spec.caches", format!("{common} bytes are left: {VALUES_FIT}"));
        }
    }
}
