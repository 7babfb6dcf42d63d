//! A real Kafka: one process that is broker and controller (KRaft).

mod builder;
mod connection;
mod distribution;
mod listeners;
mod records;
mod topics;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use super::folder::Kept;
use super::{Child, Port};
use connection::Connection;

pub use builder::{KafkaBuilder, Mechanism};
pub use distribution::VERSION;
pub use records::{Message, Record};

/// How long Kafka may take to answer after its start; 5 s are usual.
const START: Duration = Duration::from_mins(2);

/// A running Kafka on free ports of 127.0.0.1 with its data in a temporary folder.
///
/// It listens twice: for clients as the builder was told, and in the clear for the tests' own operations, which thus
/// need no credentials.
#[derive(Debug)]
pub struct Kafka {
    // Fields drop in this order: the process goes before the folder it writes into.
    child: Child,
    ports: Ports,
    folder: TempDir,
    how: KafkaBuilder,
}

#[derive(Debug)]
struct Ports {
    clients: Port,
    /// For clients that are sent elsewhere, in the clear.
    behind: Vec<Port>,
    /// For the tests' own operations.
    own: Port,
    controller: Port,
}

impl Kafka {
    /// A Kafka without credentials and TLS that makes no topics by itself.
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    /// A Kafka with more to say about it.
    #[must_use]
    pub fn builder() -> KafkaBuilder {
        KafkaBuilder::default()
    }

    /// `127.0.0.1:<port>`, where clients find it first; where they go then is what it advertises.
    #[must_use]
    pub fn brokers(&self) -> String {
        self.address().to_string()
    }

    /// The same as a socket's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.ports.clients.address()
    }

    /// Where it listens for clients that it sends to the address which was said so many times before by
    /// [`KafkaBuilder::also_advertised`].
    #[must_use]
    pub fn behind(&self, index: usize) -> Option<SocketAddr> {
        self.ports.behind.get(index).map(Port::address)
    }

    /// The process, for what isn't named here.
    pub fn process(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Ends it in an orderly way (SIGTERM). The ports stay reserved for [`Kafka::restart`].
    pub fn stop(&mut self) -> Result<()> {
        self.child.stop().map(drop)
    }

    /// Ends it at once (SIGKILL). What it has acknowledged is with the operating system, and is there again later.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()
    }

    /// Stops it if it runs, and starts it again on the same ports with its data.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.child = spawn(self.folder.path())?;
        self.await_ready()
    }

    /// Stops it if it runs, and starts another cluster on the same ports: no topics, another id.
    pub fn restart_empty(&mut self) -> Result<()> {
        self.stop()?;
        self.how.format(self.folder.path())?;
        self.child = spawn(self.folder.path())?;
        self.await_ready()
    }

    /// Stops it and starts it again with what `meanwhile` has written forgotten, as after an election of a leader that
    /// didn't have it: what is written from then on is another leader's.
    pub fn restart_without(&mut self, meanwhile: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.stop()?;
        let kept = Kept::of(self.folder.path().join("data"))?;
        self.restart()?;
        meanwhile(self)?;
        self.kill()?;
        kept.put_back()?;
        // The first start is the leader again that `meanwhile` had.
        self.restart()?;
        self.restart()
    }

    /// Freezes it (SIGSTOP): connections stay open, nothing answers.
    pub fn pause(&mut self) -> Result<()> {
        self.child.pause()
    }

    /// Lets a frozen one go on.
    pub fn resume(&mut self) -> Result<()> {
        self.child.resume()
    }

    /// All that it has logged: warnings and errors.
    #[must_use]
    pub fn log(&self) -> String {
        self.child.log()
    }

    /// What a client in Java is told: the brokers, and credentials of the first of its users. What TLS needs is written
    /// into `folder`.
    pub(super) fn client_properties(&self, folder: &Path) -> Result<Vec<(String, String)>> {
        let mut properties = self.how.client(folder)?;
        properties.push(("bootstrap.servers".to_owned(), self.brokers()));
        Ok(properties)
    }

    fn connection(&self) -> Result<Connection> {
        Connection::open(self.ports.own.address())
    }

    /// Ready when it knows itself as a broker and takes connections of clients, which it does last.
    fn await_ready(&mut self) -> Result<()> {
        let (own, clients, node) = (self.ports.own.address(), self.ports.clients.address(), self.how.node());
        self.child.await_ready(START, || {
            topics::is_broker(&mut Connection::open(own)?, node)?;
            std::net::TcpStream::connect(clients)?;
            Ok(())
        })
    }
}

fn spawn(folder: &Path) -> Result<Child> {
    let (java, arguments) = distribution::java("kafka.Kafka")?;
    let mut command = Child::command(java);
    command.args(arguments).arg(folder.join("server.properties")).current_dir(folder);
    Child::spawn("kafka", command, &folder.join("log"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Proxy;

    #[test]
    fn who_comes_by_a_proxy_is_sent_to_that_proxy() {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
        let proxies = [Proxy::start(nowhere).unwrap(), Proxy::start(nowhere).unwrap()];
        let builder = Kafka::builder().also_advertised(proxies[0].address());
        let kafka = builder.also_advertised(proxies[1].address()).start().unwrap();
        for (index, proxy) in proxies.iter().enumerate() {
            proxy.point_to(kafka.behind(index).unwrap());
            let answer = topics::metadata(&mut Connection::open(proxy.address()).unwrap(), None).unwrap();
            assert_eq!(answer.brokers[0].port, i32::from(proxy.address().port()));
        }
        assert_eq!(kafka.behind(2), None);
    }
}
