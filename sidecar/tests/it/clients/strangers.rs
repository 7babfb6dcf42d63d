//! What may be at a sidecar's place without being one.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use super::scenario::At;

/// Listens at a socket in `folder` and treats each connection as `at` says, for as long as the test runs.
pub(super) fn listen(folder: &Path, at: At) -> PathBuf {
    let path = folder.join(format!("{at:?}.sock"));
    let listener = UnixListener::bind(&path).unwrap();
    let died = Arc::new(AtomicBool::new(false));
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let died = Arc::clone(&died);
            thread::spawn(move || if at == At::Dying { die(client, &died) } else { serve(client, at) });
        }
    });
    path
}

/// Misses, until something is to be published for the first time.
fn die(mut client: UnixStream, died: &AtomicBool) -> Option<()> {
    let mut head = [0; 4096];
    loop {
        let read = client.read(&mut head).ok()?;
        let said = r#"{"applied":true,"start":1795000000000,"publisher":"p","sequence":2}"#;
        if head[..read].starts_with(b"GET ") {
            let miss =
                b"HTTP/1.1 404 Not Found\r\nCache-Status: freshet; fwd=uri-miss\r\nContent-Length: 0\r\n\r\n";
            client.write_all(miss).ok()?;
        } else if read == 0 || !died.swap(true, Ordering::Relaxed) {
            return None;
        } else {
            write!(
                client,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{said}",
                said.len()
            )
            .ok()?;
        }
    }
}

/// `None` when the client is gone.
fn serve(mut client: UnixStream, at: At) -> Option<()> {
    if at == At::Closing {
        return None;
    }
    // A client sends its request in one piece.
    let mut head = [0; 4096];
    let _ = client.read(&mut head).ok()?;
    let hit = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Status: freshet; hit; ttl=9\r\n";
    match at {
        At::Garbage => client.write_all(b"-ERR unknown command `GET`\r\n\r\n").ok()?,
        At::Truncated => write!(client, "{hit}Content-Length: 100\r\n\r\n\"half").ok()?,
        At::Stranger => client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n17").ok()?,
        At::Overloaded => {
            let problem = r#"{"type":"https://freshet.dev/problems/too-many-connections","status":503}"#;
            write!(
                client,
                "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n\
                 Connection: close\r\nContent-Length: {}\r\n\r\n{problem}",
                problem.len()
            )
            .ok()?;
        }
        At::Dripping => {
            write!(client, "{hit}Content-Length: 1000000\r\n\r\n").ok()?;
            loop {
                client.write_all(b"1").ok()?;
                thread::sleep(Duration::from_millis(5));
            }
        }
        // Until the client is gone.
        _ => while client.read(&mut head).ok()? > 0 {},
    }
    if at == At::Garbage {
        // Closing what wasn't read to its end would reset the connection.
        while client.read(&mut head).ok()? > 0 {}
    }
    None
}
