//! The binding's file, read at start and again whenever its content changes.
//!
//! It is polled: inotify instances are few on a node, and kubelet replaces a mounted ConfigMap by swapping a
//! link, which a watch on the file would miss.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use freshet_crds::{
    binding::{Binding, Invalid},
    manifest::{self, ReadError},
    names,
};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{
    catalog::{Catalog, Newer},
    engine::Engine,
    status::BindingState,
};

/// How often the file is looked at.
const PERIOD: Duration = Duration::from_secs(1);
/// Larger files, in bytes, aren't read: a ConfigMap holds no more, and reading takes a hundred times as much memory.
const MAX_FILE: u64 = 1 << 20;

/// Reads the binding's file and installs what it says.
pub struct Reloader {
    path: PathBuf,
    engine: Arc<Engine>,
    /// What was read last, and what was wrong with it.
    last: Option<(Vec<u8>, Option<Arc<LoadError>>)>,
    installed: watch::Sender<u64>,
    state: watch::Sender<BindingState>,
    /// Told the level that the binding asks for.
    set_level: Box<dyn Fn(&str) + Send>,
}

/// Why a binding's file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file can't be read.
    #[error("{}: {error}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It isn't a manifest.
    #[error("{}: {error}", .path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why.
        error: ReadError,
    },
    /// It is one, but says what can't be.
    #[error("{}: {}", .path.display(), .faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Binding {
        /// The file.
        path: PathBuf,
        /// All of it.
        faults: Vec<Invalid>,
    },
}

impl LoadError {
    /// Whether the file isn't there.
    fn is_absence(&self) -> bool {
        matches!(self, Self::File { error, .. } if error.kind() == io::ErrorKind::NotFound)
    }
}

impl Reloader {
    /// A reloader of `path`. `installed` and `state` are told what happens.
    pub fn new(
        path: PathBuf,
        engine: Arc<Engine>,
        installed: watch::Sender<u64>,
        state: watch::Sender<BindingState>,
        set_level: Box<dyn Fn(&str) + Send>,
    ) -> Self {
        Self { path, engine, last: None, installed, state, set_level }
    }

    /// Reads the file for the first time. A file that isn't there is waited for; a faulty one is an error,
    /// unless an operator rendered it: then a newer sidecar may be needed, and this one serves misses.
    pub fn first(&mut self) -> Result<(), Arc<LoadError>> {
        let seen = self.look();
        if let Err(error) = &seen {
            if error.is_absence() {
                warn!(path = %self.path.display(), "no binding: serving misses until the file appears");
            } else if !self.rendered() {
                return Err(Arc::clone(error));
            }
        }
        self.tell(&seen);
        Ok(())
    }

    /// Looks at the file every second, for ever.
    pub async fn run(mut self) {
        let mut period = tokio::time::interval(PERIOD);
        period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            period.tick().await;
            let seen = self.look();
            self.tell(&seen);
        }
    }

    /// Reads the file and installs what it says, if that is new. What is wrong with it is said at every look.
    fn look(&mut self) -> Result<(), Arc<LoadError>> {
        let content =
            read(&self.path).map_err(|error| Arc::new(LoadError::File { path: self.path.clone(), error }))?;
        if let Some((last, fault)) = &self.last
            && *last == content
        {
            return fault.clone().map_or(Ok(()), Err);
        }
        let parsed = parse(&self.path, &content).map_err(Arc::new);
        self.last = Some((content, parsed.as_ref().err().cloned()));
        let (binding, newer) = parsed?;
        (self.set_level)(&format!("{:?}", binding.sidecar.log_level).to_lowercase());
        let old = self.engine.catalog();
        let catalog = Catalog::build(binding, newer, old.as_deref());
        info!(
            binding = catalog.binding,
            caches = catalog.caches.len(),
            sources = catalog.feeds.len(),
            "binding loaded"
        );
        if !catalog.off.is_empty() {
            let off = catalog.off.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            warn!(off, "caches that only a newer version knows are off");
        }
        let retired = self.engine.install(catalog);
        // Requests are answered on this thread, and many values take a while to be freed. Where there can't be another, it is
        // done here.
        let _ = std::thread::Builder::new().name("retire".into()).spawn(move || drop(retired));
        self.installed.send_modify(|n| *n += 1);
        Ok(())
    }

    /// Sets the state to what a look has found, whatever it was before, and logs what is news.
    fn tell(&self, seen: &Result<(), Arc<LoadError>>) {
        let next = match seen {
            Ok(()) => BindingState::Current,
            Err(error) if !error.is_absence() => BindingState::Rejected { error: error.to_string() },
            Err(_) if self.engine.catalog().is_some() => BindingState::Deleted,
            Err(_) => BindingState::NoBinding,
        };
        let news = self.state.send_if_modified(|state| {
            let news = *state != next;
            state.clone_from(&next);
            news
        });
        match next {
            BindingState::Rejected { error } if news => {
                warn!(error, "the binding is refused: going on with the last good one");
            }
            BindingState::Deleted if news => warn!("the binding is gone: going on with the last one"),
            _ => {}
        }
    }

    fn rendered(&self) -> bool {
        let rendered = names::RENDERED_BY.as_bytes();
        self.last.as_ref().is_some_and(|(text, _)| text.windows(rendered.len()).any(|w| w == rendered))
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let size = std::fs::metadata(path)?.len();
    if size > MAX_FILE {
        return Err(io::Error::other(format!("{size} bytes is too large for a CacheBinding")));
    }
    std::fs::read(path)
}

fn parse(path: &Path, content: &[u8]) -> Result<(Binding, Newer), LoadError> {
    let fault = |error| LoadError::Manifest { path: path.into(), error };
    let text =
        std::str::from_utf8(content).map_err(|e| fault(ReadError::Malformed(format!("not UTF-8: {e}"))))?;
    let manifest = manifest::read(text).map_err(fault)?;
    let binding = manifest.binding().map_err(|faults| LoadError::Binding { path: path.into(), faults })?;
    Ok((binding, manifest.newer))
}
