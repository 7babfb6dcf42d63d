//! `cargo xtask setup`: what the chores and tests need on the machine.
//!
//! As root it installs what is missing and says what; otherwise it says what to install. With everything there it
//! takes a fraction of a second.

mod apt;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use freshet_e2e::artefact::{Inputs, artefact};
use freshet_e2e::cluster::{self, Source};
use freshet_e2e::command::{VERB, output, path, program, said, show};
use freshet_e2e::process;

use crate::fuzz;

/// What the machine is made ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The demo: a cluster.
    Demo,
    /// An example by itself: Redis, Postgres, MariaDB and Debezium Server as processes.
    Examples,
    /// All chores: a cluster, and Redis, Postgres, MariaDB and Debezium Server as processes.
    Tests,
}

/// The version of cargo-deny that is installed where there is none.
const CARGO_DENY: &str = "0.20.2";

/// The oldest Go that fetches by itself the newer one that a module asks for.
const GO: (u32, u32) = (1, 21);

/// What the clients of other languages are built with, besides Python and Maven. Go is looked at by itself, and Node comes
/// from a wheel.
const CLIENTS: &[&str] = &["default-jdk-headless"];

/// What stands between in tests.
const POOLERS: &[&str] = &["pgbouncer"];

/// Packages whose program tells that they, or something that does the same, are there. The others are asked of dpkg.
const PROGRAMS: &[(&str, &str)] = &[
    ("containerd", "containerd"),
    ("curl", "curl"),
    ("default-jdk-headless", "javac"),
    ("docker.io", "dockerd"),
    ("g++", "g++"),
    ("gcc", "gcc"),
    ("iproute2", "ip"),
    ("iptables", "iptables"),
    ("jq", "jq"),
    ("mariadb-server", "mariadbd"),
    ("maven", "mvn"),
    ("mmdebstrap", "mmdebstrap"),
    ("mount", "mount"),
    ("pgbouncer", "pgbouncer"),
    ("python3", "python3"),
    ("redis-server", "redis-server"),
    ("runc", "runc"),
    ("tar", "tar"),
    ("unzip", "unzip"),
    ("util-linux", "setpriv"),
];

/// Installs what is missing, or fails with what to install.
pub(crate) fn run(purpose: Purpose) -> Result<()> {
    if rustix::process::geteuid().is_root() {
        apt::remove_leftover()?;
    }
    if purpose == Purpose::Examples {
        return provide(&mut process::PACKAGES.to_vec());
    }
    let own_daemon = !cluster::docker_answers();
    let mut packages = cluster::PACKAGES.to_vec();
    packages.extend(own_daemon.then_some(cluster::DAEMON_PACKAGES).into_iter().flatten());
    if purpose == Purpose::Tests {
        packages.extend(process::PACKAGES.iter().chain(fuzz::PACKAGES).chain(CLIENTS).chain(POOLERS));
    }
    provide(&mut packages)?;
    // Before anything is built that would be built in vain.
    cluster::check_daemon()?;
    check_go()?;
    if cluster::source()? == Source::Built {
        packages.extend(cluster::BUILD_PACKAGES);
        provide(&mut packages)?;
    }
    if purpose == Purpose::Tests {
        cargo_deny()?;
    }
    println!("All {} packages and Go are there.", packages.len());
    Ok(())
}

fn provide(packages: &mut Vec<&str>) -> Result<()> {
    packages.sort_unstable();
    packages.dedup();
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        bail!(
            "missing on this machine: {0}\nInstall it and run this again:\n  \
             sudo apt-get install --no-install-recommends {0}\n\
             (Freshet's chores and tests run on Debian and Ubuntu.)",
            missing.join(" ")
        );
    }
    apt::install(&missing)
}

/// The path of cargo-deny: the one on the PATH, else one that is built into the cache (minutes, once).
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    if let Some(path) = on_path("cargo-deny") {
        return Ok(path);
    }
    let folder = artefact("cargo-deny", &Inputs::new().text(CARGO_DENY), |folder| {
        let target = folder.join("target");
        let mut cargo = program("cargo");
        cargo.args(["install", "--quiet", "--locked", "--version", CARGO_DENY, "--root"]).arg(folder);
        cargo.arg("cargo-deny").env("CARGO_TARGET_DIR", &target);
        // It runs for a second; optimising it would take longer than it ever saves.
        cargo.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
        cargo.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        show(&mut cargo)?;
        std::fs::remove_dir_all(&target).context("removing what cargo-deny was built in")
    })?;
    Ok(folder.join("bin/cargo-deny"))
}

fn missing<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    let (by_program, others): (Vec<&str>, Vec<&str>) =
        packages.iter().partition(|package| program_of(package).is_some());
    let installed = installed(&others);
    let program_is_there =
        |package: &str| program_of(package).is_some_and(|program| on_path(program).is_some());
    let without_program = by_program.into_iter().filter(|package| !program_is_there(package));
    let not_installed = others.into_iter().filter(|package| !installed.iter().any(|other| other == package));
    without_program.chain(not_installed.filter(|package| !is_there_otherwise(package))).collect()
}

fn program_of(package: &str) -> Option<&'static str> {
    PROGRAMS.iter().find(|(other, _)| *other == package).map(|(_, program)| *program)
}

/// What has no program of its own on the PATH and needn't come from a Debian package.
fn is_there_otherwise(package: &str) -> bool {
    match package {
        "postgresql" => process::Postgres::is_installed(),
        "python3-pip" => output(program("python3").args(["-c", "import pip"])).is_ok(),
        _ => false,
    }
}

/// Which of these dpkg knows as installed.
fn installed(packages: &[&str]) -> Vec<String> {
    let mut query = program("dpkg-query");
    query.args(["-W", "-f", "${Package} ${db:Status-Status}\n"]).args(packages);
    // It fails where one of them is unknown, and on a system without dpkg; what it lists counts.
    let listed = said(&mut query, None, VERB).map(|said| said.output).unwrap_or_default();
    listed.lines().filter_map(|line| line.strip_suffix(" installed")).map(str::to_owned).collect()
}

fn check_go() -> Result<()> {
    let wanted = format!("Go {}.{} or newer is needed (https://go.dev/dl)", GO.0, GO.1);
    let said = output(program("go").arg("version")).with_context(|| wanted.clone())?;
    match go_version(&said) {
        Some(version) if version >= GO => Ok(()),
        _ => bail!("{wanted}, not: {}", said.trim()),
    }
}

/// Major and minor version in `go version go1.26.8 linux/amd64`.
fn go_version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.split_once(" go1")?.1.split(|c: char| !c.is_ascii_digit());
    let _ = numbers.next().filter(|rest| rest.is_empty())?;
    Some((1, numbers.next()?.parse().ok()?))
}

/// A program of the PATH or of the folders of system programs, which aren't on every user's.
fn on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&path()).map(|folder| folder.join(program)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(missing(&["tar", "freshet-no-such-package"]), ["freshet-no-such-package"]);
    }

    #[test]
    fn what_a_program_stands_for_is_needed() {
        let cluster = [cluster::PACKAGES, cluster::DAEMON_PACKAGES, cluster::BUILD_PACKAGES].concat();
        let needed = [process::PACKAGES, fuzz::PACKAGES, CLIENTS, POOLERS, &cluster].concat();
        for (package, _) in PROGRAMS {
            assert!(needed.contains(package), "{package} is needed by nothing");
        }
    }

    #[test]
    fn go_says_its_version() {
        assert_eq!(go_version("go version go1.26.8 linux/amd64"), Some((1, 26)));
        assert_eq!(go_version("go version go1.24 linux/arm64"), Some((1, 24)));
        assert_eq!(go_version("go version devel go1.27-abc"), Some((1, 27)));
        assert_eq!(go_version("command not found"), None);
    }
}
