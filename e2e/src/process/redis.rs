//! A real `redis-server`.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use redis::{Client, Connection, FromRedisValue, IntoConnectionInfo as _, cmd};
use tempfile::TempDir;

use super::certificates::file;
use super::{Authority, Certificate, Child, Port};

/// How long Redis may take to answer PING after its start; loading a large data set is not what tests do.
const START: Duration = Duration::from_mins(1);

/// How long one call of the test's client may take, so that a paused Redis is an error and not a hang.
const CALL: Duration = Duration::from_secs(30);

/// How much one call writes at most, about, in bytes: on a busy machine, to a disk, it has to be done in time.
const WRITTEN_AT_ONCE: usize = 8 << 20;

/// How a [`Redis`] is to be started. Without further words: no password, no persistence.
#[derive(Debug, Default)]
pub struct RedisBuilder {
    password: Option<String>,
    append_only: bool,
    cluster: bool,
    tls: Option<Tls>,
    arguments: Vec<String>,
}

/// What TLS needs.
#[derive(Debug)]
struct Tls {
    server: Certificate,
    /// The authority of clients, in PEM; whether they must have a certificate.
    clients: Option<String>,
}

impl RedisBuilder {
    /// Requires this password of every client.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Keeps data over restarts and kills: append-only file, written to disk at every command.
    #[must_use]
    pub fn append_only(mut self) -> Self {
        self.append_only = true;
        self
    }

    /// Starts it as a replica of the server at `address` (`host:port`), which has no password.
    #[must_use]
    pub fn replica_of(self, address: SocketAddr) -> Self {
        let words = format!("{} {}", address.ip(), address.port());
        self.set("replicaof", &words).set("repl-diskless-sync-delay", "0")
    }

    /// Listens on a second port, with TLS, under this certificate.
    #[must_use]
    pub fn tls(mut self, server: &Certificate) -> Self {
        self.tls = Some(Tls { server: server.clone(), clients: None });
        self
    }

    /// The same, and wants a certificate of this authority of every client of that port.
    #[must_use]
    pub fn tls_with_clients_of(mut self, server: &Certificate, clients: &Authority) -> Self {
        self.tls = Some(Tls { server: server.clone(), clients: Some(clients.pem()) });
        self
    }

    /// Makes it a node of a Cluster, without slots and alone: see [`super::RedisCluster`].
    #[must_use]
    pub(super) fn cluster(mut self) -> Self {
        self.cluster = true;
        self.set("cluster-node-timeout", "5000")
    }

    /// Adds a setting, as in `redis.conf`: `.set("maxmemory", "10mb")`.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.arguments.extend([format!("--{name}"), value.to_owned()]);
        self
    }

    /// Starts the server and waits until it answers.
    pub fn start(self) -> Result<Redis> {
        let folder = tempfile::Builder::new().prefix("freshet-redis-").tempdir()?;
        let ports = Ports { plain: Port::free()?, tls: Port::free()?, bus: Port::free()? };
        let child = spawn(&self, &folder, &ports)?;
        let mut redis = Redis { child, ports, folder, how: self };
        redis.await_ready()?;
        Ok(redis)
    }
}

/// A running `redis-server` on a free port of 127.0.0.1 with its data in a temporary folder.
#[derive(Debug)]
pub struct Redis {
    // Fields drop in this order: the process goes before the folder it writes into.
    child: Child,
    ports: Ports,
    folder: TempDir,
    how: RedisBuilder,
}

#[derive(Debug)]
struct Ports {
    plain: Port,
    /// For TLS, where it was asked for.
    tls: Port,
    /// For a Cluster's nodes among each other.
    bus: Port,
}

impl Redis {
    /// A server without password and persistence.
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    /// A server with more to say about it.
    #[must_use]
    pub fn builder() -> RedisBuilder {
        RedisBuilder::default()
    }

    /// `redis://127.0.0.1:<port>`, never with the password in it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// `127.0.0.1:<port>`.
    #[must_use]
    pub fn address(&self) -> String {
        self.ports.plain.address().to_string()
    }

    /// `127.0.0.1:<port>` of the port with TLS.
    #[must_use]
    pub fn tls_address(&self) -> String {
        self.ports.tls.address().to_string()
    }

    /// Where a Cluster's nodes tell others that it is: with TLS where it listens so.
    pub(super) fn node_address(&self) -> SocketAddr {
        if self.how.tls.is_some() { self.ports.tls.address() } else { self.ports.plain.address() }
    }

    /// The port on which a Cluster's nodes speak with each other.
    pub(super) fn bus_port(&self) -> u16 {
        self.ports.bus.number()
    }

    /// The same as a socket's address.
    #[must_use]
    pub fn socket_address(&self) -> SocketAddr {
        self.ports.plain.address()
    }

    /// Makes it a replica of the server at `address`, or with `None` a master, keeping its data.
    pub fn follow(&self, address: Option<SocketAddr>) -> Result<()> {
        let (host, port) = address.map_or(("NO".to_owned(), "ONE".to_owned()), |address| {
            (address.ip().to_string(), address.port().to_string())
        });
        self.command::<String>(&["REPLICAOF", &host, &port]).map(drop)
    }

    /// The value of a line of `INFO`.
    pub fn info(&self, section: &str, name: &str) -> Result<String> {
        let text: String = self.command(&["INFO", section])?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::to_owned).with_context(|| format!("INFO {section} has no {name}"))
    }

    /// The password, if one was asked for.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        self.how.password.as_deref()
    }

    /// The process, for what isn't named here.
    pub fn process(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Ends the server in an orderly way (SIGTERM). The port stays reserved for [`Redis::restart`].
    pub fn stop(&mut self) -> Result<()> {
        self.child.stop().map(drop)
    }

    /// Ends the server at once (SIGKILL).
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()
    }

    /// Stops the server if it runs, and starts it again on the same port with the same data folder.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.child = spawn(&self.how, &self.folder, &self.ports)?;
        self.await_ready()
    }

    /// Freezes the server (SIGSTOP): connections stay open, nothing answers.
    pub fn pause(&mut self) -> Result<()> {
        self.child.pause()
    }

    /// Lets a frozen server go on.
    pub fn resume(&mut self) -> Result<()> {
        self.child.resume()
    }

    /// A new connection of the test's own, with time-outs of 5 s.
    pub fn connection(&self) -> Result<Connection> {
        connect(&self.ports.plain, self.password())
    }

    /// Runs one command: `redis.command::<u64>(&["XLEN", "shop.cdc"])`.
    pub fn command<T: FromRedisValue>(&self, words: &[&str]) -> Result<T> {
        let (name, arguments) = words.split_first().context("a command has a name")?;
        let mut connection = self.connection()?;
        cmd(name).arg(arguments).query(&mut connection).with_context(|| format!("redis command {words:?}"))
    }

    /// Adds an entry to a stream and returns its id.
    pub fn xadd(&self, stream: &str, fields: &[(&str, &str)]) -> Result<String> {
        let mut words = vec!["XADD", stream, "*"];
        words.extend(fields.iter().flat_map(|(name, value)| [*name, *value]));
        self.command(&words)
    }

    /// Adds the same entry of one field to a stream so many times.
    pub fn xadd_many(&self, stream: &str, name: &str, value: &str, count: usize) -> Result<()> {
        let add = "for i = 1, ARGV[3] do redis.call('XADD', KEYS[1], '*', ARGV[1], ARGV[2]) end return 1";
        in_blocks(count, name.len() + value.len(), |count| {
            self.command::<u64>(&["EVAL", add, "1", stream, name, value, &count.to_string()]).map(drop)
        })
    }

    /// Publishes the same message to a channel so many times.
    pub fn publish_many(&self, channel: &str, message: &str, count: usize) -> Result<()> {
        let publish = "for i = 1, ARGV[3] do redis.call('PUBLISH', ARGV[1], ARGV[2]) end return 1";
        in_blocks(count, message.len(), |count| {
            self.command::<u64>(&["EVAL", publish, "0", channel, message, &count.to_string()]).map(drop)
        })
    }

    fn await_ready(&mut self) -> Result<()> {
        let (port, password) = (&self.ports.plain, self.how.password.as_deref());
        self.child.await_ready(START, || Ok(cmd("PING").exec(&mut connect(port, password)?)?))
    }
}

/// Writes something of this size so many times, in as many calls as that takes.
fn in_blocks(count: usize, size: usize, write: impl Fn(usize) -> Result<()>) -> Result<()> {
    let block = (WRITTEN_AT_ONCE / size.max(1)).max(1);
    (0..count).step_by(block).try_for_each(|from| write(block.min(count - from)))
}

pub(super) fn connect(port: &Port, password: Option<&str>) -> Result<Connection> {
    let mut info = format!("redis://{}", port.address()).into_connection_info()?;
    if let Some(password) = password {
        let settings = info.redis_settings().clone().set_password(password);
        info = info.set_redis_settings(settings);
    }
    let connection = Client::open(info)?.get_connection_with_timeout(CALL)?;
    connection.set_read_timeout(Some(CALL))?;
    connection.set_write_timeout(Some(CALL))?;
    Ok(connection)
}

fn spawn(how: &RedisBuilder, folder: &TempDir, ports: &Ports) -> Result<Child> {
    let mut command = Child::command("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &ports.plain.number().to_string(), "--save", ""]);
    command.arg("--dir").arg(folder.path());
    if how.append_only {
        command.args(["--appendonly", "yes", "--appendfsync", "always"]);
    }
    if let Some(password) = &how.password {
        command.args(["--requirepass", password]);
    }
    if how.cluster {
        command.args(["--cluster-enabled", "yes", "--cluster-port", &ports.bus.number().to_string()]);
    }
    if let Some(Tls { server, clients }) = &how.tls {
        let file = |name, text: &str| file(folder.path(), name, text);
        command.args(["--tls-port", &ports.tls.number().to_string()]);
        command.arg("--tls-cert-file").arg(file("tls.crt", &server.certificate)?);
        command.arg("--tls-key-file").arg(file("tls.key", &server.key)?);
        let authority = clients.as_ref().unwrap_or(&server.authority);
        command.arg("--tls-ca-cert-file").arg(file("ca.crt", authority)?);
        if how.cluster {
            // Before 7.2 it sends clients with TLS to plain ports otherwise.
            command.args(["--tls-cluster", "yes", "--tls-replication", "yes"]);
        }
        command.args(["--tls-auth-clients", if clients.is_some() { "yes" } else { "no" }]);
    }
    command.args(&how.arguments);
    Child::spawn("redis-server", command, &folder.path().join("log"))
}
