//! TLS: rustls with ring, the certificates as they are given, and what its errors mean.

use std::{fmt, io, sync::Arc};

use freshet_crds::redis_url::HostPort;
use rustls::{
    AlertDescription as Alert, CertificateError, ClientConfig, ConfigBuilder, Error, RootCertStore,
    WantsVerifier,
    client::WantsClientCert,
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName,
        pem::{self, PemObject as _},
    },
};

use crate::error::ConnectError;

mod named;

/// Certificates as they are given: PEM. Its `Debug` shows none of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Certificates {
    /// Those of the authorities that a server's must come from; without it, Mozilla's list as it was when this program
    /// was built, since its image holds no other.
    pub authorities: Option<Vec<u8>>,
    /// Our own chain and its private key.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("authorities", &self.authorities.is_some())
            .field("client", &self.client.is_some())
            .finish()
    }
}

/// A client's side of TLS: ring, TLS 1.2 and 1.3, and what these certificates say of whom to trust.
pub fn client(certificates: &Certificates) -> Result<ClientConfig, ConnectError> {
    with_our_own(builder()?.with_root_certificates(trusted(certificates)?), certificates)
}

/// The same for a server whose certificate has to be of this name, whatever address it is reached at.
pub(crate) fn client_of(
    name: ServerName<'static>,
    certificates: &Certificates,
) -> Result<ClientConfig, ConnectError> {
    let verifier = named::verifier(name, trusted(certificates)?)
        .map_err(|error| ConnectError::BadAuthorities(error.to_string()))?;
    let builder = builder()?.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    with_our_own(builder, certificates)
}

/// The same where no server's certificate is to be believed.
pub(crate) fn trusting_nobody() -> Result<ClientConfig, ConnectError> {
    Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, ConnectError> {
    ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| ConnectError::BadAuthorities(text(&error)))
}

/// The authorities that the server's certificate must come from.
fn trusted(certificates: &Certificates) -> Result<RootCertStore, ConnectError> {
    let mut trusted = RootCertStore::empty();
    match &certificates.authorities {
        None => trusted.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for certificate in chain(pem).map_err(ConnectError::BadAuthorities)? {
                trusted.add(certificate).map_err(|error| ConnectError::BadAuthorities(text(&error)))?;
            }
        }
    }
    Ok(trusted)
}

fn with_our_own(
    config: ConfigBuilder<ClientConfig, WantsClientCert>,
    certificates: &Certificates,
) -> Result<ClientConfig, ConnectError> {
    let Some((certificate, key)) = &certificates.client else { return Ok(config.with_no_client_auth()) };
    let bad = ConnectError::BadClientCertificate;
    let chain = chain(certificate).map_err(|why| bad(format!("tls.crt: {why}")))?;
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|error| bad(format!("tls.key: {}", fault(&error))))?;
    config.with_client_auth_cert(chain, key).map_err(|error| match error {
        Error::InconsistentKeys(_) => bad("tls.key isn't the key of tls.crt".into()),
        error => bad(text(&error)),
    })
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| fault(&error))?;
    if chain.is_empty() { Err("there is no certificate (PEM) in it".into()) } else { Ok(chain) }
}

/// Without what was read: it may be a key.
fn fault(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "there is none (PEM) in it".into(),
        pem::Error::MissingSectionEnd { .. } => "it is cut off (PEM without its END line)".into(),
        _ => "it isn't PEM".into(),
    }
}

/// The name that a server's certificate must have.
pub(crate) fn server_name(at: &HostPort) -> Result<ServerName<'static>, ConnectError> {
    let host = at.host.trim_end_matches('.').to_owned();
    ServerName::try_from(host)
        .map_err(|_| ConnectError::Untrusted(at.clone(), "no certificate can have such a name".into()))
}

/// What an error of an encrypted connection to `at` means.
#[must_use]
pub fn meaning(error: &io::Error, at: &HostPort) -> ConnectError {
    let at = at.clone();
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                ConnectError::Tls(at, "it closes the connection".into())
            }
            kind => ConnectError::NoConnection(at, kind.to_string()),
        };
    };
    match tls {
        Error::InvalidMessage(_) => ConnectError::NotTls(at),
        Error::InvalidCertificate(why) => ConnectError::Untrusted(at, untrusted(why)),
        Error::AlertReceived(Alert::CertificateRequired | Alert::NoCertificate) => {
            ConnectError::ClientRefused(
                at,
                "it wants a client's certificate: clientCertificateFrom names one".into(),
            )
        }
        // Before TLS 1.3 that is also how a missing one is answered.
        Error::AlertReceived(
            alert @ (Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError
            | Alert::HandshakeFailure),
        ) => ConnectError::ClientRefused(at, format!("it doesn't take our certificate ({alert:?})")),
        error => ConnectError::Tls(at, text(error)),
    }
}

fn untrusted(why: &CertificateError) -> String {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".into(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it isn't valid yet".into()
        }
        CertificateError::NotValidForName => "it is for another name".into(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<_> = presented.iter().take(8).map(String::as_str).collect();
            format!("it is for {}, not for {}", names.join(", "), expected.to_str())
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "it comes from no authority in caFrom (nor, without it, from one that browsers trust)".into()
        }
        CertificateError::Revoked => "it is revoked".into(),
        other => format!("{other}"),
    }
}

fn text(error: &Error) -> String {
    error.to_string().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Vec<u8>, Vec<u8>) {
        let made = rcgen::generate_simple_self_signed(["redis".to_owned()]).unwrap();
        (made.cert.pem().into_bytes(), made.signing_key.serialize_pem().into_bytes())
    }

    fn fails(authorities: Option<&[u8]>, client: Option<(&[u8], &[u8])>) -> String {
        let client = client.map(|(c, k)| (c.to_vec(), k.to_vec()));
        let given = Certificates { authorities: authorities.map(<[u8]>::to_vec), client };
        self::client(&given).expect_err("it can't be used").to_string()
    }

    #[test]
    fn certificates_that_can_t_be_used_are_told_without_them() {
        let ((certificate, key), (_, other)) = (pair(), pair());
        assert_eq!(fails(Some(b""), None), "caFrom can't be used: there is no certificate (PEM) in it");
        assert_eq!(fails(Some(&key), None), "caFrom can't be used: there is no certificate (PEM) in it");
        let cut = &certificate[..certificate.len() / 2];
        assert!(fails(Some(cut), None).contains("cut off"));
        assert!(fails(None, Some((&certificate, &certificate))).contains("tls.key: there is none"));
        assert!(fails(None, Some((b"hush", &key))).contains("tls.crt: there is no certificate"));
        assert_eq!(
            fails(None, Some((&certificate, &other))),
            "clientCertificateFrom can't be used: tls.key isn't the key of tls.crt"
        );
        let given = Certificates { authorities: Some(certificate.clone()), client: Some((certificate, key)) };
        client(&given).unwrap();
        client(&Certificates::default()).unwrap();
        assert!(!format!("{given:?}").contains("BEGIN"), "{given:?}");
    }
}
