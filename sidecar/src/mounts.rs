//! What is mounted for a binding: keys of Secrets and ConfigMaps, read each time they are needed, since they change.

use std::path::{Path, PathBuf};

use freshet_connect::Certificates;
use freshet_crds::{
    binding::{CaSpec, TlsSpec, UrlSpec},
    names,
};

/// Where the Secrets and ConfigMaps that a binding refers to are mounted: `FOLDER/NAME/KEY`.
#[derive(Clone, Debug, Default)]
pub struct Mounts {
    /// The folder of Secrets.
    pub secrets: Option<PathBuf>,
    /// The folder of ConfigMaps.
    pub config_maps: Option<PathBuf>,
}

/// Why a key can't be read. No text of it carries what is in one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} in {kind} `{name}`, key `{key}`, can't be read: {why}")]
pub struct Unreadable {
    what: &'static str,
    kind: &'static str,
    name: String,
    key: String,
    why: String,
}

// === impl Mounts ===

impl Mounts {
    /// A key of a Secret; `what` it is for, in the words of the binding.
    pub fn secret(&self, what: &'static str, name: &str, key: &str) -> Result<Vec<u8>, Unreadable> {
        read(what, "Secret", self.secrets.as_deref(), name, key)
    }

    /// The authorities' certificates, where a binding names some.
    pub fn authorities(&self, ca: Option<&CaSpec>) -> Result<Option<Vec<u8>>, Unreadable> {
        match ca {
            None => Ok(None),
            Some(CaSpec::Secret(from)) => self.secret("caFrom", &from.name, &from.key).map(Some),
            Some(CaSpec::ConfigMap(from)) => {
                read("caFrom", "ConfigMap", self.config_maps.as_deref(), &from.name, &from.key).map(Some)
            }
        }
    }

    /// The certificates on both sides that a source names.
    pub fn certificates(&self, tls: &TlsSpec) -> Result<Certificates, Unreadable> {
        let authorities = self.authorities(tls.ca.as_ref())?;
        let ours = |name: &str, key| self.secret("clientCertificateFrom", name, key);
        let client = match &tls.client_certificate {
            None => None,
            Some(name) => Some((ours(name, names::TLS_CERTIFICATE)?, ours(name, names::TLS_KEY)?)),
        };
        Ok(Certificates { authorities, client })
    }

    /// The text of a URL that is in a Secret; of one that isn't nothing is read.
    pub fn url<U>(&self, url: &UrlSpec<U>) -> Result<String, Unreadable> {
        match url {
            UrlSpec::Plain(_) => Ok(String::new()),
            UrlSpec::Secret(from) => self.text("the URL", &from.name, &from.key),
        }
    }

    /// A key of a Secret that is a text.
    pub fn text(&self, what: &'static str, name: &str, key: &str) -> Result<String, Unreadable> {
        Ok(String::from_utf8_lossy(&self.secret(what, name, key)?).into_owned())
    }
}

fn read(
    what: &'static str,
    kind: &'static str,
    folder: Option<&Path>,
    name: &str,
    key: &str,
) -> Result<Vec<u8>, Unreadable> {
    let fault = |why: String| Unreadable { what, kind, name: name.into(), key: key.into(), why };
    let option = if kind == "Secret" { "--secrets" } else { "--config-maps" };
    let folder = folder.ok_or_else(|| fault(format!("no {option} folder was given")))?;
    std::fs::read(folder.join(name).join(key)).map_err(|error| fault(error.kind().to_string()))
}
