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

use crate::ca::Leaf;

/// Accepts TLS with whatever leaf is current at the handshake; without one, handshakes fail.
pub fn acceptor(leaf: watch::Receiver<Option<Arc<Leaf>>>) -> Result<TlsAcceptor, rustls::Error> {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Current(leaf)));
    Ok(TlsAcceptor::from(Arc::new(config)))
}

struct Current(watch::Receiver<Option<Arc<Leaf>>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.borrow().as_ref().map(|leaf| Arc::clone(&leaf.key))
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}
