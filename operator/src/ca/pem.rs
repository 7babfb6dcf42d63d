//! Certificates as text.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::jiff::Timestamp;
use x509_parser::pem::Pem;

/// A certificate and how long it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    pub(super) der: Vec<u8>,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

/// The certificates in a PEM text; what isn't one is left out.
pub(super) fn certificates(text: &[u8]) -> Vec<Certificate> {
    Pem::iter_from_buffer(text).filter_map(|block| certificate(block.ok()?.contents)).collect()
}

/// Reads one certificate from its DER form.
pub(super) fn certificate(der: Vec<u8>) -> Option<Certificate> {
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).ok()?;
    let validity = parsed.validity();
    let not_before = Timestamp::from_second(validity.not_before.timestamp()).ok()?;
    let not_after = Timestamp::from_second(validity.not_after.timestamp()).ok()?;
    Some(Certificate { der, not_before, not_after })
}

impl Certificate {
    /// As PEM.
    pub(super) fn encode(&self) -> String {
        let text = STANDARD.encode(&self.der);
        let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
        for line in text.as_bytes().chunks(64) {
            pem.extend(line.iter().map(|byte| char::from(*byte)));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
        pem
    }
}
