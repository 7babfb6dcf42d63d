//! The way to a server: TCP, TLS, who we are.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_postgres::{
    Client, Config, Connection, NoTls,
    config::{ChannelBinding, SslMode},
    tls::NoTlsStream,
};
use tokio_rustls::TlsConnector;

use super::{
    Target,
    failure::{PostgresError, meaning},
};
use crate::{Certificates, ConnectError, Resolve, dial::Dialer, tls};

/// Asks for TLS, in the protocol's own way.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// How sessions are told apart in `pg_stat_activity`.
const NAME: &str = "freshet";

/// What a session runs over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A session, which goes on only while somebody reads it.
pub(super) struct Wire {
    pub(super) client: Client,
    pub(super) connection: Connection<Box<dyn Stream>, NoTlsStream>,
}

/// Connects, encrypts and says who we are, all `within` so long.
pub(super) async fn open(
    target: &Target,
    names: &impl Resolve,
    within: Duration,
) -> Result<Wire, PostgresError> {
    let opened = timeout(within, steps(target, names, within)).await;
    opened.map_err(|_| ConnectError::Timeout(target.url.at.clone()))?
}

async fn steps(target: &Target, names: &impl Resolve, within: Duration) -> Result<Wire, PostgresError> {
    let at = &target.url.at;
    let tcp = Dialer::new(names.clone(), false, &Certificates::default())?.reach(at, within).await?;
    let stream: Box<dyn Stream> = match &target.tls {
        None => Box::new(tcp),
        Some(certificates) => Box::new(encrypted(tcp, target, certificates).await?),
    };
    let (url, mut config) = (&target.url, Config::new());
    config.user(&url.user).dbname(&url.database).application_name(NAME);
    // Where there is TLS it is there already.
    config.ssl_mode(SslMode::Disable).channel_binding(ChannelBinding::Disable);
    if let Some(password) = &url.password {
        config.password(password);
    }
    let (client, connection) =
        config.connect_raw(stream, NoTls).await.map_err(|error| meaning(&error, target))?;
    Ok(Wire { client, connection })
}

/// Asks by hand, because only here what went wrong is still seen as it is.
async fn encrypted(
    mut tcp: TcpStream,
    target: &Target,
    certificates: &Certificates,
) -> Result<impl Stream + use<>, PostgresError> {
    let at = &target.url.at;
    let connector = TlsConnector::from(Arc::new(tls::client(certificates)?));
    let broken = |error: &io::Error| PostgresError::from(tls::meaning(error, at));
    tcp.write_all(&SSL_REQUEST).await.map_err(|error| broken(&error))?;
    match tcp.read_u8().await {
        Ok(b'S') => {}
        Ok(b'N') => return Err(PostgresError::HasNoTls(at.clone())),
        Ok(_) => return Err(PostgresError::NotPostgres(at.clone())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(PostgresError::NotPostgres(at.clone()));
        }
        Err(error) => return Err(broken(&error)),
    }
    connector.connect(tls::server_name(at)?, tcp).await.map_err(|error| broken(&error))
}
