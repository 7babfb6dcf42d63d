//! Makes the connection that a source's streams are read on, from the binding and what is mounted for it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use freshet_connect::{Certificates, Link, System, Target};
use freshet_crds::{
    binding::{CaSpec, SourceSpec, StreamLayout, UnfitUrl, UrlSpec},
    names,
};

/// How long a connection may take to be made, credentials included.
const CONNECT: Duration = Duration::from_secs(3);

/// Where the Secrets and ConfigMaps that a binding refers to are mounted: `FOLDER/NAME/KEY`.
#[derive(Clone, Debug, Default)]
pub struct Mounts {
    /// The folder of Secrets.
    pub secrets: Option<PathBuf>,
    /// The folder of ConfigMaps.
    pub config_maps: Option<PathBuf>,
}

/// Why there is no connection. No text of it carries a credential.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("{what} in {kind} `{name}`, key `{key}`, can't be read: {why}")]
    Unreadable { what: &'static str, kind: &'static str, name: String, key: String, why: String },
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
    let secret = |what, name: &str, key: &str| read(what, "Secret", mounts.secrets.as_deref(), name, key);
    let text = match &spec.url {
        UrlSpec::Plain(_) => String::new(),
        UrlSpec::Secret(from) => {
            String::from_utf8_lossy(&secret("the URL", &from.name, &from.key)?).into_owned()
        }
    };
    let url = spec.url(|| text)?;
    let authorities = match &spec.tls.ca {
        None => None,
        Some(CaSpec::Secret(from)) => Some(secret("caFrom", &from.name, &from.key)?),
        Some(CaSpec::ConfigMap(from)) => {
            Some(read("caFrom", "ConfigMap", mounts.config_maps.as_deref(), &from.name, &from.key)?)
        }
    };
    let client = match &spec.tls.client_certificate {
        None => None,
        Some(name) => Some((
            secret("clientCertificateFrom", name, names::TLS_CERTIFICATE)?,
            secret("clientCertificateFrom", name, names::TLS_KEY)?,
        )),
    };
    let stream = match &spec.layout {
        StreamLayout::Routed { stream } => Some(stream.clone()),
        StreamLayout::PerTable { .. } => None,
    };
    Ok(Target { url, certificates: Certificates { authorities, client }, stream })
}

fn read(
    what: &'static str,
    kind: &'static str,
    folder: Option<&Path>,
    name: &str,
    key: &str,
) -> Result<Vec<u8>, ConnectError> {
    let fault =
        |why: String| ConnectError::Unreadable { what, kind, name: name.into(), key: key.into(), why };
    let option = if kind == "Secret" { "--secrets" } else { "--config-maps" };
    let folder = folder.ok_or_else(|| fault(format!("no {option} folder was given")))?;
    std::fs::read(folder.join(name).join(key)).map_err(|error| fault(error.kind().to_string()))
}
