//! A file of entries for each database. Debeziums write to Redis, and a recorder for each writes down what is there.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::Servers;
use crate::process::debezium::Routing;
use crate::torture::shape::Source;
use recorder::{Naming, Recorder};

pub(crate) use recorder::Still;

mod recorder;

/// From so many bytes on a file is begun anew between two faults: a sidecar that starts reads all of it.
const LARGE: u64 = 4 << 20;

/// The files, and what they are written from.
pub(crate) struct Files {
    // Writers before what they read and write: fields drop in this order.
    recorders: Vec<(Source, Recorder)>,
    folder: TempDir,
    servers: Servers,
}

impl Files {
    /// Starts the servers, and a recorder of each database's one stream. The layout is that of the file.
    pub(super) fn start(layout: &[(Source, Routing)]) -> Result<Self> {
        let servers = Servers::start()?;
        let folder = tempfile::Builder::new().prefix("freshet-files-").tempdir()?;
        let recorder = |(source, routing): &(Source, Routing)| {
            let (name, path) = (source.name(), file(folder.path(), *source));
            let naming = match routing {
                Routing::OneStream => Naming::One,
                Routing::PerTable => Naming::PerTopic(name.to_owned()),
            };
            let recorder =
                Recorder::start(servers.master().socket_address(), format!("{name}.cdc"), naming, path)?;
            Ok((*source, recorder))
        };
        let recorders = layout.iter().map(recorder).collect::<Result<_>>()?;
        Ok(Self { recorders, folder, servers })
    }

    /// Where the files are.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What Debeziums write to.
    pub(super) fn servers(&self) -> &Servers {
        &self.servers
    }

    /// The same, to be changed.
    pub(super) fn servers_mut(&mut self) -> &mut Servers {
        &mut self.servers
    }

    /// Begins files anew that are so large that reading them from the first line on takes long; whose those were.
    pub(crate) fn renew(&self) -> Result<Vec<Source>> {
        let mut renewed = Vec::new();
        for (source, recorder) in &self.recorders {
            if fs::metadata(file(self.folder.path(), *source))?.len() > LARGE {
                let held = recorder.still(false)?;
                let other = held.path.with_extension("new");
                fs::write(&other, "")?;
                fs::rename(&other, held.path)?;
                renewed.push(*source);
            }
        }
        Ok(renewed)
    }

    /// Has a database's recorder stand still, between two lines or in the midst of one, until what is returned is dropped.
    pub(crate) fn still(&self, source: Source, in_mid_line: bool) -> Result<Still<'_>> {
        let recorder = self.recorders.iter().find(|(of, _)| *of == source);
        let (_, recorder) = recorder.context("no recorder of it")?;
        recorder.still(in_mid_line)
    }
}

/// A database's file.
pub(super) fn file(folder: &Path, source: Source) -> PathBuf {
    folder.join(format!("{}.jsonl", source.name()))
}
