//! How a Kafka is to be started.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::super::certificates::file;
use super::super::{Authority, Certificate, Port};
use super::listeners::{self, Listener, PLAIN};
use super::{Kafka, Ports, distribution, spawn};
use crate::command::{VERB, program, said};
use crate::random::Random;

/// A way to prove who one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mechanism {
    /// The password itself.
    Plain,
    /// A proof of the password, by SHA-256.
    ScramSha256,
    /// A proof of the password, by SHA-512.
    ScramSha512,
}

/// How a [`Kafka`] is to be started. Without further words: no credentials, no TLS, no topics but those that are made.
#[derive(Debug, Default)]
pub struct KafkaBuilder {
    users: Vec<(Mechanism, String, String)>,
    tls: Option<Tls>,
    advertised: Option<SocketAddr>,
    also_advertised: Vec<SocketAddr>,
    settings: BTreeMap<String, String>,
    joins: Option<Joined>,
}

/// The cluster that a broker is a part of, whose controller is somewhere else.
#[derive(Debug)]
struct Joined {
    cluster: String,
    controller: SocketAddr,
}

/// What TLS needs.
#[derive(Debug)]
struct Tls {
    server: Certificate,
    /// The authority of clients, in PEM, and a certificate of it, where they must have one.
    clients: Option<(String, Certificate)>,
}

impl Mechanism {
    /// Its name in Kafka's protocol.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl KafkaBuilder {
    /// Wants SASL of clients, and takes this user by this mechanism. May be said several times.
    #[must_use]
    pub fn user(mut self, mechanism: Mechanism, name: &str, password: &str) -> Self {
        self.users.push((mechanism, name.to_owned(), password.to_owned()));
        self
    }

    /// Wants TLS of clients, under this certificate.
    #[must_use]
    pub fn tls(mut self, server: &Certificate) -> Self {
        self.tls = Some(Tls { server: server.clone(), clients: None });
        self
    }

    /// The same, and wants a certificate of this authority of every client.
    pub fn tls_with_clients_of(mut self, server: &Certificate, clients: &Authority) -> Result<Self> {
        let one = clients.issue(&["test"])?;
        self.tls = Some(Tls { server: server.clone(), clients: Some((clients.pem(), one)) });
        Ok(self)
    }

    /// Sends clients here after their first question: to a proxy that is then pointed to [`Kafka::address`].
    #[must_use]
    pub fn advertised(mut self, address: SocketAddr) -> Self {
        self.advertised = Some(address);
        self
    }

    /// Listens once more, and sends clients who come there to this address after their first question: to a proxy that is
    /// then pointed to [`Kafka::behind`]. May be said several times, for clients that are to be cut off one by one.
    #[must_use]
    pub fn also_advertised(mut self, address: SocketAddr) -> Self {
        self.also_advertised.push(address);
        self
    }

    /// Makes topics that somebody asks for or writes to.
    #[must_use]
    pub fn auto_create_topics(self) -> Self {
        self.set("auto.create.topics.enable", "true")
    }

    /// How often it looks for records that a topic's retention doesn't keep, or compaction (5 minutes and 15 s by
    /// default). Only closed segments are looked at: a topic's `segment.bytes` or `segment.ms` closes them.
    #[must_use]
    pub fn cleans_every(self, time: Duration) -> Self {
        let time = time.as_millis().to_string();
        self.set("log.retention.check.interval.ms", &time)
            .set("log.initial.task.delay.ms", &time)
            .set("log.cleaner.backoff.ms", &time)
    }

    /// Lets users do only what [`Kafka::allow`] has allowed them.
    #[must_use]
    pub fn authorizes(self) -> Self {
        self.set("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer")
            // Who comes without credentials: the tests' own operations, and the server itself.
            .set("super.users", "User:ANONYMOUS")
    }

    /// Is the second broker of this one's cluster, and not a cluster of its own. Each of them answers only for partitions
    /// that it leads.
    pub fn joins(mut self, first: &Kafka) -> Result<Self> {
        let path = first.folder.path().join("data").join("meta.properties");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let cluster = text.lines().find_map(|line| line.strip_prefix("cluster.id="));
        let cluster = cluster.context("no cluster.id in meta.properties")?.to_owned();
        self.joins = Some(Joined { cluster, controller: first.ports.controller.address() });
        Ok(self)
    }

    /// The broker's number in its cluster.
    pub(super) fn node(&self) -> i32 {
        if self.joins.is_some() { 2 } else { 1 }
    }

    /// Sets any property of `server.properties`; wins over all else.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Starts it and waits until it answers. The first start on a machine downloads Kafka and a JRE.
    pub fn start(self) -> Result<Kafka> {
        let folder = tempfile::Builder::new().prefix("freshet-kafka-").tempdir()?;
        let behind = self.also_advertised.iter().map(|_| Port::free()).collect::<Result<_>>()?;
        let ports = Ports { clients: Port::free()?, behind, own: Port::free()?, controller: Port::free()? };
        let lines: Vec<_> = self
            .properties(folder.path(), &ports)?
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        fs::write(folder.path().join("server.properties"), lines.join("\n"))?;
        self.format(folder.path())?;
        let child = spawn(folder.path())?;
        let mut kafka = Kafka { child, ports, folder, how: self };
        kafka.await_ready()?;
        Ok(kafka)
    }

    /// Makes the folder of a new cluster's data, in place of what is there.
    pub(super) fn format(&self, folder: &Path) -> Result<()> {
        match fs::remove_dir_all(folder.join("data")) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).context("removing the data");
            }
            _ => {}
        }
        let (java, arguments) = distribution::java("kafka.tools.StorageTool")?;
        let cluster = self.joins.as_ref().map_or_else(cluster_id, |joined| joined.cluster.clone());
        let mut format = program(java);
        format.args(arguments).arg("format").arg(format!("--cluster-id={cluster}")).arg("--config");
        format.arg(folder.join("server.properties"));
        for (mechanism, name, password) in &self.users {
            if *mechanism != Mechanism::Plain {
                let name_and_password = format!("[name={name},password={password}]");
                format.args(["--add-scram", &format!("{}={name_and_password}", mechanism.name())]);
            }
        }
        said(&mut format, None, VERB)?.succeeded().context("formatting Kafka's folder")?;
        Ok(())
    }

    /// The properties, for this folder; what TLS needs is written into it.
    fn properties(&self, folder: &Path, ports: &Ports) -> Result<BTreeMap<String, String>> {
        let (clients, own) = (ports.clients.address(), ports.own.address());
        let controller = self.joins.as_ref().map_or(ports.controller.address(), |joined| joined.controller);
        let advertised = self.advertised.unwrap_or(clients);
        let protocol = self.protocol();
        let mut all: BTreeMap<String, String> = BTreeMap::new();
        let mut set = |name: &str, value: String| all.insert(name.to_owned(), value);
        let (roles, own_controller) = match self.joins {
            None => ("broker,controller", Some(controller)),
            Some(_) => ("broker", None),
        };
        set("process.roles", roles.to_owned());
        set("node.id", self.node().to_string());
        set("controller.quorum.voters", format!("1@{controller}"));
        set("controller.listener.names", "CONTROLLER".to_owned());
        set("inter.broker.listener.name", "OWN".to_owned());
        let mut listeners = vec![
            Listener::new("CLIENTS", clients, advertised, protocol),
            Listener::new("OWN", own, own, PLAIN),
        ];
        for (number, (port, told)) in ports.behind.iter().zip(&self.also_advertised).enumerate() {
            listeners.push(Listener::new(&format!("BEHIND{number}"), port.address(), *told, PLAIN));
        }
        for (name, value) in listeners::properties(&listeners, own_controller) {
            set(name, value);
        }
        set("log.dirs", folder.join("data").display().to_string());
        for (name, value) in SMALL {
            set(name, (*value).to_owned());
        }
        let mechanisms: Vec<_> = {
            let mut mechanisms: Vec<_> = self.users.iter().map(|(mechanism, _, _)| *mechanism).collect();
            mechanisms.sort_unstable();
            mechanisms.dedup();
            mechanisms
        };
        for mechanism in &mechanisms {
            let name = format!("listener.name.clients.{}.sasl.jaas.config", mechanism.name().to_lowercase());
            set(&name, self.login(*mechanism));
        }
        if !mechanisms.is_empty() {
            let names: Vec<_> = mechanisms.iter().map(|mechanism| mechanism.name()).collect();
            set("sasl.enabled.mechanisms", names.join(","));
        }
        if let Some(Tls { server, clients }) = &self.tls {
            let store = file(folder, "server.pem", &format!("{}{}", server.key, server.certificate))?;
            set("listener.name.clients.ssl.keystore.type", "PEM".to_owned());
            set("listener.name.clients.ssl.keystore.location", store.display().to_string());
            if let Some((authority, _)) = clients {
                let store = file(folder, "clients.pem", authority)?;
                set("listener.name.clients.ssl.truststore.type", "PEM".to_owned());
                set("listener.name.clients.ssl.truststore.location", store.display().to_string());
                set("listener.name.clients.ssl.client.auth", "required".to_owned());
            }
        }
        all.extend(self.settings.clone());
        Ok(all)
    }

    /// What a client in Java is told that connects as the first of the users. What TLS needs is written into `folder`.
    pub(super) fn client(&self, folder: &Path) -> Result<Vec<(String, String)>> {
        let mut all = vec![("security.protocol", self.protocol().to_owned())];
        if let Some((mechanism, name, password)) = self.users.first() {
            let module = match mechanism {
                Mechanism::Plain => "plain.PlainLoginModule",
                Mechanism::ScramSha256 | Mechanism::ScramSha512 => "scram.ScramLoginModule",
            };
            let login = format!(
                "org.apache.kafka.common.security.{module} required username=\"{name}\" password=\"{password}\";"
            );
            all.extend([("sasl.mechanism", mechanism.name().to_owned()), ("sasl.jaas.config", login)]);
        }
        if let Some(Tls { server, clients }) = &self.tls {
            let trusted = file(folder, "trusted.pem", &server.authority)?;
            all.push(("ssl.truststore.type", "PEM".to_owned()));
            all.push(("ssl.truststore.location", trusted.display().to_string()));
            if let Some((_, one)) = clients {
                let own = file(folder, "own.pem", &format!("{}{}", one.key, one.certificate))?;
                all.push(("ssl.keystore.type", "PEM".to_owned()));
                all.push(("ssl.keystore.location", own.display().to_string()));
            }
        }
        Ok(all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    fn protocol(&self) -> &'static str {
        match (self.users.is_empty(), self.tls.is_some()) {
            (true, false) => PLAIN,
            (true, true) => "SSL",
            (false, false) => "SASL_PLAINTEXT",
            (false, true) => "SASL_SSL",
        }
    }

    /// Who may log in by a mechanism: for SCRAM it stands in the cluster's data.
    fn login(&self, mechanism: Mechanism) -> String {
        let module = "org.apache.kafka.common.security";
        if mechanism != Mechanism::Plain {
            return format!("{module}.scram.ScramLoginModule required;");
        }
        let users = self.users.iter().filter(|(of, _, _)| *of == mechanism);
        let users: Vec<_> = users.map(|(_, name, password)| format!("user_{name}=\"{password}\"")).collect();
        format!("{module}.plain.PlainLoginModule required {};", users.join(" "))
    }
}

/// What makes a cluster of one, and a small one: few partitions of internal topics, small buffers.
const SMALL: &[(&str, &str)] = &[
    ("auto.create.topics.enable", "false"),
    ("offsets.topic.num.partitions", "1"),
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.num.partitions", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("share.coordinator.state.topic.num.partitions", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("log.cleaner.dedupe.buffer.size", "2097152"),
    ("num.network.threads", "2"),
    ("num.io.threads", "2"),
];

/// A new cluster's id, as Kafka writes UUIDs.
fn cluster_id() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut random = Random::new(now.as_secs() ^ u64::from(now.subsec_nanos()) << 32);
    let halves = [random.next().to_be_bytes(), random.next().to_be_bytes()];
    BASE64_URL_SAFE_NO_PAD.encode(halves.concat())
}
