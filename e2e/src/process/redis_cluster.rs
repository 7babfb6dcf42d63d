//! A real Redis Cluster: three masters, and a replica of the one that has a key.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::{Certificate, Redis, until};

/// How long nodes may take to agree with each other.
const AGREED: Duration = Duration::from_secs(30);
/// All slots there are.
const SLOTS: u16 = 16_384;
/// The masters.
const MASTERS: u16 = 3;

/// Four running nodes on free ports of 127.0.0.1.
#[derive(Debug)]
pub struct RedisCluster {
    masters: Vec<Redis>,
    replica: Redis,
    slot: u16,
    owner: usize,
}

impl RedisCluster {
    /// A Cluster in which the master that has `key` has a replica.
    pub fn start(key: &str) -> Result<Self> {
        Self::of(key, || Redis::builder().cluster().start())
    }

    /// The same, whose nodes listen with TLS, too, under this certificate, and speak so among each other.
    pub fn start_tls(key: &str, server: &Certificate) -> Result<Self> {
        Self::of(key, || Redis::builder().cluster().tls(server).start())
    }

    fn of(key: &str, node: impl Fn() -> Result<Redis>) -> Result<Self> {
        let masters: Vec<Redis> = (0..MASTERS).map(|_| node()).collect::<Result<_>>()?;
        let replica = node()?;
        let slot: u16 = masters[0].command(&["CLUSTER", "KEYSLOT", key])?;
        let share = SLOTS.div_ceil(MASTERS);
        let mut first = 0;
        for (epoch, master) in (1..).zip(&masters) {
            let last = (first + share).min(SLOTS) - 1;
            // Different from the start, so that they needn't find out that they collide.
            master.command::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch.to_string()])?;
            master.command::<()>(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()])?;
            first = last + 1;
        }
        let owner = usize::from(slot / share);
        for node in masters[1..].iter().chain([&replica]) {
            let (at, bus) = (node.node_address(), node.bus_port().to_string());
            let meet = ["CLUSTER", "MEET", &at.ip().to_string(), &at.port().to_string(), &bus];
            masters[0].command::<()>(&meet)?;
        }
        let cluster = Self { masters, replica, slot, owner };
        cluster.until_agreed()?;
        let id: String = cluster.owner().command(&["CLUSTER", "MYID"])?;
        until("the replica knows its master", AGREED, || {
            cluster.replica.command::<()>(&["CLUSTER", "REPLICATE", &id])
        })?;
        until("the replica has its copy", AGREED, || {
            ensure!(cluster.replica.info("replication", "master_link_status")?.trim() == "up");
            Ok(())
        })?;
        Ok(cluster)
    }

    fn until_agreed(&self) -> Result<()> {
        until("all nodes know all", AGREED, || {
            for node in self.masters.iter().chain([&self.replica]) {
                let text: String = node.command(&["CLUSTER", "INFO"])?;
                let wanted = ["cluster_state:ok", "cluster_known_nodes:4", "cluster_slots_ok:16384"];
                if let Some(lacking) = wanted.iter().find(|line| !text.contains(*line)) {
                    bail!("{lacking} isn't in\n{text}");
                }
            }
            Ok(())
        })
    }

    /// The master that has the key.
    #[must_use]
    pub fn owner(&self) -> &Redis {
        &self.masters[self.owner]
    }

    /// The same, to be stopped.
    pub fn owner_mut(&mut self) -> &mut Redis {
        &mut self.masters[self.owner]
    }

    /// A master that hasn't it.
    #[must_use]
    pub fn other(&self) -> &Redis {
        &self.masters[(self.owner + 1) % self.masters.len()]
    }

    /// The owner's replica.
    #[must_use]
    pub fn replica(&self) -> &Redis {
        &self.replica
    }

    /// Moves the slot with the key to [`RedisCluster::other`], which is the owner from now on.
    pub fn move_slot(&mut self, key: &str) -> Result<()> {
        let (from, to) = (self.owner(), self.other());
        let id = |node: &Redis| node.command::<String>(&["CLUSTER", "MYID"]);
        let (slot, from_id, to_id) = (self.slot.to_string(), id(from)?, id(to)?);
        to.command::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id])?;
        from.command::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id])?;
        let at = to.node_address();
        let migrate = ["MIGRATE", &at.ip().to_string(), &at.port().to_string(), key, "0", "5000"];
        from.command::<String>(&migrate).context("moving the key")?;
        for node in [to, from] {
            node.command::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id])?;
        }
        self.owner = (self.owner + 1) % self.masters.len();
        Ok(())
    }
}
