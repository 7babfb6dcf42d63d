//! Folders of data, put back as they were.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A folder as it was.
pub(super) struct Kept {
    folder: PathBuf,
    kept: PathBuf,
}

impl Kept {
    /// Keeps what a folder has beside it.
    pub(super) fn of(folder: PathBuf) -> Result<Self> {
        let kept = folder.with_extension("kept");
        copy(&folder, &kept)?;
        Ok(Self { folder, kept })
    }

    /// Puts it back; what the folder has since is gone.
    pub(super) fn put_back(self) -> Result<()> {
        fs::remove_dir_all(&self.folder).with_context(|| format!("removing {}", self.folder.display()))?;
        fs::rename(&self.kept, &self.folder).with_context(|| format!("renaming {}", self.kept.display()))
    }
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to).with_context(|| format!("making {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
