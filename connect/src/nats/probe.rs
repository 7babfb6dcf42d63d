//! A look at a source, for whoever has just written it.

use std::time::Duration;

use async_nats::jetstream::{
    self, ErrorCode,
    context::{GetStreamErrorKind, RequestError, RequestErrorKind},
    stream::{Config, RetentionPolicy, StorageType},
};
use freshet_crds::host_port::HostPort;

use super::{Link, Target, connect, failure::brief, listen};
use crate::{ConnectError, Resolve};

/// What there is of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// There is none of that name.
    Absent,
    /// It is there.
    There(Kept),
}

/// What a stream keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Messages stay until somebody has consumed them (`retention` is `workqueue` or `interest`), and not for everybody.
    pub until_consumed: bool,
    /// Only one server has it, and in its memory alone: the next start of that server empties it.
    pub forgetful: bool,
    /// The messages of one subject that it keeps; the others go when newer ones come. `None`: all.
    pub per_subject: Option<u64>,
}

/// Why a NATS, or its JetStream, can't be used. No text of it carries a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NatsError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It lets us in, and has no streams.
    #[error(
        "{0} has no JetStream for us: neither server nor account may be without it (jetstream in the server's file, \
         limits of the account)"
    )]
    NoJetStream(HostPort),
    /// The user may not do what is needed.
    #[error("NATS doesn't permit it: {0}")]
    NotPermitted(String),
    /// JetStream said something else.
    #[error("JetStream says: {0}")]
    Says(String),
    /// Nothing can be published to such a subject.
    #[error("`{0}` is no subject of NATS")]
    NoSubject(String),
    /// The connection isn't the one that was made any more.
    #[error("the connection to {0} is lost")]
    Lost(HostPort),
    /// Messages came faster than they were taken.
    #[error("{0} has sent more at once than is held: some messages were dropped")]
    Dropped(HostPort),
}

/// Connects and looks for a stream. `within` is how long the connecting may take; a reply may take 2 s more.
pub async fn probe(
    target: &Target,
    names: &impl Resolve,
    stream: &str,
    within: Duration,
) -> Result<Found, NatsError> {
    let link = connect(target, names, within).await?;
    match jetstream::new(link.client().clone()).get_stream(stream).await {
        Ok(stream) => Ok(Found::There(Kept::of(&stream.cached_info().config))),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(error) => match error.error_code() {
                ErrorCode::STREAM_NOT_FOUND => Ok(Found::Absent),
                ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
                    Err(NatsError::NoJetStream(link.at().clone()))
                }
                _ => Err(NatsError::Says(brief(&error.to_string()))),
            },
            GetStreamErrorKind::Request => Err(unanswered(&error, &link)),
            kind @ (GetStreamErrorKind::EmptyName | GetStreamErrorKind::InvalidStreamName) => {
                Err(NatsError::Says(kind.to_string()))
            }
        },
    }
}

/// Connects, and listens to a subject for a moment: whether that is permitted. `within` is how long the connecting may take;
/// an answer may take 4 s more.
pub async fn probe_subject(
    target: &Target,
    names: &impl Resolve,
    subject: &str,
    within: Duration,
) -> Result<(), NatsError> {
    listen(target, names, subject, within).await.map(drop)
}

/// What it means that no reply came.
fn unanswered(error: &dyn std::error::Error, link: &Link) -> NatsError {
    if let Some(says) = link.denied() {
        return NatsError::NotPermitted(says.to_owned());
    }
    let kind =
        error.source().and_then(|source| source.downcast_ref::<RequestError>()).map(RequestError::kind);
    match kind {
        // Nobody listens to JetStream's subjects.
        Some(RequestErrorKind::NoResponders) => NatsError::NoJetStream(link.at().clone()),
        Some(RequestErrorKind::TimedOut) => ConnectError::Timeout(link.at().clone()).into(),
        _ => NatsError::Says(error.source().map_or_else(|| error.to_string(), |it| brief(&it.to_string()))),
    }
}

// === impl Kept ===

impl Kept {
    fn of(config: &Config) -> Self {
        Self {
            until_consumed: config.retention != RetentionPolicy::Limits,
            forgetful: config.storage == StorageType::Memory && config.num_replicas <= 1,
            per_subject: u64::try_from(config.max_messages_per_subject).ok().filter(|limit| *limit > 0),
        }
    }
}
