//! TLS with a certificate that changes while the server runs.

use std::{fmt, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::ca::Serving;

/// Accepts TLS with whatever leaf is current at the handshake; without one, handshakes fail.
pub fn acceptor(serving: watch::Receiver<Serving>) -> Result<TlsAcceptor, rustls::Error> {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Current(serving)));
    Ok(TlsAcceptor::from(Arc::new(config)))
}

struct Current(watch::Receiver<Serving>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.borrow().leaf.as_ref().map(|leaf| Arc::clone(&leaf.key))
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}
