//! Packages installed for their programs alone: no service of the machine is started for them, now or at its next boot.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use freshet_e2e::command::{output, path, program};

/// What packages ask before they start a service, if there is such a program.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// By this line a policy of ours is known that a killed run has left.
const OURS: &str = "# Freshet's set-up: what it installs isn't started.";

/// Packages with services that would run from the next boot on, and their units.
const SERVICES: [(&str, &[&str]); 6] = [
    ("containerd", &["containerd.service"]),
    ("docker.io", &["docker.service", "docker.socket"]),
    ("mariadb-server", &["mariadb.service"]),
    ("pgbouncer", &["pgbouncer.service"]),
    ("postgresql", &["postgresql.service"]),
    ("redis-server", &["redis-server.service"]),
];

pub(super) fn install(packages: &[&str]) -> Result<()> {
    println!("Installing {}; no service is started.", packages.join(" "));
    let _policy = Policy::forbid(Path::new(POLICY))?;
    let apt = || {
        let mut apt = Command::new("apt-get");
        // Without questions, and without restarting the machine's other services where needrestart would.
        apt.arg("--quiet")
            .env("PATH", path())
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("NEEDRESTART_SUSPEND", "1");
        apt
    };
    run(apt().arg("update"))?;
    run(apt().args(["install", "--yes", "--no-install-recommends"]).args(packages))?;
    for (_, units) in SERVICES.iter().filter(|(package, _)| packages.contains(package)) {
        // Where there is no systemd, nothing is enabled.
        let _ = output(program("systemctl").args(["disable", "--quiet"]).args(*units));
    }
    Ok(())
}

/// Runs it to its end, whatever we are asked meanwhile: half an installation is worse than a late stop, and a Ctrl-C
/// reaches apt itself, which knows where it can end.
fn run(apt: &mut Command) -> Result<()> {
    let name = format!("{apt:?}");
    let status = apt.status().with_context(|| format!("starting {name}"))?;
    ensure!(status.success(), "{name}: {status}");
    Ok(())
}

/// Removes the policy that a killed run has left, so that the machine's services can be started again.
pub(super) fn remove_leftover() -> Result<()> {
    remove_ours(Path::new(POLICY))
}

fn remove_ours(path: &Path) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|text| text.contains(OURS)) {
        fs::remove_file(path).with_context(|| format!("removing {}", path.display()))?;
    }
    Ok(())
}

/// Services are not started while this lives, unless the machine has a policy of its own: that one stays.
struct Policy {
    ours: Option<PathBuf>,
}

impl Policy {
    fn forbid(path: &Path) -> Result<Self> {
        remove_ours(path)?;
        let writing = || format!("writing {}", path.display());
        let mut file = match File::create_new(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(Self { ours: None }),
            file => file.with_context(writing)?,
        };
        let policy = Self { ours: Some(path.to_owned()) };
        // 101: forbidden.
        file.write_all(format!("#!/bin/sh\n{OURS}\nexit 101\n").as_bytes()).with_context(writing)?;
        file.set_permissions(fs::Permissions::from_mode(0o755)).with_context(writing)?;
        Ok(policy)
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        let Some(path) = &self.ours else { return };
        if let Err(error) = fs::remove_file(path) {
            eprintln!("{} keeps packages from starting services; remove it: {error}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freshet_e2e::command::{VERB, said};

    #[test]
    fn services_are_forbidden_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy-rc.d");
        let policy = Policy::forbid(&path).unwrap();
        let answer = said(program(&path).args(["redis-server", "start"]), None, VERB).unwrap();
        assert_eq!(answer.status.code(), Some(101));
        drop(policy);
        assert!(!path.exists());
    }

    #[test]
    fn a_policy_of_the_machine_stays_and_one_that_was_left_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy-rc.d");
        fs::write(&path, "#!/bin/sh\nexit 0\n").unwrap();
        drop(Policy::forbid(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "#!/bin/sh\nexit 0\n");
        fs::remove_file(&path).unwrap();
        std::mem::forget(Policy::forbid(&path).unwrap());
        drop(Policy::forbid(&path).unwrap());
        assert!(!path.exists());
    }
}
