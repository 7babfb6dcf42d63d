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
    _health: Port,
    _folder: TempDir,
}

impl AsWritten {
    /// Starts a server with this `application.properties` and this environment, and waits until it is healthy. The
    /// port of its health checks alone is another than the file says, because several run here at once.
    pub fn start(properties: &str, environment: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("freshet-debezium-").tempdir()?;
        fs::create_dir(folder.path().join("config"))?;
        fs::write(folder.path().join("config/application.properties"), properties)?;
        let port = Port::free()?;
        let number = port.number().to_string();
        let own = [("QUARKUS_HTTP_HOST", "127.0.0.1"), ("QUARKUS_HTTP_PORT", &number)];
        let mut child = spawn(folder.path(), &[&own, environment].concat())?;
        let health = Target::Tcp(port.address());
        child.await_ready(START, || {
            let answer = http::get(&health, "/q/health")?;
            if answer.status != 200 {
                bail!("/q/health answers {}: {}", answer.status, answer.text());
            }
            Ok(())
        })?;
        Ok(Self { child, _health: port, _folder: folder })
    }

    /// All that the server has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.child.log()
    }
}
