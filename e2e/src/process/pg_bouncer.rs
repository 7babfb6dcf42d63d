//! A real PgBouncer before a Postgres.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use postgres::{Config, NoTls};
use tempfile::TempDir;

use super::postgres::{USER, command};
use super::{Child, Port, Postgres};

/// How long it may take to let somebody in.
const START: Duration = Duration::from_mins(1);

/// For how long connections are lent.
#[derive(Clone, Copy, Debug)]
pub enum Lent {
    /// As long as a client stays.
    Session,
    /// Until the end of a transaction.
    Transaction,
}

/// A running `pgbouncer` on a free port of 127.0.0.1, which lets in the superuser `postgres` without a password.
#[derive(Debug)]
pub struct PgBouncer {
    // Fields drop in this order: the process goes before the folder with its settings.
    _child: Child,
    port: Port,
    _folder: TempDir,
}

impl PgBouncer {
    /// Starts it and waits until one can log in through it.
    pub fn start(before: &Postgres, lent: Lent) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("freshet-pgbouncer-").tempdir()?;
        // It runs as another user, and reads only.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        let port = Port::free()?;
        let mode = match lent {
            Lent::Session => "session",
            Lent::Transaction => "transaction",
        };
        let users = folder.path().join("users");
        std::fs::write(&users, format!("\"{USER}\" \"\"\n"))?;
        let settings = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = {mode}\n",
            before.port(),
            port.number(),
            users.display()
        );
        std::fs::write(&settings, text)?;
        let mut program = command("pgbouncer".as_ref());
        program.arg(&settings).current_dir(folder.path());
        let mut child = Child::spawn("pgbouncer", program, &folder.path().join("log"))?;
        let number = port.number();
        child.await_ready(START, || {
            let mut client = Config::new();
            client.host("127.0.0.1").port(number).user(USER).dbname("postgres");
            client.connect_timeout(START).connect(NoTls).map(drop).context("logging in through PgBouncer")
        })?;
        Ok(Self { _child: child, port, _folder: folder })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port.number()).into()
    }
}
