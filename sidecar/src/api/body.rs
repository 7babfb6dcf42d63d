//! A request's body, received whole and within bounds: of its own size, of all bodies under way, and of time.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{StatusCode, body::Body};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};

use super::{
    connection::{Patience, Phase},
    problem::Problem,
};

/// Most bytes of bodies under way at once, over all connections; one larger body may be under way alone.
pub(super) const ROOM: u32 = 16 << 20;
/// Most of them that wait to be published: a source that hangs leaves the rest to others.
pub(super) const OUTGOING: u32 = ROOM / 2;
/// How long a body waits for room.
pub(super) const WAIT: Duration = Duration::from_secs(5);
/// How much of a body that isn't taken is read, and for how long: a client that is still sending would lose the
/// answer with the connection.
const BEARABLE: u64 = 16 << 20;
const LINGER: Duration = Duration::from_secs(2);

/// Room for bodies under way, in bytes; or a part of it.
#[derive(Clone, Debug)]
pub(super) struct Room {
    all: Arc<Semaphore>,
    part: Option<(Arc<Semaphore>, u32)>,
}

/// Room that is taken.
#[derive(Debug, Default)]
pub(crate) struct Held(Vec<OwnedSemaphorePermit>);

/// A body and the room it takes, for as long as it isn't stored.
#[derive(Debug)]
pub(super) struct Received {
    /// The bytes, in an allocation of just their length.
    pub(super) bytes: Bytes,
    pub(super) room: Held,
}

impl Room {
    pub(super) fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(ROOM as usize)), part: None }
    }

    /// At most so many bytes of the same room.
    pub(super) fn part(&self, bytes: u32) -> Self {
        Self { part: Some((Arc::new(Semaphore::new(bytes as usize)), bytes)), ..self.clone() }
    }

    /// Receives a body of at most `limit` bytes. Room is taken for all of it at once, so that bodies never wait for
    /// each other with half of theirs: the announced length, or `limit` where none is.
    pub(super) async fn receive<B>(
        &self,
        body: B,
        limit: u64,
        too_large: impl Fn(u64) -> Problem,
        patience: &Patience,
    ) -> Result<Received, Problem>
    where
        B: Body<Data = Bytes>,
    {
        let mut body = pin!(body);
        let (announced, most) = (body.size_hint().lower(), body.size_hint().upper().unwrap_or(limit));
        if announced > limit {
            return Err(too_large(limit));
        }
        let mut room = self.take(most.min(limit), patience).await?;
        patience.enter(Phase::Body);
        let mut all = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| {
                Problem::bad_request(
                    "body",
                    "The body ended early",
                    "the value wasn't received whole: nothing was stored",
                )
            })?;
            let Some(data) = frame.data_ref() else { continue };
            if (all.len() + data.len()) as u64 > limit {
                return Err(too_large(limit));
            }
            grow(&mut all, data.len(), limit);
            all.extend_from_slice(data);
        }
        room.shrink(all.len());
        // What is stored is counted by its length, so that is what it has to occupy.
        Ok(Received { bytes: all.into_boxed_slice().into(), room })
    }

    /// Room for so many bytes, if there is any in time. While a body waits, its client isn't to blame.
    pub(super) async fn take(&self, bytes: u64, patience: &Patience) -> Result<Held, Problem> {
        let mut taken = Held::default();
        let until = Instant::now() + WAIT;
        let part = self.part.iter().map(|(part, most)| (part, *most));
        for (room, most) in part.chain([(&self.all, ROOM)]) {
            let Some(wanted) = u32::try_from(bytes.min(most.into())).ok().filter(|n| *n > 0) else {
                continue;
            };
            if let Ok(permit) = Arc::clone(room).try_acquire_many_owned(wanted) {
                taken.0.push(permit);
                continue;
            }
            patience.enter(Phase::Working);
            match timeout_at(until, Arc::clone(room).acquire_many_owned(wanted)).await {
                Ok(Ok(permit)) => taken.0.push(permit),
                _ => return Err(no_room(most)),
            }
        }
        Ok(taken)
    }
}

impl Held {
    /// Gives back what isn't needed for so many bytes.
    fn shrink(&mut self, bytes: usize) {
        for permit in &mut self.0 {
            drop(permit.split(permit.num_permits().saturating_sub(bytes)));
        }
    }
}

/// Makes place for `more` bytes, by doubling, but for no more than `limit` in all.
fn grow(all: &mut Vec<u8>, more: usize, limit: u64) {
    let needed = all.len() + more;
    if needed > all.capacity() {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let target = (all.capacity() * 2).min(limit).max(needed);
        all.reserve_exact(target - all.len());
    }
}

/// Reads and drops what is left of a body, as far as is bearable.
pub(super) async fn drain<B: Body<Data = Bytes> + Unpin>(body: &mut B) {
    if body.is_end_stream() {
        return;
    }
    let mut left = BEARABLE;
    let all = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len) as u64);
            if left == 0 {
                break;
            }
        }
    };
    let _ = timeout(LINGER, all).await;
}

pub(super) fn too_large(limit: u64) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "value-too-large",
        "The value is too large",
        format!("a value has at most {limit} bytes (spec.sidecar.maxValue)"),
    )
    .with("limit", limit)
}

fn no_room(most: u32) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "too-many-bodies",
        "Too many bodies at once",
        format!(
            "bodies under way have at most {most} bytes in all: nothing was done, go on without the cache"
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };

    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::body::{Body, Frame};

    use super::{Patience, Phase, ROOM, Received, Room, WAIT, too_large};

    /// A body of unknown length, in chunks of these sizes.
    struct Chunked(std::vec::IntoIter<usize>);

    impl Body for Chunked {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.next().map(|n| Ok(Frame::data(Bytes::from(vec![b'x'; n])))))
        }
    }

    fn chunked(chunks: Vec<usize>) -> Chunked {
        Chunked(chunks.into_iter())
    }

    fn capacity(received: Received) -> usize {
        received.bytes.try_into_mut().unwrap().capacity()
    }

    #[tokio::test]
    async fn what_is_received_occupies_its_length() {
        let (room, patience) = (Room::new(), Patience::new());
        let received = room.receive(Full::from(vec![0; 1000]), 1 << 20, too_large, &patience).await.unwrap();
        assert_eq!(capacity(received), 1000);
        let received = room.receive(chunked(vec![600, 600, 1]), 1 << 20, too_large, &patience).await.unwrap();
        assert_eq!((received.bytes.len(), capacity(received)), (1201, 1201));
        assert_eq!(room.all.available_permits(), ROOM as usize, "all of it is given back");
    }

    #[tokio::test]
    async fn a_part_is_never_more_of_it_and_what_turned_out_smaller_gives_back_the_rest() {
        let (room, patience) = (Room::new(), Patience::new());
        let part = room.part(1000);
        let long = part.receive(chunked(vec![10]), 1000, too_large, &patience).await.unwrap();
        assert_eq!(room.all.available_permits(), ROOM as usize - 10, "of unknown length");
        let other = part.receive(Full::from(vec![0; 990]), 1000, too_large, &patience).await.unwrap();
        assert_eq!(part.part.as_ref().unwrap().0.available_permits(), 0);
        assert_eq!(room.all.available_permits(), ROOM as usize - 1000);
        drop((long, other));
        assert_eq!(part.part.as_ref().unwrap().0.available_permits(), 1000);
    }

    #[tokio::test]
    async fn what_is_too_large_is_refused_announced_or_not() {
        let (room, patience) = (Room::new(), Patience::new());
        for size in [1000, 1001] {
            let whole = room.receive(Full::from(vec![0; size]), 1000, too_large, &patience).await;
            let chunks = room.receive(chunked(vec![999, size - 999]), 1000, too_large, &patience).await;
            assert_eq!((whole.is_ok(), chunks.is_ok()), (size == 1000, size == 1000), "{size}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_wait_for_room_and_are_refused_in_the_end() {
        let (room, patience) = (Room::new(), Patience::new());
        let half = || Full::from(vec![0; ROOM as usize / 2]);
        let limit = u64::from(ROOM) * 4;
        let first = room.receive(half(), limit, too_large, &patience).await.unwrap();
        let second = room.receive(half(), limit, too_large, &patience).await.unwrap();
        patience.enter(Phase::Body);
        let started = tokio::time::Instant::now();
        let refused = room.receive(Full::from("x"), limit, too_large, &patience).await.unwrap_err();
        assert_eq!(refused.response().status(), 503);
        assert_eq!(started.elapsed(), WAIT);
        let third = tokio::join!(room.receive(half(), limit, too_large, &patience), async { drop(first) }).0;
        assert_eq!(patience.phase(), Phase::Body, "the client's own time begins when there is room");
        drop((second, third));
        // More than all room goes alone.
        let huge =
            room.receive(Full::from(vec![0; ROOM as usize * 2]), limit, too_large, &patience).await.unwrap();
        assert_eq!(room.all.available_permits(), 0);
        drop(huge);
        let empty = room.receive(Full::<Bytes>::default(), limit, too_large, &patience).await.unwrap();
        assert!(empty.bytes.is_empty());
    }
}
