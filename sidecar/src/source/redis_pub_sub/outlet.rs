//! Publishes to the one channel, all of a batch in one transaction.

use freshet_connect::{Link, System};
use redis::Value;

use super::{CONNECT, RedisPubSub, access};
use crate::{
    envelope::write::whole,
    publishing::Envelope,
    source::{
        redis_stream::outlet::{may_transact, meaning},
        transport::{Outlet, WriteError, Writer},
    },
};

/// A connection that publishes.
pub(in crate::source) struct Publishing {
    link: Link,
    channel: String,
}

impl Outlet for RedisPubSub {
    type Writer = Publishing;

    async fn open(&self) -> Result<Publishing, WriteError> {
        let target = access::redis_channel(&self.redis, &self.mounts)
            .map_err(|error| WriteError::Unavailable(error.to_string()))?;
        let link = freshet_connect::connect(&target, &System, CONNECT).await;
        let mut link = link.map_err(|error| WriteError::Unavailable(error.to_string()))?;
        may_transact(&mut link).await?;
        Ok(Publishing { link, channel: self.channel.clone() })
    }
}

impl Writer for Publishing {
    fn is_open(&self) -> bool {
        self.link.is_open()
    }

    async fn write(&mut self, messages: &[Envelope], _done: &mut usize) -> Result<(), WriteError> {
        let mut pipe = redis::pipe();
        // All or none: no number is heard without those before it. A replica takes messages as well, and hands them to nobody.
        pipe.atomic().cmd("ROLE");
        for message in messages {
            let payload =
                whole(message).ok_or_else(|| WriteError::Refused("a value isn't JSON".to_owned()))?;
            pipe.cmd("PUBLISH").arg(&self.channel).arg(payload);
        }
        let answers: Vec<Value> = pipe.query_async(&mut *self.link).await.map_err(|error| meaning(&error))?;
        let role = answers.into_iter().next().and_then(|role| role.into_sequence().ok()?.into_iter().next());
        if role == Some(Value::BulkString(b"master".to_vec())) {
            Ok(())
        } else {
            Err(WriteError::Unknown(
                "the server isn't a master: nobody hears what is published there".to_owned(),
            ))
        }
    }
}
