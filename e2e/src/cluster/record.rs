//! Which clusters there are, in the cache folder: one folder each, with its owner, so that what a killed run left is
//! found and removed by the next one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::assets::checkout;
use super::daemon::{Docker, Endpoint};
use super::leftovers::hash;
use super::owner::Owner;
use crate::artefact;

/// A cluster that exists, or is being made or removed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) owner: Owner,
    /// Where the user's daemon is, if its nodes are there; else they are containers of our own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<Endpoint>,
    /// For people who wonder whose it is.
    pub(crate) checkout: PathBuf,
}

/// The cluster's name in this checkout: the same for every run, and another in every checkout, with every cache folder
/// and for every purpose (`""` for tests).
#[must_use]
pub fn name(purpose: &str) -> String {
    name_with(&artefact::folder(), purpose)
}

/// The cluster's name for a run with another cache folder, whose records nobody else sees: with the same name it could
/// only be in the way of theirs.
#[must_use]
pub fn name_with(cache: &Path, purpose: &str) -> String {
    let place = format!("{}\n{}", checkout().display(), cache.display());
    let base = format!("freshet-{}", hash(&place, 8));
    if purpose.is_empty() { base } else { format!("{base}-{purpose}") }
}

/// The folder of our Docker daemon.
pub(crate) fn daemon_folder() -> PathBuf {
    artefact::folder().join("docker")
}

fn clusters() -> PathBuf {
    artefact::folder().join("clusters")
}

impl Record {
    /// Where the cluster's files are: this record, its kubeconfig, the logs of its making.
    pub(crate) fn folder(name: &str) -> PathBuf {
        clusters().join(name)
    }

    pub(crate) fn docker(&self) -> Docker {
        match &self.endpoint {
            Some(endpoint) => Docker::Users(endpoint.clone()),
            None => Docker::own(&daemon_folder()),
        }
    }

    /// Whether its nodes are containers of our own daemon.
    pub(crate) fn needs_own_daemon(&self) -> bool {
        self.endpoint.is_none()
    }

    /// The record of the cluster `name`, if there is one.
    pub(crate) fn find(name: &str) -> Result<Option<Self>> {
        let path = Self::folder(name).join("record.json");
        match fs::read(&path) {
            Ok(text) => {
                serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display())).map(Some)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// All of them.
    pub(crate) fn all() -> Result<Vec<Self>> {
        let entries = match fs::read_dir(clusters()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.context("listing the clusters")?,
        };
        let names = entries.flatten().filter(|entry| entry.path().is_dir());
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| Self::find(&name).transpose()).collect()
    }

    /// Writes it, whole or not at all.
    pub(crate) fn keep(&self) -> Result<()> {
        let folder = Self::folder(&self.name);
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let half = folder.join(".record.json");
        fs::write(&half, serde_json::to_vec_pretty(self)?)?;
        fs::rename(&half, folder.join("record.json")).context("keeping the cluster's record")
    }

    /// Removes it and the cluster's files.
    pub(crate) fn forget(&self) -> Result<()> {
        match fs::remove_dir_all(Self::folder(&self.name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).context("removing the cluster's files")
            }
            _ => Ok(()),
        }
    }
}

/// Holds the lock under which clusters are registered and removed and our daemon is started and stopped. A waiting
/// run waits for as long as another one removes a cluster, not while it makes one.
pub(crate) fn lock() -> Result<File> {
    let waiting = "waiting for another run that makes or removes a cluster's record";
    crate::lock::lock(&clusters().join(".lock"), waiting)
}

/// Holds the lock of one cluster, for as long as a run makes it or uses it: a second run in the same checkout waits.
pub(crate) fn lock_use(name: &str) -> Result<File> {
    let waiting = format!("waiting for another run that uses the cluster {name}");
    crate::lock::lock(&clusters().join(format!(".{name}.lock")), &waiting)
}
