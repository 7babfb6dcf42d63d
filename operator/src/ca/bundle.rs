//! What the API server is told to trust.

use k8s_openapi::jiff::Timestamp;

use super::{Authorities, pem};

/// So many certificates are enough: the newest, the previous, and what the caBundle had from before someone removed
/// the Secret.
const LIMIT: usize = 4;

/// The caBundle: our certificates, then those of `current` that still hold, since a replica may be serving with a
/// leaf of theirs.
#[must_use]
pub fn bundle(authorities: &Authorities, current: &[u8], now: Timestamp) -> Vec<u8> {
    let mut all: Vec<_> = authorities.all().map(|authority| authority.certificate().clone()).collect();
    for certificate in pem::certificates(current) {
        if !all.contains(&certificate) {
            all.push(certificate);
        }
    }
    let holding = all.iter().filter(|certificate| certificate.not_after > now);
    holding.take(LIMIT).map(pem::Certificate::encode).collect::<String>().into_bytes()
}
