//! The sidecar alone, as a child process without Kubernetes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::http::{self, Connection, Response, Target};
use super::{Child, Port, until};

/// The folders of what is mounted.
const SECRETS: &str = "secrets";
const CONFIG_MAPS: &str = "config-maps";

/// How long the sidecar may take from its start to `/startupz` answering 200.
const START: Duration = Duration::from_mins(1);

/// How long a sidecar that refuses its input may take to say so and end.
const REFUSAL: Duration = Duration::from_mins(1);

/// How a [`Sidecar`] is to be started.
#[derive(Debug)]
pub struct SidecarBuilder {
    executable: PathBuf,
    binding: Binding,
    /// Folder, name, key and value.
    mounted: Vec<(&'static str, String, String, String)>,
    environment: Vec<(String, String)>,
    flags: Vec<String>,
    input: Option<String>,
}

#[derive(Debug)]
enum Binding {
    Text(String),
    File(PathBuf),
}

impl SidecarBuilder {
    /// Uses this file as the binding instead of a text, for tests that change files in a way of their own.
    #[must_use]
    pub fn binding_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.binding = Binding::File(path.into());
        self
    }

    /// Puts a secret where a `secretKeyRef` of this name and key finds it.
    #[must_use]
    pub fn secret(mut self, name: &str, key: &str, value: &str) -> Self {
        self.mounted.push((SECRETS, name.to_owned(), key.to_owned(), value.to_owned()));
        self
    }

    /// Puts a text where a `configMapKeyRef` of this name and key finds it.
    #[must_use]
    pub fn config_map(mut self, name: &str, key: &str, value: &str) -> Self {
        self.mounted.push((CONFIG_MAPS, name.to_owned(), key.to_owned(), value.to_owned()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds an argument after those that the vocabulary gives.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// Gives it a text as its standard input; without one that is empty.
    #[must_use]
    pub fn input(mut self, text: &str) -> Self {
        self.input = Some(text.to_owned());
        self
    }

    /// Starts the sidecar and waits until `/startupz` answers 200.
    pub fn start(self) -> Result<Sidecar> {
        let mut sidecar = self.spawn()?;
        sidecar.await_started()?;
        Ok(sidecar)
    }

    /// Starts the sidecar without waiting for anything.
    pub fn spawn(self) -> Result<Sidecar> {
        let folder = tempfile::Builder::new().prefix("freshet-sidecar-").tempdir()?;
        let binding = match &self.binding {
            Binding::Text(_) => folder.path().join("binding.yaml"),
            Binding::File(path) => path.clone(),
        };
        if let Binding::Text(text) = &self.binding {
            replace(&binding, text)?;
        }
        for (kind, name, key, value) in &self.mounted {
            mount(folder.path(), kind, name, key, value)?;
        }
        let (api, admin) = (Port::free()?, Port::free()?);
        let child = spawn(&self, &folder, &binding, &api, &admin)?;
        Ok(Sidecar { child, api, admin, folder, binding, how: self })
    }

    /// Starts a sidecar that is expected to refuse its input: waits until it has ended by itself, and returns how it
    /// ended and all that it said.
    pub fn refused(self) -> Result<(ExitStatus, String)> {
        let mut sidecar = self.spawn()?;
        let status = sidecar.child.wait(REFUSAL)?;
        Ok((status, sidecar.log()))
    }
}

/// A running sidecar on free ports of 127.0.0.1, with its socket, binding file and secrets in a temporary folder.
#[derive(Debug)]
pub struct Sidecar {
    // Fields drop in this order: the process goes before the folder it uses.
    child: Child,
    api: Port,
    admin: Port,
    folder: TempDir,
    binding: PathBuf,
    how: SidecarBuilder,
}

impl Sidecar {
    /// A sidecar of this executable, `env!("CARGO_BIN_EXE_freshet-sidecar")`, with this `CacheBinding` manifest.
    #[must_use]
    pub fn builder(executable: impl Into<PathBuf>, binding: &str) -> SidecarBuilder {
        SidecarBuilder {
            executable: executable.into(),
            binding: Binding::Text(binding.to_owned()),
            mounted: Vec::new(),
            environment: Vec::new(),
            flags: Vec::new(),
            input: None,
        }
    }

    /// The cache API over TCP.
    #[must_use]
    pub fn tcp(&self) -> Target {
        Target::Tcp(self.api.address())
    }

    /// The cache API over the Unix socket.
    #[must_use]
    pub fn socket(&self) -> Target {
        Target::Unix(socket(&self.folder))
    }

    /// The admin listener.
    #[must_use]
    pub fn admin(&self) -> Target {
        Target::Tcp(self.admin.address())
    }

    /// One GET of the cache API on a connection of its own: `sidecar.get("/v1/products/7")`.
    pub fn get(&self, path: &str) -> Result<Response> {
        http::get(&self.tcp(), path)
    }

    /// One request of the cache API on a connection of its own.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response> {
        Connection::open(&self.tcp())?.request(method, path, headers, body)
    }

    /// `/v1/status` as JSON.
    pub fn status(&self) -> Result<serde_json::Value> {
        self.get("/v1/status")?.json()
    }

    /// `/metrics` as text.
    pub fn metrics(&self) -> Result<String> {
        Ok(http::get(&self.admin(), "/metrics")?.text())
    }

    /// Waits until `probe` answers `Ok`, at most `within`; fails at once when the sidecar ends meanwhile.
    pub fn until<T>(
        &mut self,
        what: &str,
        within: Duration,
        mut probe: impl FnMut(&Self) -> Result<T>,
    ) -> Result<T> {
        until(what, within, || {
            if let Err(ended) = self.child.must_run() { Ok(Err(ended)) } else { probe(self).map(Ok) }
        })?
    }

    /// Waits until `/startupz` answers 200.
    pub fn await_started(&mut self) -> Result<()> {
        let admin = self.admin();
        self.child.await_ready(START, || {
            let answer = http::get(&admin, "/startupz")?;
            if answer.status != 200 {
                bail!("/startupz answers {}: {}", answer.status, answer.text());
            }
            Ok(())
        })
    }

    /// The path of the binding file.
    #[must_use]
    pub fn binding_path(&self) -> &Path {
        &self.binding
    }

    /// Replaces the binding file, in one step.
    pub fn rebind(&self, binding: &str) -> Result<()> {
        replace(&self.binding, binding)
    }

    /// Replaces a Secret's key, in one step, as a kubelet does after it was changed.
    pub fn change_secret(&self, name: &str, key: &str, value: &str) -> Result<()> {
        mount(self.folder(), SECRETS, name, key, value)
    }

    /// The temporary folder: `freshet.sock`, `binding.yaml`, `secrets/<secret>/<key>`, `log`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// All it has written to stdout and stderr.
    #[must_use]
    pub fn log(&self) -> String {
        self.child.log()
    }

    /// The process, to pause, resume or ask for its id.
    pub fn process(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Asks it to end (SIGTERM), and fails unless it does with exit code 0.
    pub fn stop(&mut self) -> Result<()> {
        let status = self.child.stop()?;
        if !status.success() {
            bail!("the sidecar ended with {status} after SIGTERM; its output:\n{}", self.log());
        }
        Ok(())
    }

    /// Ends it at once (SIGKILL); its socket file stays behind.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()
    }

    /// Starts it again after [`Sidecar::stop`] or [`Sidecar::kill`], on the same ports, and waits until it has.
    pub fn start_again(&mut self) -> Result<()> {
        self.child = spawn(&self.how, &self.folder, &self.binding, &self.api, &self.admin)?;
        self.await_started()
    }
}

fn mount(folder: &Path, kind: &str, name: &str, key: &str, value: &str) -> Result<()> {
    let place = folder.join(kind).join(name);
    fs::create_dir_all(&place).with_context(|| format!("making {}", place.display()))?;
    replace(&place.join(key), value).with_context(|| format!("mounting {kind}/{name}/{key}"))
}

fn socket(folder: &TempDir) -> PathBuf {
    folder.path().join("freshet.sock")
}

fn spawn(how: &SidecarBuilder, folder: &TempDir, binding: &Path, api: &Port, admin: &Port) -> Result<Child> {
    let mut command = Child::command(&how.executable);
    // Flags are also read from the environment; a test is to see only its own.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"FRESHET_"))
    {
        command.env_remove(name);
    }
    command.arg("--binding").arg(binding);
    command.arg("--listen").arg(api.address().to_string());
    command.arg("--admin").arg(admin.address().to_string());
    command.arg("--socket").arg(socket(folder));
    command.arg("--secrets").arg(folder.path().join(SECRETS));
    command.arg("--config-maps").arg(folder.path().join(CONFIG_MAPS));
    command.args(&how.flags).envs(how.environment.iter().map(|(name, value)| (name, value)));
    if let Some(text) = &how.input {
        let path = folder.path().join("input");
        replace(&path, text)?;
        command.stdin(fs::File::open(&path).with_context(|| format!("opening {}", path.display()))?);
    }
    Child::spawn("freshet-sidecar", command, &folder.path().join("log"))
}

/// Writes a file so that a reader sees the old content or the new, never a part.
fn replace(path: &Path, content: &str) -> Result<()> {
    let writing = || format!("writing {}", path.display());
    let folder = path.parent().with_context(writing)?;
    let file = tempfile::NamedTempFile::new_in(folder).with_context(writing)?;
    fs::write(file.path(), content).with_context(writing)?;
    // A temporary file is private to us; a mounted ConfigMap is not.
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).with_context(writing)?;
    file.persist(path).with_context(writing)?;
    Ok(())
}
