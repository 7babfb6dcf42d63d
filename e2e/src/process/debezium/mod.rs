//! A real Debezium Server between a [`Postgres`] or [`MariaDb`] and a Redis, Kafka or NATS.

mod as_written;
mod distribution;
mod settings;
mod sink;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::http::{self, Target};
use super::{Child, MariaDb, Port, Postgres};

pub use as_written::AsWritten;
pub use distribution::{VERSION, distribution, java_home};
pub use freshet_debezium::{Database as Connector, Format, HEARTBEAT_SEQUENCE, Heartbeat};
pub use settings::{Routing, Settings, mariadb_heartbeat_table};
pub use sink::Sink;

/// How long Debezium may take from its start to following the database; 6 s are usual.
const START: Duration = Duration::from_mins(3);

/// A database that a Debezium Server can follow.
pub trait Captured {
    /// The port on 127.0.0.1.
    fn port(&self) -> u16;

    /// Makes what the heartbeat's query needs.
    fn prepare_heartbeat(&self) -> Result<()>;

    /// Runs statements as the database's owner.
    fn run(&self, sql: &str) -> Result<()>;

    /// Fails unless a server with these settings is reading the database's log, which it does only after the snapshot.
    fn is_followed(&self, settings: &Settings) -> Result<()>;
}

impl Captured for Postgres {
    fn port(&self) -> u16 {
        self.port()
    }

    fn prepare_heartbeat(&self) -> Result<()> {
        self.execute(HEARTBEAT_SEQUENCE)
    }

    fn run(&self, sql: &str) -> Result<()> {
        self.execute(sql)
    }

    fn is_followed(&self, settings: &Settings) -> Result<()> {
        let slot = settings.slot();
        let active = format!("SELECT active FROM pg_replication_slots WHERE slot_name = '{slot}'");
        match self.query(&active)?.as_slice() {
            [row] if row[0].as_deref() == Some("t") => Ok(()),
            slots => bail!("the replication slot {slot} is not being read: {slots:?}"),
        }
    }
}

impl Captured for MariaDb {
    fn port(&self) -> u16 {
        self.port()
    }

    fn prepare_heartbeat(&self) -> Result<()> {
        self.execute(&mariadb_heartbeat_table())
    }

    fn run(&self, sql: &str) -> Result<()> {
        self.execute(sql)
    }

    fn is_followed(&self, _: &Settings) -> Result<()> {
        let readers = "SELECT 1 FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'";
        match self.query(readers)?.as_slice() {
            [_, ..] => Ok(()),
            [] => bail!("nobody reads the binary log"),
        }
    }
}

/// A running Debezium Server. Its offsets are in the Redis it writes to, or in a file of its folder, so it goes on where it
/// was when restarted.
#[derive(Debug)]
pub struct Debezium {
    child: Child,
    health: Port,
    folder: TempDir,
    settings: Settings,
}

impl Debezium {
    /// Starts a server that copies what is in the tables (the snapshot) and then follows their changes; waits until
    /// it follows them. The first start on a machine downloads Debezium Server and a JRE.
    pub fn start<'a>(
        settings: Settings,
        database: &impl Captured,
        sink: impl Into<Sink<'a>>,
    ) -> Result<Self> {
        let sink = sink.into();
        if settings.queries() {
            database.prepare_heartbeat()?;
        }
        if let Some(table) = settings.signal_table() {
            database.run(&table)?;
        }
        let folder = tempfile::Builder::new().prefix("freshet-debezium-").tempdir()?;
        let health = Port::free()?;
        fs::create_dir(folder.path().join("config"))?;
        sink.prepare(folder.path())?;
        let properties = settings.file(sink, database.port(), health.number(), folder.path())?;
        fs::write(folder.path().join("config/application.properties"), properties)?;
        let child = spawn(folder.path(), &[])?;
        let mut debezium = Self { child, health, folder, settings };
        debezium.await_streaming(database)?;
        Ok(debezium)
    }

    /// What it was told.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Ends the server in an orderly way (SIGTERM): what was read is written, and the position with it.
    pub fn stop(&mut self) -> Result<()> {
        self.child.stop().map(drop)
    }

    /// Ends the server at once (SIGKILL); the next start repeats what its stored position doesn't cover.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()
    }

    /// Stops the server if it runs, starts it again with the same settings, and waits until it follows the database.
    pub fn restart(&mut self, database: &impl Captured) -> Result<()> {
        self.stop()?;
        self.launch()?;
        self.await_streaming(database)
    }

    /// Starts the server again after [`Debezium::stop`] or [`Debezium::kill`], without waiting for anything.
    pub fn launch(&mut self) -> Result<()> {
        self.child = spawn(self.folder.path(), &[])?;
        Ok(())
    }

    /// The folder that it runs in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// All that the server has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.child.log()
    }

    /// The process, to pause, resume or ask for its id.
    pub fn process(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Healthy, and reading the database's log.
    fn await_streaming(&mut self, database: &impl Captured) -> Result<()> {
        let health = Target::Tcp(self.health.address());
        let settings = &self.settings;
        self.child.await_ready(START, || {
            let answer = http::get(&health, "/q/health")?;
            if answer.status != 200 {
                bail!("/q/health answers {}: {}", answer.status, answer.text());
            }
            database.is_followed(settings)
        })
    }
}

/// Starts Debezium Server in a folder whose `config/application.properties` are its settings; `environment` wins over
/// them, and is what stands in `${…}` there.
fn spawn(folder: &Path, environment: &[(&str, &str)]) -> Result<Child> {
    let distribution = distribution()?;
    let jar = distribution.join(format!("debezium-server-dist-{VERSION}-runner.jar"));
    let mut command: Command = Child::command(java_home()?.join("bin/java"));
    // Tests start it often and never run it for long: the first compiler alone, and the cheapest collector.
    command.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    // Debezium's own start script asks for nothing, but a library of its warns without it from Java 25 on.
    command.arg("--add-opens=java.base/java.lang=ALL-UNNAMED");
    let jars =
        std::env::join_paths([jar, distribution.join("lib/*")]).context("a path with a colon in it")?;
    command.arg("-cp").arg(jars).arg("io.debezium.server.Main").current_dir(folder);
    command.envs(environment.iter().copied());
    Child::spawn("debezium-server", command, &folder.join("log"))
}
