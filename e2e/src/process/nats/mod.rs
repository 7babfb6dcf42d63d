//! A real `nats-server`, with and without JetStream.

mod credentials;
mod operations;
mod program;
mod publisher;

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_nats::ConnectOptions;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::certificates::file;
use super::folder::Kept;
use super::http::{self, Target};
use super::{Authority, Certificate, Child, Port, until};

use credentials::Signed;

pub use async_nats::jetstream::stream::{
    Config as StreamConfig, Info as StreamInfo, RetentionPolicy, StorageType,
};
pub use operations::{Heard, Stored, Subscription};
pub use program::{VERSION, program};
pub use publisher::Publisher;

/// How long a server may take to answer after its start.
const START: Duration = Duration::from_mins(1);
/// How long one call of the test's client may take, so that a paused server is an error and not a hang.
const CALL: Duration = Duration::from_secs(30);

/// How a [`Nats`] is to be started. Without further words: no JetStream, no credentials, no TLS.
#[derive(Debug, Default)]
pub struct NatsBuilder {
    credentials: Credentials,
    jetstream: bool,
    tls: Option<Tls>,
    settings: Vec<(String, String)>,
}

/// What the server wants of clients.
#[derive(Debug, Default)]
enum Credentials {
    #[default]
    None,
    User {
        name: String,
        password: String,
    },
    Token(String),
    File(Signed),
}

/// What TLS needs.
#[derive(Debug)]
struct Tls {
    server: Certificate,
    /// The authority of clients, in PEM, and a certificate of it for the test's own; whether they must have one.
    clients: Option<(String, Certificate)>,
}

impl NatsBuilder {
    /// Keeps streams: JetStream, whose files survive restarts and kills of the server.
    #[must_use]
    pub fn jetstream(mut self) -> Self {
        self.jetstream = true;
        self
    }

    /// Requires this name and password of every client; the last kind of credentials that is asked for counts.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.credentials = Credentials::User { name: name.to_owned(), password: password.to_owned() };
        self
    }

    /// Requires this token of every client.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.credentials = Credentials::Token(token.to_owned());
        self
    }

    /// Requires of every client what [`Nats::credentials`] has: a user's JWT and seed, of an operator whom the server
    /// trusts.
    pub fn signed_credentials(mut self) -> Result<Self> {
        self.credentials = Credentials::File(Signed::new()?);
        Ok(self)
    }

    /// Wants TLS of every client, under this certificate, which must name 127.0.0.1.
    #[must_use]
    pub fn tls(mut self, server: &Certificate) -> Self {
        self.tls = Some(Tls { server: server.clone(), clients: None });
        self
    }

    /// The same, and wants a certificate of this authority of every client.
    pub fn tls_with_clients_of(mut self, server: &Certificate, clients: &Authority) -> Result<Self> {
        let own = clients.issue(&["test"])?;
        self.tls = Some(Tls { server: server.clone(), clients: Some((clients.pem(), own)) });
        Ok(self)
    }

    /// The longest payload with its headers, in bytes (1 MiB by default).
    #[must_use]
    pub fn max_payload(self, bytes: u32) -> Self {
        // No larger than what may wait for a client, which the server checks.
        self.set("max_payload", &bytes.to_string())
    }

    /// How much may wait for one client, in bytes, before it is a slow consumer and cut off (64 MiB by default).
    #[must_use]
    pub fn max_pending(self, bytes: u32) -> Self {
        self.set("max_pending", &bytes.to_string())
    }

    /// How long the server may wait for a client that doesn't read before that is a slow consumer and cut off (10 s by
    /// default).
    #[must_use]
    pub fn write_deadline(self, time: Duration) -> Self {
        self.set("write_deadline", &format!("\"{}ms\"", time.as_millis()))
    }

    /// Adds a setting as it stands in the server's file: `.set("ping_interval", "\"1s\"")`.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the server and waits until it answers. The first start on a machine builds it.
    pub fn start(self) -> Result<Nats> {
        let folder = tempfile::Builder::new().prefix("freshet-nats-").tempdir()?;
        let (port, monitor) = (Port::free()?, Port::free()?);
        fs::write(folder.path().join("nats.conf"), self.file(folder.path(), &port, &monitor)?)?;
        let child = spawn(folder.path())?;
        let mut nats = Nats { child, port, monitor, folder, how: self };
        nats.await_ready()?;
        Ok(nats)
    }

    /// The server's file; what TLS needs is written beside it.
    fn file(&self, folder: &Path, port: &Port, monitor: &Port) -> Result<String> {
        let mut text = format!("listen: \"{}\"\nhttp: \"{}\"\n", port.address(), monitor.address());
        if self.jetstream {
            writeln!(text, "jetstream {{ store_dir: {} }}", quoted(folder.join("store")))?;
        }
        match &self.credentials {
            Credentials::None => {}
            Credentials::User { name, password } => {
                let (name, password) = (quoted(name), quoted(password));
                writeln!(text, "authorization {{ user: {name}, password: {password} }}")?;
            }
            Credentials::Token(token) => writeln!(text, "authorization {{ token: {} }}", quoted(token))?,
            Credentials::File(signed) => text.push_str(&signed.settings()),
        }
        if let Some(Tls { server, clients }) = &self.tls {
            let certificate = file(folder, "tls.crt", &server.certificate)?;
            let key = file(folder, "tls.key", &server.key)?;
            file(folder, "ca.crt", &server.authority)?;
            write!(text, "tls {{ cert_file: {}, key_file: {}", quoted(certificate), quoted(key))?;
            if let Some((authority, own)) = clients {
                let authority = file(folder, "clients.crt", authority)?;
                file(folder, "own.crt", &own.certificate)?;
                file(folder, "own.key", &own.key)?;
                write!(text, ", verify: true, ca_file: {}", quoted(authority))?;
            }
            text.push_str(" }\n");
        }
        for (name, value) in &self.settings {
            writeln!(text, "{name}: {value}")?;
        }
        Ok(text)
    }
}

/// A running `nats-server` on a free port of 127.0.0.1 with its streams in a temporary folder.
#[derive(Debug)]
pub struct Nats {
    // Fields drop in this order: the process goes before the folder it writes into.
    child: Child,
    port: Port,
    monitor: Port,
    folder: TempDir,
    how: NatsBuilder,
}

impl Nats {
    /// A server without JetStream, credentials and TLS.
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    /// A server with more to say about it.
    #[must_use]
    pub fn builder() -> NatsBuilder {
        NatsBuilder::default()
    }

    /// `nats://127.0.0.1:<port>`, or `tls://…` where it wants TLS; never with credentials in it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme(), self.address())
    }

    /// The same with what it wants of clients in it: `nats://<name>:<password>@…` or `nats://<token>@…`.
    #[must_use]
    pub fn url_with_credentials(&self) -> String {
        let address = self.address();
        match &self.how.credentials {
            Credentials::None | Credentials::File(_) => self.url(),
            Credentials::User { name, password } => {
                format!("{}://{name}:{password}@{address}", self.scheme())
            }
            Credentials::Token(token) => format!("{}://{token}@{address}", self.scheme()),
        }
    }

    /// The text of the user's `.creds` file, if such were asked for.
    #[must_use]
    pub fn credentials(&self) -> Option<&str> {
        match &self.how.credentials {
            Credentials::File(signed) => Some(&signed.file),
            _ => None,
        }
    }

    /// `127.0.0.1:<port>`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    fn scheme(&self) -> &'static str {
        if self.how.tls.is_some() { "tls" } else { "nats" }
    }

    /// The process, for what isn't named here.
    pub fn process(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Ends the server in an orderly way (SIGTERM). The port stays reserved for [`Nats::restart`].
    pub fn stop(&mut self) -> Result<()> {
        self.child.stop().map(drop)
    }

    /// Ends the server at once (SIGKILL).
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()
    }

    /// Stops the server if it runs, and starts it again on the same port with its streams.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.child = spawn(self.folder.path())?;
        self.await_ready()
    }

    /// [`Nats::restart`] without what was stored, as after the loss of a disk.
    pub fn restart_empty(&mut self) -> Result<()> {
        self.stop()?;
        let store = self.folder.path().join("store");
        fs::remove_dir_all(&store).with_context(|| format!("removing {}", store.display()))?;
        self.restart()
    }

    /// Stops the server and starts it again with what `meanwhile` has stored forgotten, as after the loss of what a disk
    /// hadn't written yet.
    pub fn restart_without(&mut self, meanwhile: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.stop()?;
        let kept = Kept::of(self.folder.path().join("store"))?;
        self.restart()?;
        meanwhile(self)?;
        self.kill()?;
        kept.put_back()?;
        self.restart()
    }

    /// Gives a setting of [`NatsBuilder::set`] another value while the server runs, and waits until it has taken that.
    pub fn reload_with(&mut self, name: &str, value: &str) -> Result<()> {
        self.how.settings.retain(|(set, _)| set != name);
        self.how.settings.push((name.to_owned(), value.to_owned()));
        let folder = self.folder.path();
        fs::write(folder.join("nats.conf"), self.how.file(folder, &self.port, &self.monitor)?)?;
        let reloads = |log: String| log.matches("Reloaded server configuration").count();
        let before = reloads(self.log());
        self.child.signal(Signal::HUP)?;
        until("the settings are taken", CALL, || {
            let log = self.log();
            anyhow::ensure!(reloads(log.clone()) > before, "{log}");
            Ok(())
        })
    }

    /// Freezes the server (SIGSTOP): connections stay open, nothing answers.
    pub fn pause(&mut self) -> Result<()> {
        self.child.pause()
    }

    /// Lets a frozen server go on.
    pub fn resume(&mut self) -> Result<()> {
        self.child.resume()
    }

    /// What the server says of itself: `monitor("connz")` of its connections, `varz` of itself (with
    /// `slow_consumers`), `jsz` of JetStream.
    pub fn monitor(&self, page: &str) -> Result<Value> {
        let answer = http::get(&Target::Tcp(self.monitor.address()), &format!("/{page}"))?;
        answer.json().with_context(|| format!("/{page} answers {}: {}", answer.status, answer.text()))
    }

    /// All that the server has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.child.log()
    }

    /// What the test's own client connects with.
    fn options(&self) -> Result<ConnectOptions> {
        let options = ConnectOptions::new().connection_timeout(CALL).request_timeout(Some(CALL));
        let options = match &self.how.credentials {
            Credentials::None => options,
            Credentials::User { name, password } => options.user_and_password(name.clone(), password.clone()),
            Credentials::Token(token) => options.token(token.clone()),
            Credentials::File(signed) => options.credentials(&signed.file)?,
        };
        let file = |name: &str| -> PathBuf { self.folder.path().join(name) };
        Ok(match &self.how.tls {
            None => options,
            Some(Tls { clients: None, .. }) => options.add_root_certificates(file("ca.crt")),
            Some(Tls { clients: Some(_), .. }) => options
                .add_root_certificates(file("ca.crt"))
                .add_client_certificate(file("own.crt"), file("own.key")),
        })
    }

    fn await_ready(&mut self) -> Result<()> {
        let health = Target::Tcp(self.monitor.address());
        self.child.await_ready(START, || {
            let answer = http::get(&health, "/healthz")?;
            anyhow::ensure!(answer.status == 200, "/healthz answers {}: {}", answer.status, answer.text());
            Ok(())
        })
    }
}

fn spawn(folder: &Path) -> Result<Child> {
    let mut command = Child::command(program()?);
    command.arg("--config").arg(folder.join("nats.conf"));
    Child::spawn("nats-server", command, &folder.join("log"))
}

/// A text as the server's file takes it for one.
fn quoted(text: impl AsRef<Path>) -> String {
    Value::from(text.as_ref().to_string_lossy()).to_string()
}
