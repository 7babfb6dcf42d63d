//! `nats-server`, built from its Go module and kept in the cache of artefacts.

use std::path::PathBuf;

use anyhow::Result;

use crate::artefact::{Inputs, artefact, folder};
use crate::command::{logged, program as command};

/// The version of `nats-server` that everything here runs.
pub const VERSION: &str = "v2.12.0";

/// The program. The first call builds it, which takes a minute.
pub fn program() -> Result<PathBuf> {
    let built = artefact("nats-server", &Inputs::new().text(VERSION), |into| {
        let mut go = command("go");
        go.args(["install", "-trimpath", "-ldflags=-s -w"]);
        go.arg(format!("github.com/nats-io/nats-server/v2@{VERSION}")).env("GOBIN", into);
        // Nothing of the caller's environment may change what is built.
        go.env("CGO_ENABLED", "0").env("GOFLAGS", "").env("GOWORK", "off");
        logged(&mut go, &folder().join("nats-server.log"))
    })?;
    Ok(built.join("nats-server"))
}
