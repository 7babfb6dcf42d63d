//! Locks between runs, as locks of files: one that is killed holds none.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::stop::check_stop;

/// Locks the file `path`, which is made if need be, until what this returns is dropped. While another run holds it,
/// `waiting` is printed, and being asked to stop ends the wait.
pub(crate) fn lock(path: &Path, waiting: &str) -> Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    let file = File::create(path).with_context(|| format!("opening {}", path.display()))?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("locking {}", path.display()));
            }
            Err(TryLockError::WouldBlock) if told => {}
            Err(TryLockError::WouldBlock) => {
                eprintln!("{waiting}");
                told = true;
            }
        }
        check_stop()?;
        thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_waits_for_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/.lock");
        let first = lock(&path, "waiting").unwrap();
        let other = File::open(&path).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)), "the first one holds it");
        thread::scope(|scope| {
            let second = scope.spawn(|| lock(&path, "waiting").map(drop));
            drop(first);
            second.join().unwrap().unwrap();
        });
    }
}
