//! The cache of built things outside the checkout.
//!
//! What takes minutes to build or download (the node image, Debezium Server, a JRE) is kept in one folder, keyed by
//! a name and the hash of everything it was made from. It is built under a temporary name in the same file system
//! and renamed when whole, so a path handed out is never half of something; a file lock per key makes two runs at
//! the same time build it once.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

use crate::lock::lock;

/// How long the artefacts take that make somebody wait.
const USUAL: &[(&str, &str)] = &[
    ("cargo-deny", "90 s"),
    ("client-go", "20 s"),
    ("client-java", "20 s"),
    ("client-node", "20 s"),
    ("cluster-tools", "2 minutes"),
    ("debezium-server", "30 s"),
    ("freshet-example-shop", "20 s"),
    ("kafka", "20 s"),
    ("kubernetes", "5 minutes"),
    ("nats-server", "1 minute"),
    ("node", "10 s"),
    ("node-root", "30 s"),
    ("postgres-root", "20 s"),
];

/// How long a build of an artefact from other inputs is kept after its last use, for checkouts that alternate.
const UNUSED: Duration = Duration::from_hours(7 * 24);

/// The cache folder: `$FRESHET_CACHE`, else `$XDG_CACHE_HOME/freshet`, else `$HOME/.cache/freshet`. Always absolute;
/// it need not exist yet.
#[must_use]
pub fn folder() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("FRESHET_CACHE").unwrap_or_else(|| {
        set("XDG_CACHE_HOME")
            .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
            .unwrap_or_else(|| PathBuf::from("/var/cache"))
            .join("freshet")
    });
    std::path::absolute(&folder).unwrap_or(folder)
}

/// The cache folder of the tests that make and kill runs of their own. Always the same one, so that what a killed test
/// leaves is found by the next; it shares the artefacts.
#[must_use]
pub fn folder_for_killed_runs() -> PathBuf {
    folder().join("killed-runs")
}

/// Everything an artefact is made from, as a running hash. The order of the calls counts.
#[derive(Clone, Default)]
pub struct Inputs {
    hash: Sha256,
}

impl Inputs {
    /// No inputs yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text: a version, a setting, a recipe's own revision.
    #[must_use]
    pub fn text(mut self, text: impl AsRef<str>) -> Self {
        self.field(b't', text.as_ref().as_bytes());
        self
    }

    /// Adds the present 30 days, for what comes from where newer versions appear under the same name: it is fetched anew
    /// once in that time.
    #[must_use]
    pub fn renewed(self) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let period = now.as_secs() / Duration::from_hours(30 * 24).as_secs();
        self.text(format!("period {period}"))
    }

    /// Adds a file's content and executable bit, or a folder's whole tree with its names. Where it lies doesn't
    /// count, so that two checkouts share what they build.
    pub fn path(mut self, path: impl AsRef<Path>) -> anyhow::Result<Self> {
        self.tree(path.as_ref())?;
        Ok(self)
    }

    /// Adds an artefact, or a file of one, by its name and key, which stand for all it was made from.
    #[must_use]
    pub fn artefact(self, path: &Path) -> Self {
        let store = folder().join("artefacts");
        self.text(path.strip_prefix(&store).unwrap_or(path).to_string_lossy())
    }

    /// The key: 16 hexadecimal digits, the first 64 bits of the hash.
    #[must_use]
    pub fn key(&self) -> String {
        use std::fmt::Write as _;
        self.hash.clone().finalize().iter().take(8).fold(String::new(), |mut key, byte| {
            let _ = write!(key, "{byte:02x}");
            key
        })
    }

    fn tree(&mut self, path: &Path) -> anyhow::Result<()> {
        let reading = || format!("reading the input {}", path.display());
        let kind = fs::symlink_metadata(path).with_context(reading)?;
        if kind.is_symlink() {
            self.field(b'l', fs::read_link(path).with_context(reading)?.as_os_str().as_bytes());
        } else if kind.is_dir() {
            let entries = fs::read_dir(path).with_context(reading)?.collect::<io::Result<Vec<_>>>();
            let mut names: Vec<_> =
                entries.with_context(reading)?.into_iter().map(|entry| entry.file_name()).collect();
            names.sort();
            self.field(b'd', &names.len().to_le_bytes());
            for name in names {
                self.field(b'n', name.as_bytes());
                self.tree(&path.join(&name))?;
            }
        } else {
            self.field(
                if kind.permissions().mode() & 0o111 == 0 { b'f' } else { b'x' },
                &kind.len().to_le_bytes(),
            );
            let mut file = File::open(path).with_context(reading)?;
            let mut block = vec![0; 1 << 16];
            loop {
                match file.read(&mut block).with_context(reading)? {
                    0 => break,
                    read => self.hash.update(&block[..read]),
                }
            }
        }
        Ok(())
    }

    /// Kind and length go first, so that no two different lists of inputs are the same bytes.
    fn field(&mut self, kind: u8, bytes: &[u8]) {
        self.hash.update([kind]);
        self.hash.update((bytes.len() as u64).to_le_bytes());
        self.hash.update(bytes);
    }
}

/// The folder of the artefact `name` made from `inputs`: the kept one, or the one that `build` fills now.
///
/// `build` gets an empty folder and leaves in it what the artefact consists of; it must not remember the folder's
/// path, which changes when it is whole. A failed build leaves nothing. `name` is lower-case words joined by `-`.
pub fn artefact(
    name: &str,
    inputs: &Inputs,
    build: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    artefact_in(&folder().join("artefacts"), name, inputs, build)
}

fn artefact_in(
    store: &Path,
    name: &str,
    inputs: &Inputs,
    build: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        bail!("artefact name {name:?}: only lower-case letters, digits and '-'");
    }
    let key = format!("{name}@{}", inputs.key());
    let whole = store.join(&key);
    let half = store.join(format!(".half-{key}"));
    let lock =
        lock(&lock_path(store, &key), &format!("artefact {key}: waiting for another run that builds it"))?;
    // The lock file's time says when the artefact was last asked for.
    lock.set_modified(SystemTime::now()).with_context(|| format!("marking {key} as used"))?;
    if whole.exists() {
        return Ok(whole);
    }
    remove(&half)?;
    fs::create_dir(&half).with_context(|| format!("making {}", half.display()))?;
    let usual = USUAL.iter().find(|(known, _)| *known == name);
    let usual = usual.map(|(_, time)| format!(", about {time} on two cores")).unwrap_or_default();
    eprintln!("artefact {key}: building{usual}");
    let start = Instant::now();
    if let Err(error) = build(&half) {
        remove(&half)?;
        return Err(error.context(format!("building the artefact {key}")));
    }
    fs::rename(&half, &whole).with_context(|| format!("renaming {}", half.display()))?;
    eprintln!("artefact {key}: built in {:.1} s", start.elapsed().as_secs_f64());
    remove_unused(store, name, &key)?;
    Ok(whole)
}

fn lock_path(store: &Path, key: &str) -> PathBuf {
    store.join(format!(".lock-{key}"))
}

/// Removes what this name was built to from other inputs, if nobody asked for it in a week, and halves of it that a
/// killed run left. What another run is building is locked and stays.
fn remove_unused(store: &Path, name: &str, current: &str) -> anyhow::Result<()> {
    let prefix = format!("{name}@");
    for entry in fs::read_dir(store).with_context(|| format!("listing {}", store.display()))? {
        let file = entry?.file_name();
        let Some(key) = file.to_str().and_then(|file| file.strip_prefix(".lock-")) else { continue };
        if key == current || !key.starts_with(&prefix) {
            continue;
        }
        let path = lock_path(store, key);
        let Ok(lock) = File::open(&path) else { continue };
        if lock.try_lock().is_err() {
            continue;
        }
        remove(&store.join(format!(".half-{key}")))?;
        if lock.metadata()?.modified()?.elapsed().is_ok_and(|unused| unused > UNUSED) {
            remove(&store.join(key))?;
        }
    }
    Ok(())
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn write(text: &'static str) -> impl FnOnce(&Path) -> anyhow::Result<()> {
        move |folder| Ok(fs::write(folder.join("it"), text)?)
    }

    #[test]
    fn a_second_call_builds_nothing() {
        let store = tempfile::tempdir().unwrap();
        let inputs = Inputs::new().text("1.0");
        let first = artefact_in(store.path(), "a", &inputs, write("one")).unwrap();
        let second = artefact_in(store.path(), "a", &inputs, |_| bail!("built again")).unwrap();
        assert_eq!(first, second);
        assert_eq!(fs::read_to_string(second.join("it")).unwrap(), "one");
    }

    #[test]
    fn a_changed_input_builds_again_and_keeps_the_other() {
        let store = tempfile::tempdir().unwrap();
        let recipe = tempfile::tempdir().unwrap();
        fs::write(recipe.path().join("boot"), "one").unwrap();
        let inputs = || Inputs::new().text("1.0").path(recipe.path()).unwrap();
        let first = artefact_in(store.path(), "a", &inputs(), write("one")).unwrap();
        fs::write(recipe.path().join("boot"), "two").unwrap();
        let second = artefact_in(store.path(), "a", &inputs(), write("two")).unwrap();
        assert_ne!(first, second);
        assert!(first.exists());
        fs::set_permissions(recipe.path().join("boot"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_ne!(second, artefact_in(store.path(), "a", &inputs(), write("three")).unwrap());
        assert_ne!(Inputs::new().text("ab").text("c").key(), Inputs::new().text("a").text("bc").key());
    }

    #[test]
    fn a_half_built_leftover_is_removed() {
        let store = tempfile::tempdir().unwrap();
        let inputs = Inputs::new().text("1.0");
        let half = store.path().join(format!(".half-a@{}", inputs.key()));
        fs::create_dir(&half).unwrap();
        fs::write(half.join("torn"), "half").unwrap();
        let built = artefact_in(store.path(), "a", &inputs, write("whole")).unwrap();
        assert!(built.join("it").exists() && !built.join("torn").exists() && !half.exists());
    }

    #[test]
    fn a_failed_build_leaves_nothing_and_says_which() {
        let store = tempfile::tempdir().unwrap();
        let inputs = Inputs::new().text("1.0");
        let failed = artefact_in(store.path(), "a", &inputs, |_| bail!("no network")).unwrap_err();
        assert!(format!("{failed:#}").contains("building the artefact a@"), "{failed:#}");
        assert!(!store.path().join(format!(".half-a@{}", inputs.key())).exists());
        artefact_in(store.path(), "a", &inputs, write("one")).unwrap();
    }

    #[test]
    fn two_at_a_time_build_once() {
        let store = tempfile::tempdir().unwrap();
        let (builds, start) = (AtomicUsize::new(0), Barrier::new(4));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    let built = artefact_in(store.path(), "a", &Inputs::new().text("1.0"), |folder| {
                        builds.fetch_add(1, Ordering::SeqCst);
                        fs::write(folder.join("it"), "one")?;
                        Ok(())
                    });
                    assert!(built.unwrap().join("it").exists());
                });
            }
        });
        assert_eq!(builds.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_nobody_used_for_a_week_goes() {
        let store = tempfile::tempdir().unwrap();
        let old = Inputs::new().text("1.0");
        let kept = artefact_in(store.path(), "a", &Inputs::new().text("1.5"), write("kept")).unwrap();
        let gone = artefact_in(store.path(), "a", &old, write("old")).unwrap();
        let lock = File::open(lock_path(store.path(), &format!("a@{}", old.key()))).unwrap();
        lock.set_modified(SystemTime::now() - UNUSED - Duration::from_mins(1)).unwrap();
        artefact_in(store.path(), "a", &Inputs::new().text("2.0"), write("new")).unwrap();
        assert!(!gone.exists() && kept.exists());
    }
}
