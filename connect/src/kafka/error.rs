//! Why Kafka can't be used, in words for whoever wrote the source.

use freshet_crds::redis_url::HostPort;
use kafka_protocol::error::ResponseError;

use crate::error::ConnectError;

/// Longest part of what a broker says that is repeated, in characters.
const SAYS: usize = 160;

/// Why Kafka can't be used. No text of it carries a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KafkaError {
    /// There is no connection: its making, its names, its certificates, or no answer in time.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No broker leads anywhere; what each of them had to say.
    #[error("{0}")]
    NoBroker(String),
    /// A broker closed the connection instead of an answer.
    #[error(
        "{0} closes the connection without an answer: does this listener want tls or sasl, or other ones?"
    )]
    Closed(HostPort),
    /// A broker's listener doesn't speak TLS.
    #[error("{0} doesn't answer by TLS: is this a listener without it? Then the source has no tls")]
    NotTls(HostPort),
    /// What answers isn't a Kafka broker.
    #[error("what answers at {0} isn't a Kafka broker: {1}")]
    NotKafka(HostPort, String),
    /// A broker is older than 2.7, the first that tells of truncated logs.
    #[error("the broker at {at} is too old: it has {api} up to version {has}, needed is {needs} (Kafka 2.7)")]
    TooOld {
        /// The broker.
        at: HostPort,
        /// The kind of request.
        api: &'static str,
        /// The newest version that it knows; -1 for none.
        has: i16,
        /// The oldest version that is enough.
        needs: i16,
    },
    /// Wrong user or password, or none where they are needed.
    #[error("{0} refuses user or password: {1}")]
    Refused(HostPort, String),
    /// A broker's listener has other mechanisms of SASL.
    #[error("{at} has no SASL mechanism {mechanism}, only: {offers}")]
    NoMechanism {
        /// The broker.
        at: HostPort,
        /// The one that was asked for.
        mechanism: &'static str,
        /// Those that it has.
        offers: String,
    },
    /// A broker's listener has no SASL at all.
    #[error("{0} knows no SASL at this listener: then the source has no sasl")]
    NoSasl(HostPort),
    /// User name or password can't be sent by this mechanism.
    #[error("user or password can't be used: {0}")]
    Unusable(String),
    /// The user may not do what is needed.
    #[error("Kafka doesn't permit it: {0}")]
    NotPermitted(String),
    /// There is no such topic (any more), or not with this identity.
    #[error("there is no topic {0}, or it was made anew")]
    UnknownTopic(String),
    /// A partition has no leader right now, or another one: asking for the topics again tells.
    #[error("no leader of {0} right now, or another one")]
    NoLeader(String),
    /// Fewer replicas are in sync than there have to be for a write (`min.insync.replicas`).
    #[error("too few replicas of {0} are in sync right now")]
    TooFewReplicas(String),
    /// What came can't be read.
    #[error("what came can't be read: {0}")]
    Malformed(String),
    /// A broker said something else.
    #[error("Kafka says: {0}")]
    Says(String),
}

/// Why records were not written, or perhaps not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProduceError {
    /// None of them is in the log.
    #[error("not written: {0}")]
    NotWritten(KafkaError),
    /// They may be in the log, or come into it yet.
    #[error("perhaps not written: {0}")]
    Unknown(KafkaError),
}

// === impl KafkaError ===

impl KafkaError {
    /// Whether another broker of the same cluster would say the same.
    pub(super) fn is_for_good(&self) -> bool {
        matches!(
            self,
            Self::Refused(..)
                | Self::NoMechanism { .. }
                | Self::NoSasl(_)
                | Self::Unusable(_)
                | Self::NotPermitted(_)
                | Self::Connect(
                    ConnectError::Untrusted(..)
                        | ConnectError::ClientRefused(..)
                        | ConnectError::BadAuthorities(_)
                        | ConnectError::BadClientCertificate(_)
                )
        )
    }

    /// What a broker's error means that isn't about what it is about: `of` names that.
    pub(super) fn of(error: ResponseError, of: &str, says: Option<&str>) -> Self {
        use ResponseError as E;
        match error {
            E::TopicAuthorizationFailed
            | E::GroupAuthorizationFailed
            | E::ClusterAuthorizationFailed
            | E::TransactionalIdAuthorizationFailed => Self::NotPermitted(of.to_owned()),
            E::UnknownTopicOrPartition | E::UnknownTopicId | E::InconsistentTopicId => {
                Self::UnknownTopic(of.to_owned())
            }
            E::NotLeaderOrFollower
            | E::LeaderNotAvailable
            | E::FencedLeaderEpoch
            | E::UnknownLeaderEpoch
            | E::ReplicaNotAvailable
            | E::OffsetNotAvailable
            | E::KafkaStorageError => Self::NoLeader(of.to_owned()),
            E::NotEnoughReplicas | E::NotEnoughReplicasAfterAppend => Self::TooFewReplicas(of.to_owned()),
            error => Self::Says(brief(&match says.filter(|says| !says.is_empty()) {
                Some(says) => format!("{of}: {error:?}: {says}"),
                None => format!("{of}: {error:?}"),
            })),
        }
    }
}

/// The beginning of a text, without what a terminal would obey.
pub(super) fn brief(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SAYS).collect()
}
