//! A real Redis Sentinel.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use redis::{FromRedisValue, cmd};
use tempfile::TempDir;

use super::certificates::file;
use super::redis::connect;
use super::{Certificate, Child, Port, Redis, until};

const START: Duration = Duration::from_mins(1);
/// How long Sentinels may take to find each other and the replicas: they greet every 2 s and ask every 10 s.
const ACQUAINTED: Duration = Duration::from_secs(30);

/// A running Sentinel on a free port of 127.0.0.1.
#[derive(Debug)]
pub struct Sentinel {
    // Fields drop in this order: the process goes before the folder it writes into.
    child: Child,
    port: Port,
    tls: Port,
    password: Option<String>,
    _folder: TempDir,
}

impl Sentinel {
    /// So many Sentinels that watch `master` as `service`, take it for down after three seconds, and know each other
    /// and a replica. Clients need `password`, if there is one; the Sentinels use the master's by themselves.
    pub fn start(count: usize, service: &str, master: &Redis, password: Option<&str>) -> Result<Vec<Self>> {
        let started: Vec<Self> =
            (0..count).map(|_| Self::spawn(count, service, master, password, None)).collect::<Result<_>>()?;
        for sentinel in &started {
            until("the Sentinels know each other and a replica", ACQUAINTED, || {
                let known = |what: &str| sentinel.fact(service, what);
                let (others, replicas) = (known("num-other-sentinels")?, known("num-slaves")?);
                if others != (count - 1).to_string() || replicas == "0" {
                    bail!("{others} other Sentinels and {replicas} replicas");
                }
                Ok(())
            })?;
        }
        Ok(started)
    }

    /// One Sentinel that listens with TLS, too, under this certificate, and names `master` by its port with TLS.
    pub fn start_tls(service: &str, master: &Redis, certificate: &Certificate) -> Result<Self> {
        Self::spawn(1, service, master, None, Some(certificate))
    }

    fn spawn(
        count: usize,
        service: &str,
        master: &Redis,
        password: Option<&str>,
        certificate: Option<&Certificate>,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("freshet-sentinel-").tempdir()?;
        let (port, tls) = (Port::free()?, Port::free()?);
        let at = if certificate.is_some() { master.tls_address().parse()? } else { master.socket_address() };
        let quorum = count / 2 + 1;
        let mut settings = format!(
            "bind 127.0.0.1\nport {}\ndir {}\nsentinel monitor {service} {} {} {quorum}\n\
             sentinel down-after-milliseconds {service} 3000\nsentinel failover-timeout {service} 5000\n",
            port.number(),
            folder.path().display(),
            at.ip(),
            at.port(),
        );
        if let Some(password) = master.password() {
            writeln!(settings, "sentinel auth-pass {service} {password}")?;
        }
        if let Some(password) = password {
            writeln!(settings, "requirepass {password}\nsentinel sentinel-pass {password}")?;
        }
        if let Some(pair) = certificate {
            for (name, setting, text) in [
                ("tls.crt", "tls-cert-file", &pair.certificate),
                ("tls.key", "tls-key-file", &pair.key),
                ("ca.crt", "tls-ca-cert-file", &pair.authority),
            ] {
                writeln!(settings, "{setting} {}", file(folder.path(), name, text)?.display())?;
            }
            writeln!(settings, "tls-port {}\ntls-replication yes\ntls-auth-clients no", tls.number())?;
        }
        let path = folder.path().join("sentinel.conf");
        fs::write(&path, settings).context("writing sentinel.conf")?;
        let mut command = Child::command("redis-server");
        command.arg(&path).arg("--sentinel");
        let child = Child::spawn("redis-sentinel", command, &folder.path().join("log"))?;
        let mut sentinel = Self { child, port, tls, password: password.map(str::to_owned), _folder: folder };
        let (port, password) = (&sentinel.port, sentinel.password.as_deref());
        sentinel.child.await_ready(START, || Ok(cmd("PING").exec(&mut connect(port, password)?)?))?;
        Ok(sentinel)
    }

    /// `127.0.0.1:<port>`.
    #[must_use]
    pub fn address(&self) -> String {
        self.port.address().to_string()
    }

    /// `127.0.0.1:<port>` of the port with TLS.
    #[must_use]
    pub fn tls_address(&self) -> String {
        self.tls.address().to_string()
    }

    /// Runs one command: `sentinel.command::<String>(&["SENTINEL", "FAILOVER", "shop"])`.
    pub fn command<T: FromRedisValue>(&self, words: &[&str]) -> Result<T> {
        let (name, arguments) = words.split_first().context("a command has a name")?;
        let mut connection = connect(&self.port, self.password.as_deref())?;
        cmd(name).arg(arguments).query(&mut connection).with_context(|| format!("sentinel command {words:?}"))
    }

    /// A line of what `SENTINEL MASTER` says.
    pub fn fact(&self, service: &str, name: &str) -> Result<String> {
        let facts: Vec<String> = self.command(&["SENTINEL", "MASTER", service])?;
        let mut pairs = facts.chunks_exact(2);
        let fact = pairs.find(|pair| pair[0] == name).with_context(|| format!("no {name}"))?;
        Ok(fact[1].clone())
    }

    /// The master that it names.
    pub fn master(&self, service: &str) -> Result<SocketAddr> {
        let (host, port): (String, u16) = self.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", service])?;
        Ok(SocketAddr::new(host.parse()?, port))
    }

    /// The process, to kill or pause it.
    pub fn process(&mut self) -> &mut Child {
        &mut self.child
    }
}
