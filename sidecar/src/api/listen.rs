//! Where the API listens: loopback TCP, both families, and a Unix socket.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};
use tracing::warn;

/// How long a failure to accept is waited out: it passes when descriptors come free.
pub(crate) const RETRY_ACCEPT: Duration = Duration::from_millis(50);

/// Keeps a failure that repeats from filling the log.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Option<Instant>);

/// A place where the API listens.
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket; its file is removed when it is dropped.
    Unix(UnixListener, SocketFile),
}

/// A connection from either kind of listener.
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
}

/// A socket's file, removed on drop.
pub struct SocketFile(PathBuf);

/// Why the API can't listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is taken or not this machine's.
    #[error("can't listen on {address}: {error}")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The socket can't be made.
    #[error("can't listen on {}: {error}", .path.display())]
    Unix {
        /// The socket's path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The path is something else's.
    #[error("{} is there and isn't a socket: remove it or choose another path", .0.display())]
    NotASocket(PathBuf),
    /// Another process listens there.
    #[error("another process listens on {}", .0.display())]
    Taken(PathBuf),
}

/// Listens on a TCP address; on IPv4 loopback also on IPv6 loopback, where there is one.
pub fn tcp(address: SocketAddr) -> Result<Vec<Listener>, ListenError> {
    let listener = bind(address).map_err(|error| ListenError::Tcp { address, error })?;
    let port = listener.local_addr().map_or(address.port(), |a| a.port());
    let mut all = vec![Listener::Tcp(listener)];
    if address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) {
        let twin = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port);
        match bind(twin) {
            Ok(listener) => all.push(Listener::Tcp(listener)),
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {}
            Err(error) => warn!(%error, address = %twin, "not listening on IPv6 loopback"),
        }
    }
    Ok(all)
}

/// Binds with a backlog that outlasts a burst of connections.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let kind =
        if address.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
    kind.set_reuseaddr(true)?;
    kind.bind(address)?;
    kind.listen(1024)
}

/// Listens on a Unix socket that any user may connect to. A socket that a killed process left is replaced.
pub fn unix(path: &Path) -> Result<Listener, ListenError> {
    let fault = |error| ListenError::Unix { path: path.into(), error };
    match std::fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => return Err(ListenError::NotASocket(path.into())),
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(ListenError::Taken(path.into()));
        }
        Ok(_) => std::fs::remove_file(path).map_err(fault)?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(fault)?;
    let file = SocketFile(path.into());
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).map_err(fault)?;
    Ok(Listener::Unix(listener, file))
}

impl Listener {
    /// The address, as a person writes it.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(|a| a.to_string()).unwrap_or_default(),
            Self::Unix(_, file) => file.0.display().to_string(),
        }
    }

    /// The next connection. Failures to accept are waited out, and told at most once a minute.
    pub(super) async fn accept(&self, complaints: &mut Complaints) -> Stream {
        loop {
            let accepted = match self {
                Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                    let _ = stream.set_nodelay(true);
                    Stream::Tcp(stream)
                }),
                Self::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
            };
            match accepted {
                Ok(stream) => return stream,
                Err(error) => {
                    if complaints.due() {
                        warn!(%error, listener = self.describe(), "can't accept connections");
                    }
                    tokio::time::sleep(RETRY_ACCEPT).await;
                }
            }
        }
    }
}

impl Complaints {
    /// Whether it is time to say again what is wrong.
    pub(crate) fn due(&mut self) -> bool {
        let due = self.0.is_none_or(|last| last.elapsed() >= Duration::from_mins(1));
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
