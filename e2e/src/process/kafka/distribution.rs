//! Kafka's libraries, from Maven Central, kept in the cache of artefacts.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::super::debezium::java_home;
use crate::artefact::{Inputs, artefact};
use crate::command::{BUILD, program, said};

/// The version of Kafka that everything here runs.
pub const VERSION: &str = "4.1.0";

/// What Kafka consists of.
const POM: &str = include_str!("pom.xml");

/// The folder of all libraries. The first call downloads 40 MB.
fn libraries() -> Result<PathBuf> {
    artefact("kafka", &Inputs::new().text(VERSION).text(POM), |folder| {
        let scratch = folder.join("scratch");
        fs::create_dir(&scratch)?;
        fs::write(scratch.join("pom.xml"), POM.replace("${version}", VERSION))?;
        let mut maven = program("mvn");
        maven.args(["--batch-mode", "--quiet", "--no-transfer-progress"]);
        // A repository of its own, so that nothing stays in the user's.
        maven.arg(property("maven.repo.local", &scratch.join("repository")));
        maven.arg("org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies");
        maven.arg(property("outputDirectory", folder)).current_dir(&scratch);
        let said = said(&mut maven, None, BUILD)?;
        // Maven says on its standard output what went wrong.
        let output = said.output.clone();
        said.succeeded().with_context(|| format!("see `cargo xtask setup`\n{output}"))?;
        fs::remove_dir_all(&scratch).context("removing Maven's repository")
    })
}

/// The program and the arguments that run a class of Kafka's.
pub(super) fn java(class: &str) -> Result<(PathBuf, Vec<OsString>)> {
    let mut arguments: Vec<OsString> = Vec::new();
    // Tests start it often and never run it for long: the first compiler alone, and the cheapest collector.
    arguments.extend(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"].map(OsString::from));
    let logged = ["defaultLogLevel=warn", "showDateTime=true", "dateTimeFormat=HH:mm:ss.SSS"];
    arguments.extend(logged.map(|option| format!("-Dorg.slf4j.simpleLogger.{option}").into()));
    arguments.extend(["-cp".into(), libraries()?.join("*").into(), class.into()]);
    Ok((java_home()?.join("bin/java"), arguments))
}

fn property(name: &str, value: &Path) -> OsString {
    let mut property = OsString::from(format!("-D{name}="));
    property.push(value);
    property
}
