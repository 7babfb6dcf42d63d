//! The packet filter before and after a Docker daemon, which leaves its chains behind when it stops.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::command::{fed, output, program};

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// The state that a daemon changes: its chains, the policy of FORWARD, and forwarding itself.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rules {
    /// By table, the chains that Docker uses.
    chains: BTreeMap<String, Vec<String>>,
    forward_policy: Option<String>,
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
        let mut forward_policy = None;
        for (table, line) in by_table(saved) {
            let Some(declared) = line.strip_prefix(':') else { continue };
            let mut words = declared.split(' ');
            let (name, policy) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            if name.starts_with("DOCKER") {
                chains.entry(table.to_owned()).or_default().push(name.to_owned());
            } else if table == "filter" && name == "FORWARD" {
                forward_policy = Some(policy.to_owned());
            }
        }
        Self { chains, forward_policy, forwarding: forwarding.to_owned() }
    }

    /// What was added since: rules of the bridges that begin with `bridges`, Docker's chains, and jumps to them.
    pub(crate) fn added(&self, bridges: &str) -> Result<Vec<String>> {
        Ok(self.removal(&save()?, bridges).into_values().flatten().collect())
    }

    /// Removes that, and puts the policy and forwarding back. Chains that were there before stay.
    pub(crate) fn restore(&self, bridges: &str) -> Result<()> {
        let saved = save()?;
        let mut script = String::new();
        for (table, lines) in self.removal(&saved, bridges) {
            let _ = write!(script, "*{table}\n{}\nCOMMIT\n", lines.join("\n"));
        }
        let now = Self::read(&saved, "");
        if let (Some(before), true) = (&self.forward_policy, now.forward_policy != self.forward_policy) {
            let _ = write!(script, "*filter\n:FORWARD {before} [0:0]\nCOMMIT\n");
        }
        if !script.is_empty() {
            fed(program("iptables-restore").arg("--noflush"), Some(script.as_bytes()))?;
        }
        if fs::read_to_string(FORWARDING)?.trim() != self.forwarding {
            fs::write(FORWARDING, &self.forwarding).with_context(|| format!("writing {FORWARDING}"))?;
        }
        Ok(())
    }

    /// By table, the lines for `iptables-restore` that remove what was added: rules, then chains' content, then chains.
    fn removal(&self, saved: &str, bridges: &str) -> BTreeMap<String, Vec<String>> {
        let now = Self::read(saved, "");
        let mut removal = BTreeMap::<String, Vec<String>>::new();
        let new = |table: &str, chain: &str| {
            let has = |rules: &Self| {
                rules.chains.get(table).is_some_and(|chains| chains.iter().any(|it| it == chain))
            };
            has(&now) && !has(self)
        };
        for (table, line) in by_table(saved) {
            let Some(rule) = line.strip_prefix("-A ") else { continue };
            let mut words = rule.split(' ');
            let chain = words.next().unwrap_or_default();
            let target =
                rule.split(" -j ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
            let of_bridge = rule.split(' ').any(|word| word.starts_with(bridges));
            if !new(table, chain) && (of_bridge || new(table, target)) {
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
        *nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -s 172.18.0.0/16 ! -o fr0a1b-01234567 -j MASQUERADE\nCOMMIT\n";

    #[test]
    fn what_the_daemon_added_is_removed_and_nothing_else() {
        let removal = Rules::read(BEFORE, "0").removal(AFTER, "fr0a1b-");
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
        assert_eq!(removal["nat"], ["-D POSTROUTING -s 172.18.0.0/16 ! -o fr0a1b-01234567 -j MASQUERADE"]);
    }

    #[test]
    fn chains_of_another_daemon_stay() {
        let before = Rules::read(AFTER, "1");
        assert_eq!(before.removal(AFTER, "frffff-"), BTreeMap::new());
        assert_eq!(before.forward_policy.as_deref(), Some("DROP"));
    }
}
