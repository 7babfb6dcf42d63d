//! One question to one sidecar. Nothing that it does, or doesn't, costs more than a deadline and a bounded reply.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Collected, Empty, Limited};
use hyper::{Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::report::Report;

/// How long a sidecar may take for the whole of its answer; one that works takes a millisecond.
pub(super) const DEADLINE: Duration = Duration::from_secs(2);
/// Longest answer. That of a binding of the usual size has some KiB.
const LONGEST: usize = 512 << 10;
/// Longest head of an answer.
const HEAD: usize = 16 << 10;

/// Why there is no report. The texts say nothing that changes from one time to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum NoAnswer {
    /// Nothing listens there, or there is no way to it.
    #[error("no connection")]
    NoConnection,
    /// It took too long.
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Timeout,
    /// What answers isn't a sidecar, or one that this version can't read.
    #[error("an answer that this version of the operator can't read")]
    Unreadable,
}

/// Asks the sidecar whose admin listener is there.
pub(super) async fn ask(address: SocketAddr) -> Result<Report, NoAnswer> {
    let body = tokio::time::timeout(DEADLINE, fetch(address)).await.unwrap_or(Err(NoAnswer::Timeout))?;
    Report::parse(&body).map_err(|error| {
        tracing::debug!(%address, %error, "a sidecar's status can't be read");
        NoAnswer::Unreadable
    })
}

/// On a connection of its own: kept ones would be as many as there are pods.
async fn fetch(address: SocketAddr) -> Result<Bytes, NoAnswer> {
    let stream = TcpStream::connect(address).await.map_err(|_| NoAnswer::NoConnection)?;
    let mut http = http1::Builder::new();
    http.max_buf_size(HEAD);
    let (mut sender, connection) =
        http.handshake(TokioIo::new(stream)).await.map_err(|_| NoAnswer::NoConnection)?;
    let request = Request::get("/status").header(header::HOST, address.to_string());
    let request = request.body(Empty::<Bytes>::new()).map_err(|_| NoAnswer::NoConnection)?;
    let exchange = async move {
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| if error.is_parse() { NoAnswer::Unreadable } else { NoAnswer::NoConnection })?;
        // Also a redirect: it isn't followed.
        if answer.status() != StatusCode::OK {
            return Err(NoAnswer::Unreadable);
        }
        let body = Limited::new(answer.into_body(), LONGEST).collect().await;
        body.map(Collected::to_bytes).map_err(|_| NoAnswer::Unreadable)
    };
    // The connection ends with its sender; what it says about that was said to the exchange.
    let (answer, _) = tokio::join!(exchange, connection);
    answer
}

// === impl NoAnswer ===

impl NoAnswer {
    /// Its name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoConnection => "no-connection",
            Self::Timeout => "timeout",
            Self::Unreadable => "unreadable",
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// Answers one question with these bytes, and then either ends or never does.
    async fn says(address: &str, answer: Vec<u8>, ends: bool) -> Option<Result<Report, NoAnswer>> {
        // Not everywhere is there an IPv6.
        let listener = TcpListener::bind(address).await.ok()?;
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = [0; 1024];
            let read = stream.read(&mut question).await.unwrap();
            // Whoever sends more than is read here is cut off.
            let _ = stream.write_all(&answer).await;
            if !ends {
                std::future::pending::<()>().await;
            }
            String::from_utf8_lossy(&question[..read]).into_owned()
        });
        let said = ask(address).await;
        if ends {
            let question = serving.await.unwrap();
            assert!(question.starts_with("GET /status HTTP/1.1\r\n"), "{question}");
            assert!(!question.to_lowercase().contains("authorization"), "{question}");
        } else {
            serving.abort();
        }
        Some(said)
    }

    fn ok(body: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    const FRESH: &str = r#"{"sources": {"cdc": {"state": "Fresh"}}}"#;

    #[tokio::test]
    async fn a_report_is_had_over_both_families() {
        assert!(says("127.0.0.1:0", ok(FRESH), true).await.unwrap().unwrap().is_fresh());
        if let Some(said) = says("[::1]:0", ok(FRESH), true).await {
            assert!(said.unwrap().is_fresh());
        }
    }

    #[tokio::test]
    async fn what_is_not_a_report_is_told_apart() {
        let redirect =
            b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_vec();
        let long = "x".repeat(LONGEST + 1);
        let head = format!("HTTP/1.1 200 OK\r\nx: {long}\r\n\r\n").into_bytes();
        for (answer, wanted) in [
            (redirect, NoAnswer::Unreadable),
            (ok("hello"), NoAnswer::Unreadable),
            (ok(&format!("{{\"version\": \"{long}\"}}")), NoAnswer::Unreadable),
            (head, NoAnswer::Unreadable),
            (b"SSH-2.0-x\r\n".to_vec(), NoAnswer::Unreadable),
            (Vec::new(), NoAnswer::NoConnection),
        ] {
            assert_eq!(says("127.0.0.1:0", answer, true).await, Some(Err(wanted)));
        }
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert_eq!(ask(nobody).await, Err(NoAnswer::NoConnection));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_waited_for() {
        let half = format!("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{FRESH}").into_bytes();
        for answer in [Vec::new(), half] {
            let start = tokio::time::Instant::now();
            assert_eq!(says("127.0.0.1:0", answer, false).await, Some(Err(NoAnswer::Timeout)));
            assert_eq!(start.elapsed().as_secs(), DEADLINE.as_secs());
        }
    }
}
