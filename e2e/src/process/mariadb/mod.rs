//! A real MariaDB that Debezium can follow.

mod client;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::{Child, Port};
use crate::command::{output, path, program};

pub use client::{Client, Row};

/// How long MariaDB may take to accept connections; more than its start needs, for recovery after a crash.
const START: Duration = Duration::from_secs(30);

/// A running MariaDB that writes a binary log of whole rows with GTIDs, on a free port of 127.0.0.1.
///
/// The user is `root`, without a password. The data folder is a temporary one, and nothing is synced to the disk: a
/// kill loses nothing, a power cut would.
#[derive(Debug)]
pub struct MariaDb {
    child: Child,
    port: Port,
    folder: TempDir,
}

impl MariaDb {
    /// Makes a new, empty server (about 2 s) and waits until it accepts connections.
    pub fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("freshet-mariadb-").tempdir()?;
        let mut install = program("mariadb-install-db");
        install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        install.args(user()).args(folders(folder.path())?);
        output(&mut install)?;
        let port = Port::free()?;
        let child = spawn(folder.path(), &port)?;
        let mut mariadb = Self { child, port, folder };
        mariadb.await_ready()?;
        Ok(mariadb)
    }

    /// Whether there is a MariaDB on this machine to be started.
    #[must_use]
    pub fn is_installed() -> bool {
        std::env::split_paths(&path()).any(|folder| folder.join("mariadbd").is_file())
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// A new connection, for transactions that a test holds open.
    pub fn client(&self) -> Result<Client> {
        connect(&self.port)
    }

    /// Runs statements separated by `;` on a connection of their own, each a transaction unless they say otherwise.
    pub fn execute(&self, sql: &str) -> Result<()> {
        self.query(sql).map(drop)
    }

    /// Runs one query and returns its rows as MariaDB writes them as text.
    pub fn query(&self, sql: &str) -> Result<Vec<Row>> {
        self.client()?.query(sql).with_context(|| format!("querying {sql}"))
    }

    /// Ends the server in an orderly way (SIGTERM).
    pub fn stop(&mut self) -> Result<()> {
        self.child.stop().map(drop)
    }

    /// Ends the server at once (SIGKILL); the next start recovers as after a crash.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()
    }

    /// Stops the server if it runs, and starts it again on the same port with its data.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.child = spawn(self.folder.path(), &self.port)?;
        self.await_ready()
    }

    /// The process, to pause, resume or ask for its id.
    pub fn process(&mut self) -> &mut Child {
        &mut self.child
    }

    /// All that the server has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.child.log()
    }

    fn await_ready(&mut self) -> Result<()> {
        let port = &self.port;
        self.child.await_ready(START, || connect(port).map(drop))
    }
}

fn connect(port: &Port) -> Result<Client> {
    Client::connect(port.address()).with_context(|| format!("connecting to MariaDB at {}", port.address()))
}

fn spawn(folder: &Path, port: &Port) -> Result<Child> {
    let mut command = Child::command("mariadbd");
    command.arg("--no-defaults").args(user()).args(folders(folder)?);
    command.arg(option("socket", &folder.join("socket"))).arg(format!("--port={}", port.number()));
    command.args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--character-set-server=utf8mb4"]);
    command.args(["--server-id=1", "--log-bin=binlog", "--binlog-format=ROW", "--binlog-row-image=FULL"]);
    // Commits reach the operating system and no farther; the small buffers suit small tests.
    command.args(["--gtid-strict-mode=1", "--innodb-flush-log-at-trx-commit=2", "--sync-binlog=0"]);
    command.args(["--innodb-buffer-pool-size=32M", "--default-time-zone=+00:00"]);
    Child::spawn("mariadbd", command, &folder.join("log"))
}

/// Root may run it only when it says that it means to.
fn user() -> Option<&'static str> {
    rustix::process::geteuid().is_root().then_some("--user=root")
}

/// Where it keeps its data, and what is temporary: a server that starts clears that folder of all temporary tables,
/// those of another server too.
fn folders(folder: &Path) -> Result<[PathBuf; 2]> {
    let temporary = folder.join("temporary");
    fs::create_dir_all(&temporary)?;
    Ok([option("datadir", &folder.join("data")), option("tmpdir", &temporary)])
}

fn option(name: &str, value: &Path) -> PathBuf {
    let mut option = std::ffi::OsString::from(format!("--{name}="));
    option.push(value);
    option.into()
}
