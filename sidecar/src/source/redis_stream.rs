//! Reads the Redis streams that Debezium Server writes.
//!
//! Reading is plain `XREAD` on a connection of its own; consumer groups would multiply with pods and block
//! trimming. Explicit ids always: `$` would lose what is added between two calls. A survey is one transaction.

use std::time::Duration;

use freshet_connect::{ConnectError, Link, System};
use redis::{Cmd, Value};

use super::{
    CONNECT,
    access::{self, AccessError},
    transport::{ReadError, Reader, Stream, Transport, within},
};
use crate::{
    continuity::Break,
    mounts::Mounts,
    position::Place,
    record::{Reading, Record},
    tail::Survey,
};
use freshet_crds::binding::{RedisSpec, StreamLayout};

pub(super) mod outlet;
pub(crate) mod reply;

use reply::Unexpected;

/// How long any reply may take beyond its own waiting: a half-open connection is noticed by it.
const REPLY: Duration = Duration::from_secs(2);
/// What Redis says of a stream that isn't there, after its code for errors of any kind.
const NO_STREAM: &str = "no such key";

/// A source's Redis.
pub(super) struct RedisStreams {
    pub(super) redis: RedisSpec,
    pub(super) layout: StreamLayout,
    pub(super) mounts: Mounts,
}

/// A connection to it.
pub(super) struct Connection(Link);

/// What of its own may go wrong.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
    #[error(transparent)]
    Reply(#[from] Unexpected),
    #[error("the server isn't a master any more: its successor is looked for")]
    Demoted,
}

impl<E: Into<Fault>> From<E> for ReadError {
    fn from(error: E) -> Self {
        Self::failed(error.into())
    }
}

impl Transport for RedisStreams {
    type Reader = Connection;

    async fn open(&self, _topics: &[&str]) -> Result<Connection, ReadError> {
        let target = access::redis(&self.redis, &self.layout, &self.mounts)?;
        Ok(Connection(freshet_connect::connect(&target, &System, CONNECT).await?))
    }
}

impl Reader for Connection {
    async fn survey(&mut self, streams: &[Stream<'_>], count: usize) -> Result<(Survey, Reading), ReadError> {
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("INFO").arg("server").cmd("INFO").arg("replication");
        for stream in streams {
            pipe.cmd("XINFO").arg("STREAM").arg(stream.name);
        }
        let read = xread(streams, count, None);
        let reads = read.is_some();
        read.map(|read| pipe.add_command(read));
        pipe.ignore_errors();
        let asked = async { Ok(pipe.query_async::<Vec<Value>>(&mut *self.0).await?) };
        let mut replies = within(REPLY, asked).await?.into_iter();
        let mut next = || replies.next().ok_or(Unexpected("EXEC"));
        let (info, replication) = (next()?, next()?);
        let (server, is_master) = reply::identity(&info, &replication)?;
        let link = reply::master_link(&replication)?;
        if self.0.must_be_master() && !is_master {
            return Err(Fault::Demoted.into());
        }
        let mut states = Vec::with_capacity(streams.len());
        for Stream { name, .. } in streams {
            let state = match next()? {
                Value::ServerError(error) if error.code() == "WRONGTYPE" => {
                    return Err(ReadError::Lost {
                        why: Break::WrongType,
                        text: format!("`{name}` isn't a stream"),
                    });
                }
                Value::ServerError(error) if error.details() == Some(NO_STREAM) => None,
                Value::ServerError(error) => return Err(redis::RedisError::from(error).into()),
                value => Some(reply::stream_state(value)?),
            };
            states.push(((*name).to_owned(), state));
        }
        let survey = Survey { server, link, states };
        let reading = if reads { reply::xread(next()?.extract_error()?, count)? } else { Reading::default() };
        Ok((survey, reading))
    }

    async fn read(
        &mut self,
        streams: &[Stream<'_>],
        count: usize,
        wait: Duration,
    ) -> Result<Reading, ReadError> {
        let Some(read) = xread(streams, count, Some(wait)) else { return Ok(Reading::default()) };
        Ok(reply::xread(self.ask(&read, wait + REPLY).await?, count)?)
    }

    async fn look_back(
        &mut self,
        stream: &str,
        until: Place,
        count: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let mut look = redis::cmd("XREVRANGE");
        look.arg(stream).arg(id(until)).arg("-").arg("COUNT").arg(count);
        Ok(reply::entries(self.ask(&look, REPLY).await?)?)
    }
}

impl Connection {
    async fn ask(&mut self, cmd: &Cmd, limit: Duration) -> Result<Value, ReadError> {
        within(limit, async { Ok(cmd.query_async::<Value>(&mut *self.0).await?) }).await
    }
}

/// The command that reads on from where the streams have been read to, if any has a place.
fn xread(streams: &[Stream<'_>], count: usize, block: Option<Duration>) -> Option<Cmd> {
    let placed = || streams.iter().filter_map(|stream| Some((stream.name, stream.place?)));
    placed().next()?;
    let mut cmd = redis::cmd("XREAD");
    cmd.arg("COUNT").arg(count);
    if let Some(block) = block {
        cmd.arg("BLOCK").arg(crate::clock::millis(block));
    }
    cmd.arg("STREAMS");
    for (name, _) in placed() {
        cmd.arg(name);
    }
    for (_, place) in placed() {
        cmd.arg(id(place));
    }
    Some(cmd)
}

/// The id of an entry as Redis takes it.
fn id(place: Place) -> String {
    match place {
        Place::Start => "0-0".to_owned(),
        Place::Entry(_) | Place::Number(_) => place.to_string(),
    }
}
