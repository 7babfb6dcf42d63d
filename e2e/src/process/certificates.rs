//! Certificates of an authority of the test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

const DAY: Duration = Duration::from_hours(24);

/// An authority that issues certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, in PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
    /// The certificate of the authority that issued it.
    pub authority: String,
}

impl Authority {
    /// An authority that nobody trusts yet.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        Ok(Self(CertifiedIssuer::self_signed(params, key).context("making an authority")?))
    }

    /// Its own certificate, which makes whoever has it trust those that it issues.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for servers with these names and addresses, and for clients; valid from yesterday to tomorrow.
    pub fn issue(&self, names: &[&str]) -> Result<Certificate> {
        self.issue_until(names, SystemTime::now() + DAY)
    }

    /// The same, expired yesterday.
    pub fn issue_expired(&self, names: &[&str]) -> Result<Certificate> {
        self.issue_until(names, SystemTime::now() - DAY)
    }

    fn issue_until(&self, names: &[&str], until: SystemTime) -> Result<Certificate> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "redis");
        params.not_before = (SystemTime::now() - 2 * DAY).into();
        params.not_after = until.into();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.0).context("issuing a certificate")?;
        Ok(Certificate { certificate: certificate.pem(), key: key.serialize_pem(), authority: self.pem() })
    }
}

/// Writes a text as a file of this folder and returns its path.
pub(super) fn file(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}
