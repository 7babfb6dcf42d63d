//! Whether there is room for what a cluster needs.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// What a cold build and a cluster need at most, in bytes.
const DISK: u64 = 15 << 30;

/// An error unless enough is free where the folder is; it is made if need be.
pub(crate) fn check(folder: &Path) -> Result<()> {
    enough(folder, free(folder)?)
}

/// In bytes.
fn free(folder: &Path) -> Result<u64> {
    fs::create_dir_all(folder).with_context(|| format!("making the cache folder {}", folder.display()))?;
    let disk = rustix::fs::statvfs(folder)
        .with_context(|| format!("asking for the space in {}", folder.display()))?;
    Ok(disk.f_bavail * disk.f_frsize)
}

fn enough(folder: &Path, free: u64) -> Result<()> {
    if free < DISK {
        bail!(
            "{}: {} GB are free, {} are needed; free some, or set FRESHET_CACHE to a folder on another disk",
            folder.display(),
            free >> 30,
            DISK >> 30
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_said_with_its_folder() {
        let folder = Path::new("/home/somebody/.cache/freshet");
        enough(folder, DISK).unwrap();
        assert_eq!(
            enough(folder, DISK - 1).unwrap_err().to_string(),
            "/home/somebody/.cache/freshet: 14 GB are free, 15 are needed; free some, or set FRESHET_CACHE to a folder \
             on another disk"
        );
        assert!(free(tempfile::tempdir().unwrap().path()).unwrap() > 0);
    }
}
