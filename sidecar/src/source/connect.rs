//! Makes the connection that a source's streams are read on, from the binding and what is mounted for it.

use std::time::Duration;

use freshet_connect::{Certificates, Link, System, Target};
use freshet_crds::{
    binding::{SourceSpec, StreamLayout, UnfitUrl, UrlSpec},
    names,
};

use crate::mounts::{Mounts, Unreadable};

/// How long a connection may take to be made, credentials included.
const CONNECT: Duration = Duration::from_secs(3);

/// Why there is no connection. No text of it carries a credential.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error(transparent)]
    Mount(#[from] Unreadable),
    #[error(transparent)]
    Url(#[from] UnfitUrl),
    #[error(transparent)]
    Connect(#[from] freshet_connect::ConnectError),
}

/// Connects to a source's Redis. All that is mounted is read each time, since it changes.
pub(super) async fn connect(spec: &SourceSpec, mounts: &Mounts) -> Result<Link, ConnectError> {
    let target = target(spec, mounts)?;
    Ok(freshet_connect::connect(&target, &System, CONNECT).await?)
}

fn target(spec: &SourceSpec, mounts: &Mounts) -> Result<Target, ConnectError> {
    let text = match &spec.url {
        UrlSpec::Plain(_) => String::new(),
        UrlSpec::Secret(from) => {
            String::from_utf8_lossy(&mounts.secret("the URL", &from.name, &from.key)?).into_owned()
        }
    };
    let url = spec.url(|| text)?;
    let authorities = mounts.authorities(spec.tls.ca.as_ref())?;
    let client = match &spec.tls.client_certificate {
        None => None,
        Some(name) => Some((
            mounts.secret("clientCertificateFrom", name, names::TLS_CERTIFICATE)?,
            mounts.secret("clientCertificateFrom", name, names::TLS_KEY)?,
        )),
    };
    let stream = match &spec.layout {
        StreamLayout::Routed { stream } => Some(stream.clone()),
        StreamLayout::PerTable { .. } => None,
    };
    Ok(Target { url, certificates: Certificates { authorities, client }, stream })
}
