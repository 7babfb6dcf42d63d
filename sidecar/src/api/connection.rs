//! One connection's patience: how long a client may take for each part of an exchange.
//!
//! hyper's own timer arms a sleep per request head and knows nothing of slow readers. This keeps one phase
//! and one instant per connection, and one sleep that is only moved when it ends.
//!
//! It also sees what hyper answers by itself, to a head that isn't HTTP or is too large: a bare status. Nothing else
//! is written before a request was handed to the service, so such bytes are told by the phase, and a problem is
//! written in their place.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use hyper::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::problem::Problem;
use crate::{api, clock::Tick};

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Between requests.
    Idle,
    /// A request's head is coming.
    Head,
    /// A request's body is coming.
    Body,
    /// The answer is being made.
    Working,
    /// The answer is going out.
    Answering,
    /// What there is of an answer went out, and more will come to be.
    Streaming,
}

/// A connection's phase and since when.
#[derive(Debug)]
pub(crate) struct Patience {
    phase: AtomicU8,
    since: AtomicU64,
    /// Whether the request has a body.
    body: AtomicBool,
    /// Whether its target has a fragment.
    fragment: AtomicBool,
    /// Whether its answer isn't at its end with what has gone out.
    streams: AtomicBool,
}

/// A stream that keeps its connection's [`Patience`].
pub(crate) struct Timed<S> {
    stream: S,
    patience: Arc<Patience>,
    /// What is left to write of a problem that stands for hyper's own words.
    last_words: Option<Bytes>,
    /// Whether what was read last ended as a head ends.
    head_ended: bool,
}

impl Phase {
    /// How long a client may keep it waiting without progress.
    fn limit(self) -> Option<Duration> {
        match self {
            Self::Idle => Some(api::IDLE),
            Self::Head => Some(api::HEAD),
            Self::Body => Some(api::BODY),
            Self::Working | Self::Streaming => None,
            Self::Answering => Some(api::WRITE),
        }
    }

    fn from_u8(value: u8) -> Self {
        [Self::Idle, Self::Head, Self::Body, Self::Working, Self::Answering, Self::Streaming]
            [usize::from(value)]
    }
}

impl Patience {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            phase: AtomicU8::new(Phase::Idle as u8),
            since: AtomicU64::new(Tick::now().0),
            body: AtomicBool::new(false),
            fragment: AtomicBool::new(false),
            streams: AtomicBool::new(false),
        })
    }

    /// Notes that the answer to come is a stream.
    pub(crate) fn stream(&self) {
        self.streams.store(true, Ordering::Relaxed);
    }

    /// A piece of a stream, or its end, is going out.
    pub(crate) fn hand_over(&self, end: bool) {
        self.streams.store(!end, Ordering::Relaxed);
        self.enter(Phase::Answering);
    }

    /// A request was handed to the service. Whether its target has a fragment, as far as that was seen: hyper takes
    /// one away without a word.
    pub(crate) fn begin(&self, body: bool) -> bool {
        self.enter(if body { Phase::Body } else { Phase::Working });
        self.body.store(body, Ordering::Relaxed);
        self.fragment.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.since.store(Tick::now().0, Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    pub(crate) fn phase(&self) -> Phase {
        Phase::from_u8(self.phase.load(Ordering::Relaxed))
    }

    /// Ends when the client has been too slow, and says with what.
    pub(crate) async fn run_out(&self) -> Phase {
        loop {
            let phase = self.phase();
            let spent = Tick::now().since(Tick(self.since.load(Ordering::Relaxed)));
            // While the answer is being made nothing runs out; look again as soon as anything could.
            let left = phase.limit().map_or(api::HEAD, |limit| limit.saturating_sub(spent));
            if left.is_zero() {
                return phase;
            }
            // A phase may give way to one of less patience, so no sleep is longer than the shortest.
            tokio::time::sleep(left.min(api::HEAD)).await;
        }
    }
}

impl<S> Timed<S> {
    pub(crate) fn new(stream: S, patience: Arc<Patience>) -> Self {
        Self { stream, patience, last_words: None, head_ended: true }
    }
}

/// Whether these bytes begin with a request line whose target has a raw `#`.
fn has_fragment(bytes: &[u8]) -> bool {
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    let mut words = line.split(|b| *b == b' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    method.iter().all(u8::is_ascii_uppercase) && target.starts_with(b"/") && target.contains(&b'#')
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        let read = &buf.filled()[before..];
        if poll.is_ready() && !read.is_empty() {
            self.head_ended = read.ends_with(b"\n\r\n") || read.ends_with(b"\n\n");
            if self.patience.phase() == Phase::Idle {
                self.patience.enter(Phase::Head);
                self.patience.fragment.store(has_fragment(read), Ordering::Relaxed);
            }
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> Timed<S> {
    /// Writes a problem instead of `words`, which are hyper's own; `None` if they aren't.
    fn speak(&mut self, cx: &mut Context<'_>, words: &[u8]) -> Option<Poll<io::Result<usize>>> {
        if self.last_words.is_none() {
            if !matches!(self.patience.phase(), Phase::Idle | Phase::Head) {
                return None;
            }
            // `HTTP/1.1 400 …`
            let status = words.get(9..12).and_then(|digits| StatusCode::from_bytes(digits).ok())?;
            self.last_words = Some(Problem::of_head(status).last_words());
            self.patience.enter(Phase::Answering);
        }
        let left = self.last_words.as_mut()?;
        while !left.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, left) {
                Poll::Ready(Ok(0)) => return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into()))),
                Poll::Ready(Ok(n)) => left.advance(n),
                Poll::Ready(Err(error)) => return Some(Poll::Ready(Err(error))),
                Poll::Pending => return Some(Poll::Pending),
            }
        }
        Some(Poll::Ready(Ok(words.len())))
    }

    fn wrote(&self, poll: &Poll<io::Result<usize>>) {
        if matches!(poll, Poll::Ready(Ok(n)) if *n > 0) && self.patience.phase() == Phase::Answering {
            self.patience.enter(Phase::Answering);
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(spoken) = self.speak(cx, buf) {
            return spoken;
        }
        let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(&poll);
        poll
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
        if let Some(spoken) = self.speak(cx, first) {
            return spoken;
        }
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(&poll);
        poll
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(cx);
        if poll.is_ready() && self.patience.phase() == Phase::Answering {
            if self.patience.streams.load(Ordering::Relaxed) {
                self.patience.enter(Phase::Streaming);
                return poll;
            }
            // Behind a request without a body, what doesn't end as a head is the beginning of the next one.
            let begun = !self.head_ended && !self.patience.body.load(Ordering::Relaxed);
            self.patience.enter(if begun { Phase::Head } else { Phase::Idle });
        }
        poll
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::{Patience, Phase, Timed, has_fragment};

    /// A stream is quiet for as long as nothing happens; what it says has to be taken.
    #[tokio::test]
    async fn only_what_is_said_costs_patience() {
        let (mut client, server) = tokio::io::duplex(1024);
        let patience = Patience::new();
        let mut timed = Timed::new(server, std::sync::Arc::clone(&patience));
        patience.stream();
        patience.enter(Phase::Answering);
        timed.write_all(b"HTTP/1.1 200 OK").await.unwrap();
        timed.flush().await.unwrap();
        assert_eq!((patience.phase(), patience.phase().limit()), (Phase::Streaming, None));
        patience.hand_over(false);
        timed.write_all(b"data: 1").await.unwrap();
        assert!(patience.phase().limit().is_some());
        timed.flush().await.unwrap();
        assert_eq!(patience.phase(), Phase::Streaming);
        patience.hand_over(true);
        timed.write_all(b"0").await.unwrap();
        timed.flush().await.unwrap();
        assert_eq!(patience.phase(), Phase::Idle, "the connection goes on as any other");
        client.shutdown().await.unwrap();
    }

    #[test]
    fn a_fragment_is_told_from_other_hashes() {
        for (bytes, has) in [
            ("GET /v1/a/b#c HTTP/1.1\r\n", true),
            ("PUT /v1/a/b#c", true),
            ("GET /v1/a/b HTTP/1.1\r\nreferer: x#y\r\n", false),
            ("GET /v1/a/b%23c HTTP/1.1\r\n", false),
            ("y: /#z\r\n\r\n", false),
            ("", false),
        ] {
            assert_eq!(has_fragment(bytes.as_bytes()), has, "{bytes}");
        }
    }
}
