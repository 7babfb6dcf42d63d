//! Adds what is published to the one stream, all of a batch in one transaction.

use freshet_connect::{Link, System};
use redis::{RedisError, Value};

use super::{CONNECT, RedisStreams, access};
use crate::{
    envelope::{ENVELOPE, write::whole},
    publishing::Envelope,
    source::transport::{Outlet, WriteError, Writer},
};

/// A connection that writes.
pub(in crate::source) struct Adding {
    link: Link,
    stream: String,
}

impl Outlet for RedisStreams {
    type Writer = Adding;

    async fn open(&self) -> Result<Adding, WriteError> {
        let unavailable = |error: String| WriteError::Unavailable(error);
        let target = access::redis(&self.redis, &self.layout, &self.mounts)
            .map_err(|error| unavailable(error.to_string()))?;
        let link = freshet_connect::connect(&target, &System, CONNECT).await;
        let mut link = link.map_err(|error| unavailable(error.to_string()))?;
        may_transact(&mut link).await?;
        Ok(Adding { link, stream: self.layout.stream().unwrap_or_default().to_owned() })
    }
}

impl Writer for Adding {
    fn is_open(&self) -> bool {
        self.link.is_open()
    }

    async fn write(&mut self, messages: &[Envelope], _done: &mut usize) -> Result<(), WriteError> {
        let mut pipe = redis::pipe();
        // All or none: no number is there without those before it.
        pipe.atomic();
        for message in messages {
            let payload =
                whole(message).ok_or_else(|| WriteError::Refused("a value isn't JSON".to_owned()))?;
            pipe.cmd("XADD").arg(&self.stream).arg("*").arg(ENVELOPE).arg(payload);
        }
        pipe.exec_async(&mut *self.link).await.map_err(|error| meaning(&error))
    }
}

/// Whether transactions are permitted: who begins one that isn't would have its commands done one by one, and the client breaks
/// the connection over their answers.
pub(in crate::source) async fn may_transact(link: &mut Link) -> Result<(), WriteError> {
    for word in ["MULTI", "EXEC"] {
        redis::cmd(word).query_async::<Value>(&mut **link).await.map_err(|error| match meaning(&error) {
            // Nothing is in it.
            WriteError::Unknown(why) => WriteError::Unavailable(why),
            known => known,
        })?;
    }
    Ok(())
}

/// What an answer, or none, says of what was sent.
pub(in crate::source) fn meaning(error: &RedisError) -> WriteError {
    let Some(said) = error.clone().into_server_errors() else {
        return WriteError::Unknown(error.to_string());
    };
    // A server that answers so has added nothing: of a transaction nothing is done, and each of its commands meets the same.
    let codes = || said.iter().map(|(_, error)| error.code());
    let text = said.first().map_or_else(|| error.to_string(), |(_, error)| error.to_string());
    if codes().any(|code| matches!(code, "WRONGTYPE" | "NOPERM")) {
        WriteError::Refused(text)
    } else {
        // Out of memory, loading, not (any more) a master, moved.
        WriteError::Unavailable(text)
    }
}
