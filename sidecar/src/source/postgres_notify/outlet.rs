//! Tells the source's channel what is published, all of a batch in one transaction.

use freshet_connect::{
    System,
    postgres::{self, NotTold, Telling},
};

use super::{CONNECT, PostgresNotify, access};
use crate::{
    envelope::write::whole,
    publishing::Envelope,
    source::transport::{Outlet, WriteError, Writer},
};

/// A session that tells.
pub(in crate::source) struct Publishing {
    session: Telling,
    channel: String,
}

impl Outlet for PostgresNotify {
    type Writer = Publishing;

    async fn open(&self) -> Result<Publishing, WriteError> {
        let target = access::postgres(&self.postgres, &self.mounts)
            .map_err(|error| WriteError::Unavailable(error.to_string()))?;
        let session = postgres::tell(&target, &System, CONNECT).await;
        let session = session.map_err(|error| WriteError::Unavailable(error.to_string()))?;
        Ok(Publishing { session, channel: self.channel.clone() })
    }
}

impl Writer for Publishing {
    fn is_open(&self) -> bool {
        self.session.is_open()
    }

    async fn write(&mut self, messages: &[Envelope], _done: &mut usize) -> Result<(), WriteError> {
        let payload = |message| {
            let bytes = whole(message).ok_or_else(|| WriteError::Refused("a value isn't JSON".to_owned()))?;
            String::from_utf8(bytes)
                .map_err(|_| WriteError::Refused("a payload of NOTIFY is a text".to_owned()))
        };
        let payloads: Vec<_> = messages.iter().map(payload).collect::<Result<_, _>>()?;
        self.session.say(&self.channel, &payloads).await.map_err(|error| match error {
            NotTold::Refused(why) => WriteError::Refused(why),
            NotTold::Failed(why) => WriteError::Unavailable(why),
            NotTold::Unknown(why) => WriteError::Unknown(why),
        })
    }
}
