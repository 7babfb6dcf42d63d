//! A real Postgres that Debezium can follow.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use postgres::{Client, Config, NoTls, SimpleQueryMessage};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::stat::{await_stopped, parent};
use super::{Certificate, Child, Port, until};
use crate::command::{output, program};

/// How long Postgres may take to accept connections; more than its start needs, for recovery after a crash.
const START: Duration = Duration::from_secs(30);

/// Postgres refuses to run as root; Debian's packages make this user for it.
pub(super) const USER: &str = "postgres";

/// A running Postgres with `wal_level=logical`, UTF-8 and time zone UTC on a free port of 127.0.0.1.
///
/// Superuser and database are both `postgres`, and no password is asked for. The data folder is a temporary one, and
/// `fsync` is off: a kill loses nothing, a power cut would.
#[derive(Debug)]
pub struct Postgres {
    child: Child,
    port: Port,
    folder: TempDir,
    programs: PathBuf,
}

impl Postgres {
    /// Makes a new, empty server (0.7 s) and waits until it accepts connections.
    pub fn start() -> Result<Self> {
        let programs = programs()?;
        let folder = tempfile::Builder::new().prefix("freshet-postgres-").tempdir()?;
        if rustix::process::geteuid().is_root() {
            run(program("chown").arg(format!("{USER}:")).arg(folder.path()))?;
        }
        let mut init = command(&programs.join("initdb"));
        init.arg("--pgdata").arg(folder.path().join("data"));
        init.args(["--username", USER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8"]);
        run(init.arg("--no-sync").current_dir(folder.path()))?;
        let port = Port::free()?;
        let child = spawn(&programs, &folder, &port)?;
        let mut postgres = Self { child, port, folder, programs };
        postgres.await_ready()?;
        Ok(postgres)
    }

    /// Whether there is a Postgres on this machine to be started.
    #[must_use]
    pub fn is_installed() -> bool {
        programs().is_ok()
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// `postgres://postgres@127.0.0.1:<port>/postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://{USER}@{}/postgres", self.port.address())
    }

    /// A new connection, for typed queries and for transactions that a test holds open.
    pub fn client(&self) -> Result<Client> {
        connect(&self.port)
    }

    /// Runs statements separated by `;`, on a connection of their own. Several form one transaction unless they say
    /// otherwise.
    pub fn execute(&self, sql: &str) -> Result<()> {
        self.client()?.batch_execute(sql).with_context(|| format!("executing {sql}"))
    }

    /// Tells a channel the same so many times, 1 000 000 at most. What is said twice in one transaction comes once: each is
    /// another one by the blanks behind it.
    pub fn notify_many(&self, channel: &str, payload: &str, count: usize) -> Result<()> {
        let payload = payload.replace('\'', "''");
        self.execute(&format!(
            "SELECT count(*) FROM (SELECT pg_notify('{channel}', '{payload}' || translate(n::bit(20)::text, '01', E' \\t')) \
             FROM generate_series(1, {count}) AS n) AS said"
        ))
    }

    /// Runs one query and returns its rows as Postgres writes them as text; `None` is NULL.
    pub fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let messages = self.client()?.simple_query(sql).with_context(|| format!("querying {sql}"))?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        Ok(rows
            .map(|row| (0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
            .collect())
    }

    /// Lets in whom these lines of a `pg_hba.conf` say, and nobody else: the superuser should be among them, without a
    /// password.
    pub fn admit(&self, lines: &str) -> Result<()> {
        std::fs::write(self.folder.path().join("data/pg_hba.conf"), format!("{lines}\n"))?;
        self.reload()
    }

    /// Encrypts connections that ask for it, by this certificate; with `authorities` (PEM) it can be demanded of clients that
    /// they have one as well.
    pub fn encrypt(&self, own: &Certificate, authorities: Option<&str>) -> Result<()> {
        let data = self.folder.path().join("data");
        let files = [
            ("server.crt", Some(own.certificate.as_str())),
            ("server.key", Some(own.key.as_str())),
            ("root.crt", authorities),
        ];
        for (name, text) in files {
            let Some(text) = text else { continue };
            let file = data.join(name);
            std::fs::write(&file, text)?;
            // Nobody else may read the key.
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
            if rustix::process::geteuid().is_root() {
                run(program("chown").arg(format!("{USER}:")).arg(&file))?;
            }
        }
        if authorities.is_some() {
            self.execute("ALTER SYSTEM SET ssl_ca_file = 'root.crt'")?;
        }
        self.execute("ALTER SYSTEM SET ssl = on")?;
        self.reload()
    }

    /// A standby that follows this server from now on.
    pub fn standby(&self) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("freshet-postgres-").tempdir()?;
        if rustix::process::geteuid().is_root() {
            run(program("chown").arg(format!("{USER}:")).arg(folder.path()))?;
        }
        let mut copy = command(&self.programs.join("pg_basebackup"));
        copy.args([
            "--host",
            "127.0.0.1",
            "--username",
            USER,
            "--write-recovery-conf",
            "--checkpoint",
            "fast",
        ]);
        copy.arg("--port").arg(self.port().to_string()).arg("--pgdata").arg(folder.path().join("data"));
        run(copy.arg("--no-sync").current_dir(folder.path()))?;
        let port = Port::free()?;
        let child = spawn(&self.programs, &folder, &port)?;
        let mut standby = Self { child, port, folder, programs: self.programs.clone() };
        standby.await_ready()?;
        Ok(standby)
    }

    /// Has the server read its files again, and waits until it has.
    fn reload(&self) -> Result<()> {
        let loaded = || self.query("SELECT pg_conf_load_time()");
        let before = loaded()?;
        self.execute("SELECT pg_reload_conf()")?;
        until("the files are read again", Duration::from_secs(10), || {
            let now = loaded()?;
            ensure!(now != before, "{now:?}");
            Ok(())
        })
    }

    /// Ends the server in an orderly way ("fast": open transactions are rolled back).
    pub fn stop(&mut self) -> Result<()> {
        self.child.stop_by(Signal::INT).map(drop)
    }

    /// Ends the server and its backends at once, without a checkpoint; the next start recovers as after a crash.
    ///
    /// Not SIGKILL, after which backends live on for a moment and keep a new server from starting.
    pub fn kill(&mut self) -> Result<()> {
        self.child.stop_by(Signal::QUIT).map(drop)
    }

    /// Ends the server and all its backends by SIGKILL, as when a machine's memory is short.
    pub fn kill_all(&mut self) -> Result<()> {
        // Stopped first, so that none of them does anything about the end of another.
        self.pause()?;
        let backends = self.backends()?;
        for pid in &backends {
            signal(*pid, Signal::KILL);
        }
        self.child.kill()?;
        until("the backends are gone", Duration::from_secs(10), || {
            // They can't be waited for, not being our children: they are gone when nothing has their id, or a zombie.
            let alive = backends.iter().filter(|pid| parent(pid.as_raw_nonzero().get()).is_some()).count();
            ensure!(alive == 0, "{alive} are left");
            Ok(())
        })
    }

    /// Freezes the server and all its backends (SIGSTOP).
    pub fn pause(&mut self) -> Result<()> {
        // The one first that would start further backends.
        self.child.pause()?;
        for pid in self.backends()? {
            signal(pid, Signal::STOP);
            await_stopped("a backend", pid.as_raw_nonzero().get())?;
        }
        Ok(())
    }

    /// Lets a frozen server go on.
    pub fn resume(&mut self) -> Result<()> {
        for pid in self.backends()? {
            signal(pid, Signal::CONT);
        }
        self.child.resume()
    }

    /// The process that the backends are children of.
    pub fn process(&mut self) -> &mut Child {
        &mut self.child
    }

    fn backends(&self) -> Result<Vec<Pid>> {
        let server = i32::try_from(self.child.pid())?;
        let processes = std::fs::read_dir("/proc")?.flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        Ok(pids.filter(|pid| parent(*pid) == Some(server)).filter_map(Pid::from_raw).collect())
    }

    /// Stops the server if it runs, and starts it again on the same port with its data.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.child = spawn(&self.programs, &self.folder, &self.port)?;
        self.await_ready()
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

impl Drop for Postgres {
    fn drop(&mut self) {
        // Before the folder is removed, so that no backend still writes into it.
        let _ = self.kill();
    }
}

/// Without effect on a process that has just ended.
fn signal(pid: Pid, signal: Signal) {
    let _ = kill_process(pid, signal);
}

fn connect(port: &Port) -> Result<Client> {
    Config::new()
        .host("127.0.0.1")
        .port(port.number())
        .user(USER)
        .dbname("postgres")
        .connect_timeout(Duration::from_secs(5))
        .connect(NoTls)
        .with_context(|| format!("connecting to Postgres at {}", port.address()))
}

fn spawn(programs: &Path, folder: &TempDir, port: &Port) -> Result<Child> {
    let mut command = command(&programs.join("postgres"));
    command.arg("-D").arg(folder.path().join("data")).current_dir(folder.path());
    for setting in [
        &format!("port={}", port.number()),
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "wal_level=logical",
        "fsync=off",
        "timezone=UTC",
        "log_timezone=UTC",
    ] {
        command.args(["-c", setting]);
    }
    Child::spawn("postgres", command, &folder.path().join("log"))
}

/// A [`Child::command`] as a user that Postgres accepts.
pub(super) fn command(program: &Path) -> Command {
    if rustix::process::geteuid().is_root() {
        Child::command_as(USER, program)
    } else {
        Child::command(program)
    }
}

fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// The folder of `initdb` and `postgres`: the newest of Debian's, which aren't on the PATH, else the PATH's.
fn programs() -> Result<PathBuf> {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(|entry| {
        let folder = entry.ok()?.path();
        let version: u32 = folder.file_name()?.to_str()?.parse().ok()?;
        Some((version, folder.join("bin")))
    });
    let newest = debian.filter(|(_, folder)| has_programs(folder)).max().map(|(_, folder)| folder);
    let path = std::env::var_os("PATH").unwrap_or_default();
    newest
        .or_else(|| std::env::split_paths(&path).find(|folder| has_programs(folder)))
        .context("no Postgres server on this machine; `cargo xtask setup` says what to install")
}

fn has_programs(folder: &Path) -> bool {
    folder.join("initdb").exists() && folder.join("postgres").exists()
}
