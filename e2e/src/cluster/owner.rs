//! Who a cluster belongs to: a process, named so that no later process can be mistaken for it, or nobody.

use std::fs;

use serde::{Deserialize, Serialize};

/// A process that lived at one time: the pid alone is used again, so its start time and the boot belong to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pid: u32,
    /// Clock ticks from boot to the process's start.
    started: u64,
    boot: String,
}

impl Process {
    /// The live process `pid`.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let stat = Stat::of(pid)?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Some(Self { pid, started: stat.started, boot: boot.trim().to_owned() })
    }

    /// Its pid, while it lives.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    fn lives(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }
}

/// The owner of a cluster, as recorded in the cache folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// The cluster is anyone's to remove once this process is gone.
    Process(Process),
    /// The cluster stays until somebody removes it by its name.
    Nobody,
}

impl Owner {
    /// The calling process.
    #[must_use]
    pub fn this() -> Self {
        Process::of(std::process::id()).map_or(Self::Nobody, Self::Process)
    }

    /// The process that started the calling one: the shell of somebody who types a command.
    #[must_use]
    pub fn parent() -> Self {
        Stat::of(std::process::id())
            .and_then(|stat| Process::of(stat.parent))
            .map_or(Self::Nobody, Self::Process)
    }

    /// Whether what it owns may be removed by anyone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Process(process) if !process.lives())
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Process(process) => write!(f, "process {}", process.pid),
            Self::Nobody => f.write_str("nobody"),
        }
    }
}

struct Stat {
    parent: u32,
    started: u64,
}

impl Stat {
    /// `None` for one that is gone or a zombie: that one does nothing any more.
    fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in parentheses, and may hold spaces and parentheses itself.
        let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let started = fields.nth(17)?.parse().ok()?;
        (!matches!(state, "Z" | "X")).then_some(Self { parent, started })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_gone_when_it_has_ended() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let owner = Owner::Process(Process::of(child.id()).unwrap());
        assert!(!owner.is_gone());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(owner.is_gone());
        assert!(!Owner::this().is_gone() && !Owner::parent().is_gone() && !Owner::Nobody.is_gone());
    }

    #[test]
    fn a_pid_used_again_is_somebody_else() {
        let Owner::Process(mut this) = Owner::this() else { panic!("we live") };
        this.started -= 1;
        assert!(Owner::Process(this.clone()).is_gone());
        let text = serde_json::to_string(&Owner::Process(this.clone())).unwrap();
        assert_eq!(serde_json::from_str::<Owner>(&text).unwrap(), Owner::Process(this));
    }
}
