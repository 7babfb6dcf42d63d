//! The example of `examples/join-cache` on this machine: MariaDB, Debezium, Redis, a sidecar, and the program beside it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::python;
use crate::cluster::checkout;
use crate::process::debezium::Settings;
use crate::process::http::{self, Response, Target};
use crate::process::{Child, Debezium, MariaDb, Port, Redis, Sidecar};
use crate::wheel::libraries;

/// How long the sidecar, or the program, may take until it serves.
const START: Duration = Duration::from_mins(1);

/// Where the example's binding has its Redis.
const REDIS: &str = "redis://127.0.0.1:16379";

/// All of it, as it runs.
#[derive(Debug)]
pub struct JoinCache {
    // Fields drop in this order: who asks goes before who is asked.
    program: Child,
    sidecar: Sidecar,
    _debezium: Debezium,
    _redis: Redis,
    mariadb: MariaDb,
    listen: Port,
    _folder: TempDir,
}

impl JoinCache {
    /// Starts all of it, with this executable as the sidecar, and waits until it vouches for what it has and keeps what it
    /// is given. `amend` may change the example's binding.
    pub fn start(sidecar: &Path, amend: impl FnOnce(String) -> String) -> Result<Self> {
        let example = checkout().join("examples/join-cache");
        let read = |file: &str| {
            let path = example.join(file);
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
        };
        let (mariadb, redis) = (MariaDb::start()?, Redis::start()?);
        mariadb.execute(&read("schema.sql")?)?;
        let tables = ["product", "category", "stock"].map(|table| format!("inventory.{table}"));
        let settings = Settings::mariadb().prefix("catalogue");
        let settings = tables.iter().fold(settings, |settings, table| settings.table(table));
        let debezium = Debezium::start(settings, &mariadb, &redis)?;
        let binding = read("binding.yaml")?;
        ensure!(binding.matches(REDIS).count() == 1, "binding.yaml has another Redis than {REDIS}");
        let binding = amend(binding.replace(REDIS, &redis.url()));
        let mut sidecar = Sidecar::builder(sidecar, &binding).start()?;
        sidecar.until("the sidecar vouches for its values", START, |sidecar| {
            let status = sidecar.status()?;
            ensure!(status["sources"]["cdc"]["state"] == "Fresh", "{status}");
            let caches = status["caches"].as_object().context("caches")?;
            ensure!(caches.values().all(|cache| cache["heldOff"] != true), "{status}");
            Ok(())
        })?;

        let (folder, listen) = (tempfile::tempdir()?, Port::free()?);
        let modules = libraries("join-cache-libraries", &example.join("requirements.txt"))?;
        let mut command = python(&example.join("catalogue.py"), &[modules])?;
        command.env("FRESHET_SOCKET", sidecar.folder().join("freshet.sock"));
        command.env("DATABASE_URL", format!("mysql://root@127.0.0.1:{}/inventory", mariadb.port()));
        command.env("LISTEN", listen.address().to_string());
        let mut program = Child::spawn("catalogue.py", command, &folder.path().join("log"))?;
        let target = Target::Tcp(listen.address());
        program.await_ready(START, || http::get(&target, "/").map(drop))?;
        Ok(Self { program, sidecar, _debezium: debezium, _redis: redis, mariadb, listen, _folder: folder })
    }

    /// Where the program serves.
    #[must_use]
    pub fn target(&self) -> Target {
        Target::Tcp(self.listen.address())
    }

    /// Where the program serves, for people.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.listen.address())
    }

    /// What the program answers.
    pub fn get(&self, path: &str) -> Result<Response> {
        http::get(&self.target(), path)
    }

    /// The database behind it.
    #[must_use]
    pub fn mariadb(&self) -> &MariaDb {
        &self.mariadb
    }

    /// Where the sidecar answers.
    #[must_use]
    pub fn sidecar_target(&self) -> Target {
        self.sidecar.tcp()
    }

    /// The sidecar beside it.
    pub fn sidecar(&mut self) -> &mut Sidecar {
        &mut self.sidecar
    }

    /// Fails if the program or the sidecar has ended.
    pub fn must_run(&mut self) -> Result<()> {
        self.sidecar.process().must_run()?;
        self.program.must_run()
    }
}
