//! The operator's survey as a process, and what it uses.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result};
use freshet_e2e::process::Child;
use serde_json::json;
use tempfile::TempDir;

use super::fleet::Fleet;
use super::real;
use crate::Usage;

/// It runs.
pub(super) struct Asker {
    // The process goes before the folder it uses.
    child: Child,
    _folder: TempDir,
}

impl Asker {
    pub(super) fn start(program: &Path, fleet: &Fleet) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("freshet-survey-").tempdir()?;
        let named = fleet.addresses().iter().enumerate();
        let sidecars: BTreeMap<String, SocketAddr> =
            named.map(|(number, address)| (format!("web-7d4b9c6f5-{number:05}"), *address)).collect();
        let binding = folder.path().join("binding.json");
        fs::write(&binding, json!({"sidecars": sidecars, "tables": real::tables()}).to_string())?;
        let mut command = Child::command(program);
        command.arg(&binding);
        let child = Child::spawn("survey", command, &folder.path().join("log"))?;
        Ok(Self { child, _folder: folder })
    }

    pub(super) fn must_run(&mut self) -> Result<()> {
        self.child.must_run()
    }

    /// What it has said last.
    pub(super) fn said(&self) -> String {
        self.child.log().lines().last().unwrap_or_default().to_owned()
    }

    pub(super) fn used(&self) -> Result<Usage> {
        Usage::of(self.child.pid()).context("what the survey uses")
    }
}
