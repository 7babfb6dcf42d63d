//! Making authorities and leaves, and deciding when to renew. No I/O; the time is passed in.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::{crypto::ring, pki_types::CertificateDer, pki_types::PrivateKeyDer, sign::CertifiedKey};

use super::pem::{self, Certificate};

/// An authority's life: long, because whoever copied the caBundle elsewhere has to follow.
const AUTHORITY_LIFE: Duration = Duration::from_hours(365 * 24);
/// An authority is renewed when less than this is left.
const AUTHORITY_RENEWAL: Duration = Duration::from_hours(120 * 24);
/// A leaf's life: short, since nobody has to know it and its key never leaves the process.
const LEAF_LIFE: Duration = Duration::from_hours(7 * 24);
/// A leaf is renewed when less than this is left.
const LEAF_RENEWAL: Duration = Duration::from_hours(84);
/// Certificates begin so much before they are made, for clocks that run behind ours.
const BACKDATED: Duration = Duration::from_hours(1);
/// How long after it appeared in the caBundle an authority signs nothing while another one is trusted: until every API
/// server has learned of it, which takes seconds.
pub const SETTLING: Duration = Duration::from_secs(30);

/// Why a certificate couldn't be made or read.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// Making or signing failed.
    #[error("can't make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// The TLS library doesn't take what was made.
    #[error("can't use the certificate: {0}")]
    Use(#[from] rustls::Error),
    /// A Secret without whole authorities.
    #[error("{0} is missing or not what it should be")]
    Content(&'static str),
}

/// A certificate authority with its key.
#[derive(Clone)]
pub struct Authority {
    certificate: Certificate,
    key_pem: String,
}

/// The newest authority and the one before it.
#[derive(Clone)]
pub struct Authorities {
    newest: Authority,
    previous: Option<Authority>,
}

/// A server's certificate with its key.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// For the TLS server.
    pub key: Arc<CertifiedKey>,
    /// Its end.
    pub not_after: Timestamp,
    /// Which authority signed it.
    pub(super) signer: Certificate,
}

// === impl Authority ===

impl Authority {
    /// A new authority.
    pub fn generate(now: Timestamp) -> Result<Self, CaError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        // With its time, so that two authorities are never mistaken for each other by name.
        name.push(DnType::CommonName, format!("Freshet webhook CA {now:.0}"));
        params.distinguished_name = name;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        (params.not_before, params.not_after) = (date(now - BACKDATED), date(now + AUTHORITY_LIFE));
        let der = params.self_signed(&key)?.der().to_vec();
        let certificate = pem::certificate(der).ok_or(CaError::Content("the new authority"))?;
        Ok(Self { certificate, key_pem: key.serialize_pem() })
    }

    /// Signs a server's certificate for these DNS names, with a new key.
    pub fn sign(&self, hosts: &[String], now: Timestamp) -> Result<Leaf, CaError> {
        let issuer = CertificateDer::from(self.certificate.der.clone());
        let issuer = Issuer::from_ca_cert_der(&issuer, KeyPair::from_pem(&self.key_pem)?)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(hosts)?;
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, "freshet-webhook");
        params.distinguished_name = name;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let not_after = (now + LEAF_LIFE).min(self.certificate.not_after);
        (params.not_before, params.not_after) = (date(now - BACKDATED), date(not_after));
        let chain = vec![params.signed_by(&key, &issuer)?.der().clone()];
        let private =
            PrivateKeyDer::try_from(key.serialize_der()).map_err(|_| CaError::Content("the new key"))?;
        let key = Arc::new(CertifiedKey::from_der(chain, private, &ring::default_provider())?);
        Ok(Leaf { key, not_after, signer: self.certificate.clone() })
    }

    /// Its end.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.certificate.not_after
    }

    pub(super) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn read(data: &BTreeMap<String, Vec<u8>>, names: [&'static str; 2]) -> Result<Self, CaError> {
        let [certificate_name, key_name] = names;
        let text = data.get(certificate_name).ok_or(CaError::Content(certificate_name))?;
        let certificate =
            pem::certificates(text).into_iter().next().ok_or(CaError::Content(certificate_name))?;
        let key =
            data.get(key_name).and_then(|key| str::from_utf8(key).ok()).ok_or(CaError::Content(key_name))?;
        KeyPair::from_pem(key).map_err(|_| CaError::Content(key_name))?;
        Ok(Self { certificate, key_pem: key.to_owned() })
    }
}

// === impl Authorities ===

/// The names of certificate and key in the Secret.
const NEWEST: [&str; 2] = ["ca.crt", "ca.key"];
const PREVIOUS: [&str; 2] = ["previous.crt", "previous.key"];

impl Authorities {
    /// The first authority.
    pub fn first(now: Timestamp) -> Result<Self, CaError> {
        Ok(Self { newest: Authority::generate(now)?, previous: None })
    }

    /// Reads a Secret's data.
    pub fn read(data: &BTreeMap<String, Vec<u8>>) -> Result<Self, CaError> {
        // Without the previous one, what it signed is trusted no longer; that is no reason to stop.
        Ok(Self { newest: Authority::read(data, NEWEST)?, previous: Authority::read(data, PREVIOUS).ok() })
    }

    /// As a Secret's data.
    #[must_use]
    pub fn write(&self) -> BTreeMap<String, String> {
        let pairs = [(NEWEST, Some(&self.newest)), (PREVIOUS, self.previous.as_ref())];
        let pairs = pairs.into_iter().filter_map(|(names, authority)| Some((names, authority?)));
        pairs
            .flat_map(|([certificate, key], authority)| {
                [
                    (certificate.to_owned(), authority.certificate.encode()),
                    (key.to_owned(), authority.key_pem.clone()),
                ]
            })
            .collect()
    }

    /// The authorities after a renewal, if one is due.
    pub fn renewed(&self, now: Timestamp) -> Result<Option<Self>, CaError> {
        if now + AUTHORITY_RENEWAL < self.newest.not_after() {
            return Ok(None);
        }
        Ok(Some(Self { newest: Authority::generate(now)?, previous: Some(self.newest.clone()) }))
    }

    /// The end of the newest one.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.newest.not_after()
    }

    /// The newest one first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Authority> {
        [Some(&self.newest), self.previous.as_ref()].into_iter().flatten()
    }
}

// === impl Leaf ===

impl Leaf {
    pub(super) fn ends_soon(&self, now: Timestamp) -> bool {
        now + LEAF_RENEWAL >= self.not_after
    }
}

fn date(at: Timestamp) -> time::OffsetDateTime {
    // Both types hold every second of the years in question.
    time::OffsetDateTime::from_unix_timestamp(at.as_second()).unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
}
