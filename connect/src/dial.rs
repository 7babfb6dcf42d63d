//! One connection to one server.

use std::{io, sync::Arc, time::Duration};

use freshet_crds::redis_url::{Credentials, HostPort};
use redis::{
    AsyncConnectionConfig, ProtocolVersion, PushInfo, RedisConnectionInfo,
    aio::{AsyncPushSender, MultiplexedConnection, SendError},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    task::{AbortHandle, JoinHandle},
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;

use crate::{
    Resolve,
    error::{ConnectError, refusal},
    tls::{self, Certificates},
};

/// The longest first line that a server may answer.
const LINE: usize = 512;

/// Makes connections of one kind.
#[derive(Clone)]
pub(crate) struct Dialer<R> {
    names: R,
    tls: Option<TlsConnector>,
    hears: Option<Hears>,
}

/// Where a server's own messages go: what it sends without being asked.
pub(crate) type Hears = Arc<dyn Fn(PushInfo) -> bool + Send + Sync>;

/// What a greeting needs to know.
struct Greeting {
    settings: RedisConnectionInfo,
    encrypted: bool,
    hears: Option<Hears>,
}

/// A connection and who it is to.
pub(crate) struct Connected {
    pub(crate) redis: MultiplexedConnection,
    pub(crate) driver: Driver,
    pub(crate) at: HostPort,
}

/// A task that ends when this is dropped.
pub(crate) struct Driver(JoinHandle<()>);

/// How far a connection had come.
#[derive(Clone, Copy)]
enum Step {
    Connect,
    Encrypt,
    Greet,
}

// === impl Dialer ===

impl<R: Resolve> Dialer<R> {
    pub(crate) fn new(names: R, tls: bool, certificates: &Certificates) -> Result<Self, ConnectError> {
        let tls = tls.then(|| tls::client(certificates)).transpose()?;
        Ok(Self { names, tls: tls.map(|config| TlsConnector::from(Arc::new(config))), hears: None })
    }

    /// Makes connections on which the server sends by itself, too: messages of channels, and the connection's end. Once `hears`
    /// answers `false` it is told nothing more.
    pub(crate) fn hearing(self, hears: Hears) -> Self {
        Self { hears: Some(hears), ..self }
    }

    /// Connects, encrypts, authenticates and selects the database.
    pub(crate) async fn dial(
        &self,
        at: &HostPort,
        credentials: &Credentials,
        database: u16,
        within: Duration,
    ) -> Result<Connected, ConnectError> {
        let mut step = Step::Connect;
        let dialed = self.steps(at, credentials, database, within, &mut step);
        let Ok(done) = tokio::time::timeout(within, dialed).await else {
            return Err(match step {
                Step::Connect | Step::Greet => ConnectError::Timeout(at.clone()),
                // A plain Redis waits for the end of a line in what it takes for a command.
                Step::Encrypt => ConnectError::NotTls(at.clone()),
            });
        };
        done
    }

    async fn steps(
        &self,
        at: &HostPort,
        credentials: &Credentials,
        database: u16,
        within: Duration,
        step: &mut Step,
    ) -> Result<Connected, ConnectError> {
        let tcp = self.reach(at, within).await?;
        let mut settings = settings(credentials, database);
        if self.hears.is_some() {
            settings = settings.set_protocol(ProtocolVersion::RESP3);
        }
        let hears = self.hears.clone();
        let Some(tls) = &self.tls else {
            *step = Step::Greet;
            return greet(tcp, at, Greeting { settings, encrypted: false, hears }).await;
        };
        *step = Step::Encrypt;
        let name = tls::server_name(at)?;
        let encrypted = tls.connect(name, tcp).await.map_err(|error| tls::meaning(&error, at))?;
        *step = Step::Greet;
        greet(encrypted, at, Greeting { settings, encrypted: true, hears }).await
    }

    /// A TCP connection to the first address that takes one.
    pub(crate) async fn reach(&self, at: &HostPort, within: Duration) -> Result<TcpStream, ConnectError> {
        let deadline = Instant::now() + within;
        let addresses = self.names.resolve(&at.host, at.port).await.unwrap_or_default();
        let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        let mut failed = ConnectError::NoAddress(at.host.clone());
        for address in addresses {
            // So that one that is dead leaves time for the others.
            let share = deadline.saturating_duration_since(Instant::now()) / left.max(1);
            left = left.saturating_sub(1);
            failed = match timeout_at(Instant::now() + share, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => {
                    // Commands are small, and each waits for its answer.
                    tcp.set_nodelay(true).map_err(|error| broken(&error, at))?;
                    return Ok(tcp);
                }
                Ok(Err(error)) => broken(&error, at),
                Err(_) => ConnectError::Timeout(at.clone()),
            };
        }
        Err(failed)
    }
}

fn settings(credentials: &Credentials, database: u16) -> RedisConnectionInfo {
    let mut settings = RedisConnectionInfo::default().set_db(i64::from(database));
    if let Some(user) = &credentials.user {
        settings = settings.set_username(user);
    }
    if let Some(password) = &credentials.password {
        settings = settings.set_password(password);
    }
    settings
}

/// Asks for a first sign of life by hand, because only here what went wrong is still seen as it is: a server that
/// wants a client certificate says so after the handshake. Then authenticates.
async fn greet<S>(
    mut stream: S,
    at: &HostPort,
    Greeting { settings, encrypted, hears }: Greeting,
) -> Result<Connected, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let line = match first_line(&mut stream).await {
        Ok(line) => line,
        Err(error) if encrypted => return Err(tls::meaning(&error, at)),
        Err(error) => return Err(broken(&error, at)),
    };
    match line.as_slice() {
        b"" => return Err(ConnectError::Closed(at.clone())),
        // Without a password of ours this is for good; with one it comes now.
        line if line.starts_with(b"-NOAUTH") && settings.password().is_some() => {}
        [b'-', says @ ..] => {
            let says = String::from_utf8_lossy(says);
            let (code, _) = says.split_once(' ').unwrap_or((&says, ""));
            // A user without the right to PING is found out about when it matters.
            if code != "NOPERM" && code != "LOADING" && code != "MASTERDOWN" {
                return Err(ConnectError::Redis(crate::error::Unusable::of(code, &says)));
            }
        }
        [b'+', ..] => {}
        _ => return Err(ConnectError::NotRedis(at.clone())),
    }
    let mut config = AsyncConnectionConfig::new()
        // Timeouts are the caller's: the library's would cut a blocking read.
        .set_connection_timeout(None)
        .set_response_timeout(None);
    if let Some(hears) = hears {
        config = config.set_push_sender(Ear(hears));
    }
    let made = MultiplexedConnection::new_with_config(&settings, stream, config).await;
    let (redis, driver) = made.map_err(|error| refusal(&error))?;
    Ok(Connected { redis, driver: Driver::spawn(driver), at: at.clone() })
}

/// What the server answers to PING, without the end of the line; empty when it closes the connection instead.
async fn first_line(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<Vec<u8>> {
    stream.write_all(b"*1\r\n$4\r\nPING\r\n").await?;
    stream.flush().await?;
    let mut line = Vec::new();
    // Byte by byte, since what comes after the line isn't ours.
    loop {
        match stream.read_u8().await {
            Ok(b'\n') => return Ok(line),
            Ok(b'\r') => {}
            Ok(_) if line.len() == LINE => return Ok(line),
            Ok(byte) => line.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(line),
            Err(error) => return Err(error),
        }
    }
}

/// What an error of the operating system means.
fn broken(error: &io::Error, at: &HostPort) -> ConnectError {
    if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) {
        ConnectError::Closed(at.clone())
    } else {
        ConnectError::NoConnection(at.clone(), error.kind().to_string())
    }
}

/// What the library tells the server's own messages.
struct Ear(Hears);

impl AsyncPushSender for Ear {
    fn send(&self, info: PushInfo) -> Result<(), SendError> {
        if (self.0)(info) { Ok(()) } else { Err(SendError) }
    }
}

// === impl Driver ===

impl Driver {
    pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(task))
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.0.is_finished()
    }

    pub(crate) fn handle(&self) -> AbortHandle {
        self.0.abort_handle()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}
