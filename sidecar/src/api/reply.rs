//! What is answered: whole, or piece by piece as it comes to be.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    body::{Body, Frame, SizeHint},
    header::HeaderValue,
};

use super::body::Held;

/// An answer.
pub(crate) type Reply = Response<Content>;

/// The body of an answer.
pub(crate) enum Content {
    /// All of it.
    Whole(Full<Bytes>),
    /// All of it, in several places, and the room that it takes.
    Parts(Parts),
    /// What comes to be in time.
    Stream(Pieces),
}

/// A body in several places.
pub(crate) struct Parts {
    left: VecDeque<Bytes>,
    _room: Held,
}

/// Pieces of a body; `None` at the end.
pub(crate) struct Pieces(Option<Next>);

type Next = Pin<Box<dyn Future<Output = Option<(Bytes, Pieces)>> + Send>>;

impl Pieces {
    /// Of a body that nobody will see, and whose length isn't known.
    pub(crate) fn none() -> Self {
        Self::unfold((), |()| async { None })
    }

    /// The pieces that `next` makes of `from`, one after the other, each when the one before was taken.
    pub(crate) fn unfold<T, F>(from: T, next: fn(T) -> F) -> Self
    where
        T: Send + 'static,
        F: Future<Output = Option<(Bytes, T)>> + Send + 'static,
    {
        Self(Some(Box::pin(async move {
            let (piece, rest) = next(from).await?;
            Some((piece, Self::unfold(rest, next)))
        })))
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }
}

impl Content {
    /// What is in several places, and holds this room until it has gone out.
    pub(crate) fn pieces(pieces: Vec<Bytes>, room: Held) -> Self {
        let left = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        Self::Parts(Parts { left, _room: room })
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(full) => Pin::new(full).poll_frame(cx),
            Self::Parts(parts) => Poll::Ready(parts.left.pop_front().map(|part| Ok(Frame::data(part)))),
            Self::Stream(pieces) => {
                let Some(next) = &mut pieces.0 else { return Poll::Ready(None) };
                next.as_mut().poll(cx).map(|piece| {
                    pieces.0 = None;
                    let (piece, rest) = piece?;
                    *pieces = rest;
                    Some(Ok(Frame::data(piece)))
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(full) => full.is_end_stream(),
            Self::Parts(parts) => parts.left.is_empty(),
            Self::Stream(pieces) => pieces.0.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(full) => full.size_hint(),
            Self::Parts(parts) => SizeHint::with_exact(parts.left.iter().map(|part| part.len() as u64).sum()),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// An answer with nothing in it.
pub(super) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Content::Whole(Full::default()));
    *reply.status_mut() = status;
    reply
}

/// A header's value from bytes that are known to be fit for one.
pub(super) fn value(bytes: Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(bytes).unwrap_or(HeaderValue::from_static(""))
}
