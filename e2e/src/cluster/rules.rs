//! The packet filter before and after a Docker daemon, which leaves its chains behind when it stops.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::command::{VERB, fed, output, program};

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// What all Docker daemons of a machine have in common: Docker's chains, the jumps to them, the policy of FORWARD, and
/// forwarding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shared {
    /// Another daemon runs, perhaps started after ours: it needs them.
    InUse,
    /// Ours was the only one.
    Unused,
}

/// The state that a daemon changes: its chains, the policy of FORWARD, and forwarding itself.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rules {
    /// By table, the chains that Docker uses.
    chains: BTreeMap<String, Vec<String>>,
    forward_policy: String,
    forwarding: String,
}

impl Rules {
    /// As it is now.
    pub(crate) fn now() -> Result<Self> {
        let forwarding = fs::read_to_string(FORWARDING).with_context(|| format!("reading {FORWARDING}"))?;
        Ok(Self::read(&save()?, forwarding.trim()))
    }

    fn read(saved: &str, forwarding: &str) -> Self {
        let mut chains = BTreeMap::<String, Vec<String>>::new();
        // The kernel's, where the table isn't even loaded.
        let mut forward_policy = "ACCEPT".to_owned();
        for (table, line) in by_table(saved) {
            let Some(declared) = line.strip_prefix(':') else { continue };
            let mut words = declared.split(' ');
            let (name, policy) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            if name.starts_with("DOCKER") {
                chains.entry(table.to_owned()).or_default().push(name.to_owned());
            } else if table == "filter" && name == "FORWARD" {
                policy.clone_into(&mut forward_policy);
            }
        }
        Self { chains, forward_policy, forwarding: forwarding.to_owned() }
    }

    /// What was added since: rules of the bridges that begin with `bridges`, and what all daemons share.
    pub(crate) fn added(&self, bridges: &str, shared: Shared) -> Result<Vec<String>> {
        Ok(self.removal(&save()?, bridges, shared).into_values().flatten().collect())
    }

    /// Removes that. Chains that were there before stay.
    pub(crate) fn restore(&self, bridges: &str, shared: Shared) -> Result<()> {
        let script = self.script(&save()?, bridges, shared);
        if !script.is_empty() {
            fed(program("iptables-restore").arg("--noflush"), Some(script.as_bytes()), VERB)?;
        }
        if shared == Shared::InUse {
            return Ok(());
        }
        if fs::read_to_string(FORWARDING)?.trim() != self.forwarding {
            fs::write(FORWARDING, &self.forwarding).with_context(|| format!("writing {FORWARDING}"))?;
        }
        Ok(())
    }

    /// What is fed to `iptables-restore`.
    fn script(&self, saved: &str, bridges: &str, shared: Shared) -> String {
        let mut script = String::new();
        for (table, lines) in self.removal(saved, bridges, shared) {
            let _ = write!(script, "*{table}\n{}\nCOMMIT\n", lines.join("\n"));
        }
        if shared == Shared::Unused && Self::read(saved, "").forward_policy != self.forward_policy {
            let _ = write!(script, "*filter\n:FORWARD {} [0:0]\nCOMMIT\n", self.forward_policy);
        }
        script
    }

    /// By table, the lines for `iptables-restore` that remove what was added: rules, then chains' content, then chains.
    fn removal(&self, saved: &str, bridges: &str, shared: Shared) -> BTreeMap<String, Vec<String>> {
        let now = Self::read(saved, "");
        let mut removal = BTreeMap::<String, Vec<String>>::new();
        let new = |table: &str, chain: &str| {
            let has = |rules: &Self| {
                rules.chains.get(table).is_some_and(|chains| chains.iter().any(|it| it == chain))
            };
            shared == Shared::Unused && has(&now) && !has(self)
        };
        // A published port has a rule that names its container's address alone; the bridge's own rule has the network.
        let of_bridges = saved.lines().filter(|line| names_bridge(line, bridges));
        let networks: Vec<Network> = of_bridges.filter_map(source).collect();
        for (table, line) in by_table(saved) {
            let Some(rule) = line.strip_prefix("-A ") else { continue };
            let mut words = rule.split(' ');
            let chain = words.next().unwrap_or_default();
            let target =
                rule.split(" -j ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
            let ours = names_bridge(rule, bridges) || source(rule).is_some_and(|from| from.within(&networks));
            if !new(table, chain) && (ours || new(table, target)) {
                removal.entry(table.to_owned()).or_default().push(format!("-D {rule}"));
            }
        }
        for order in ["-F", "-X"] {
            for (table, chains) in &now.chains {
                for chain in chains.iter().filter(|chain| new(table, chain)) {
                    removal.entry(table.clone()).or_default().push(format!("{order} {chain}"));
                }
            }
        }
        removal
    }
}

fn names_bridge(rule: &str, bridges: &str) -> bool {
    rule.split(' ').any(|word| word.starts_with(bridges))
}

/// What a rule's `-s` says.
fn source(rule: &str) -> Option<Network> {
    let (address, length) = rule.split("-s ").nth(1)?.split(' ').next()?.split_once('/')?;
    Some(Network {
        address: address.parse().ok()?,
        length: length.parse().ok().filter(|length| *length <= 32)?,
    })
}

struct Network {
    address: Ipv4Addr,
    /// 0 to 32.
    length: u32,
}

impl Network {
    fn within(&self, networks: &[Self]) -> bool {
        networks.iter().any(|outer| {
            let mask = u32::MAX.checked_shl(32 - outer.length).unwrap_or(0);
            self.length >= outer.length && (self.address.to_bits() ^ outer.address.to_bits()) & mask == 0
        })
    }
}

fn save() -> Result<String> {
    output(&mut program("iptables-save"))
}

/// Every line with the table it belongs to.
fn by_table(saved: &str) -> impl Iterator<Item = (&str, &str)> {
    saved.lines().scan("", |table, line| {
        if let Some(name) = line.strip_prefix('*') {
            *table = name;
        }
        Some((*table, line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str =
        "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [1:2]\n-A INPUT -p tcp -j ACCEPT\nCOMMIT\n";
    const AFTER: &str = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [1:2]\n:DOCKER - [0:0]\n:DOCKER-USER - [0:0]\n\
        -A INPUT -p tcp -j ACCEPT\n-A FORWARD -j DOCKER-USER\n-A FORWARD -o fr0a1b-01234567 -j DOCKER\n\
        -A FORWARD -i virbr0 -j ACCEPT\n-A DOCKER-USER -j RETURN\nCOMMIT\n\
        *nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -s 172.18.0.0/16 ! -o fr0a1b-01234567 -j MASQUERADE\n\
        -A POSTROUTING -s 172.18.0.3/32 -d 172.18.0.3/32 -p tcp -m tcp --dport 6443 -j MASQUERADE\n\
        -A POSTROUTING -s 172.19.0.3/32 -d 172.19.0.3/32 -p tcp -m tcp --dport 6443 -j MASQUERADE\nCOMMIT\n";

    #[test]
    fn what_the_daemon_added_is_removed_and_nothing_else() {
        let removal = Rules::read(BEFORE, "0").removal(AFTER, "fr0a1b-", Shared::Unused);
        assert_eq!(
            removal["filter"],
            [
                "-D FORWARD -j DOCKER-USER",
                "-D FORWARD -o fr0a1b-01234567 -j DOCKER",
                "-F DOCKER",
                "-F DOCKER-USER",
                "-X DOCKER",
                "-X DOCKER-USER",
            ]
        );
        assert_eq!(
            removal["nat"],
            [
                "-D POSTROUTING -s 172.18.0.0/16 ! -o fr0a1b-01234567 -j MASQUERADE",
                "-D POSTROUTING -s 172.18.0.3/32 -d 172.18.0.3/32 -p tcp -m tcp --dport 6443 -j MASQUERADE",
            ]
        );
    }

    #[test]
    fn a_daemon_that_was_started_later_keeps_what_it_needs() {
        let script = Rules::read(BEFORE, "0").script(AFTER, "fr0a1b-", Shared::InUse);
        let ours = "*filter\n-D FORWARD -o fr0a1b-01234567 -j DOCKER\nCOMMIT\n*nat\n\
            -D POSTROUTING -s 172.18.0.0/16 ! -o fr0a1b-01234567 -j MASQUERADE\n\
            -D POSTROUTING -s 172.18.0.3/32 -d 172.18.0.3/32 -p tcp -m tcp --dport 6443 -j MASQUERADE\nCOMMIT\n";
        assert_eq!(script, ours);
        let alone = Rules::read(BEFORE, "0").script(AFTER, "fr0a1b-", Shared::Unused);
        assert!(alone.ends_with("*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n"), "{alone}");
    }

    #[test]
    fn chains_of_another_daemon_stay() {
        let before = Rules::read(AFTER, "1");
        assert_eq!(before.removal(AFTER, "frffff-", Shared::Unused), BTreeMap::new());
        assert_eq!(before.forward_policy, "DROP");
        assert_eq!(Rules::read("", "1").forward_policy, "ACCEPT");
    }
}
