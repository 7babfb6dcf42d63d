//! What the API server trusts, as one replica sees it, and whom it may therefore sign with.

use k8s_openapi::{api::admissionregistration::v1::MutatingWebhookConfiguration, jiff::Timestamp};

use super::{
    Authorities, Authority, Leaf, SETTLING,
    pem::{self, Certificate},
};

/// What was seen in the webhook configuration, and since when. At first nothing is trusted.
#[derive(Debug, Default)]
pub struct Trust {
    /// Whether there is no configuration, or none with an entry, so that nobody asks us.
    free: bool,
    published: Vec<(Certificate, Timestamp)>,
}

// === impl Trust ===

impl Trust {
    /// Takes notice of the webhook configuration as it is now; `None`: there is none, since injection is switched off.
    pub fn see(&mut self, configuration: Option<&MutatingWebhookConfiguration>, now: Timestamp) {
        let entries = configuration.into_iter().flat_map(|c| c.webhooks.iter().flatten());
        let bundles: Vec<_> = entries
            .map(|entry| entry.client_config.ca_bundle.as_ref().map(|bundle| pem::certificates(&bundle.0)))
            .map(Option::unwrap_or_default)
            .collect();
        self.free = bundles.is_empty();
        // Each entry calls us with its own bundle, so only what is in all of them will do.
        let (first, rest) =
            bundles.split_first().map_or((&[][..], &[][..]), |(f, rest)| (f.as_slice(), rest));
        let everywhere = first.iter().filter(|c| rest.iter().all(|bundle| bundle.contains(c)));
        let since = |c: &Certificate| {
            self.published.iter().find(|(known, _)| known == c).map_or(now, |(_, since)| *since)
        };
        self.published = everywhere.map(|c| (c.clone(), since(c))).collect();
    }

    /// Whether API servers that know the configuration take this leaf.
    #[must_use]
    pub fn trusts(&self, leaf: &Leaf, now: Timestamp) -> bool {
        now < leaf.not_after && self.since(&leaf.signer).is_some()
    }

    /// The authority with which to sign a new leaf now, if one is due and there is one that is trusted.
    ///
    /// As long as the present leaf will do, a new authority has to have been published for [`SETTLING`].
    #[must_use]
    pub fn next_signer<'a>(
        &self,
        authorities: &'a Authorities,
        present: Option<&Leaf>,
        now: Timestamp,
    ) -> Option<&'a Authority> {
        let usable = || {
            authorities.all().filter_map(|authority| {
                let since = self.since(authority.certificate())?;
                (now < authority.not_after()).then_some((authority, now >= since + SETTLING))
            })
        };
        let settled = usable().find(|(_, settled)| *settled);
        let (best, settled) = settled.or_else(|| usable().next())?;
        let due = match present.filter(|leaf| self.trusts(leaf, now)) {
            None => true,
            Some(leaf) => leaf.ends_soon(now) || (settled && leaf.signer != *best.certificate()),
        };
        due.then_some(best)
    }

    fn since(&self, certificate: &Certificate) -> Option<Timestamp> {
        if self.free {
            return Some(Timestamp::UNIX_EPOCH);
        }
        self.published.iter().find(|(known, _)| known == certificate).map(|(_, since)| *since)
    }
}
