//! A Debezium Server that is started with a file as somebody has written it.

use std::fs;

use anyhow::{Result, bail};
use tempfile::TempDir;

use super::super::http::{self, Target};
use super::super::{Child, Port};
use super::{START, spawn};

/// A running Debezium Server with settings of which nothing is known here.
#[derive(Debug)]
pub struct AsWritten {
    // Fields drop in this order: the process goes before the folder it runs in.
    child: Child,
    health: Port,
    folder: TempDir,
    environment: Vec<(String, String)>,
}

impl AsWritten {
    /// Starts a server with this `application.properties` and this environment, and waits until it is healthy. The
    /// port of its health checks alone is another than the file says, because several run here at once.
    pub fn start(properties: &str, environment: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("freshet-debezium-").tempdir()?;
        fs::create_dir(folder.path().join("config"))?;
        // The volume of what it remembers, where that is in files.
        fs::create_dir(folder.path().join("data"))?;
        fs::write(folder.path().join("config/application.properties"), properties)?;
        let health = Port::free()?;
        let number = health.number().to_string();
        let own = [("QUARKUS_HTTP_HOST", "127.0.0.1"), ("QUARKUS_HTTP_PORT", &number)];
        let environment = [&own, environment].concat();
        let child = spawn(folder.path(), &environment)?;
        let environment =
            environment.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut server = Self { child, health, folder, environment };
        server.await_healthy()?;
        Ok(server)
    }

    /// Ends the server in an orderly way (SIGTERM): what was read is written, and the position with it.
    pub fn stop(&mut self) -> Result<()> {
        self.child.stop().map(drop)
    }

    /// Starts it again with all that it has written down.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        let environment: Vec<_> =
            self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.child = spawn(self.folder.path(), &environment)?;
        self.await_healthy()
    }

    /// All that the server has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.child.log()
    }

    fn await_healthy(&mut self) -> Result<()> {
        let health = Target::Tcp(self.health.address());
        self.child.await_ready(START, || {
            let answer = http::get(&health, "/q/health")?;
            if answer.status != 200 {
                bail!("/q/health answers {}: {}", answer.status, answer.text());
            }
            Ok(())
        })
    }
}
