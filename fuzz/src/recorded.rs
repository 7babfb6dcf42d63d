//! What the real Debezium wrote, from the sidecar's recordings.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// One entry of some stream.
#[derive(Clone, Debug, Deserialize)]
pub struct Entry {
    /// The stream's name.
    pub stream: String,
    /// Its id in the stream.
    pub id: String,
    /// Its fields in order.
    pub fields: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Recording {
    entries: Vec<Entry>,
}

/// The entries of each recording, by the recording's name.
pub fn recordings() -> Result<Vec<(String, Vec<Entry>)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sidecar/tests/recorded");
    let mut recordings = Vec::new();
    for file in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = file?.path();
        let text = std::fs::read_to_string(&path)?;
        let recording: Recording = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        recordings.push((name, recording.entries));
    }
    recordings.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(recordings)
}
