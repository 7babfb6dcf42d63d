//! The words for why a condition is as it is.

/// Why a condition is as it is. One word each, for programs and for `kubectl get`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `Accepted`: the sidecars' configuration is rendered.
    Rendered,
    /// `Accepted`: the object can't be read by this version.
    Unreadable,
    /// `Accepted`: the spec has faults.
    Invalid,
    /// `Accepted`: the ConfigMap's name is taken.
    ConfigMapTaken,
    /// `Accepted`: the API server refuses what rendering takes, for a quota or a policy, say.
    RenderFailed,
    /// `SourcesReachable`: all answered.
    Reached,
    /// `SourcesReachable` and others: not looked at, because the binding isn't accepted.
    NotAccepted,
    /// `SourcesReachable`: a Secret or its key is missing.
    SecretMissing,
    /// `SourcesReachable`: a Secret's value is no URL that can be used.
    InvalidUrl,
    /// `SourcesReachable`: the host has no address, doesn't answer, or the connection breaks.
    Unreachable,
    /// `SourcesReachable`: wrong credentials.
    CredentialsRefused,
    /// `SourcesReachable`: the user may not do what sidecars need.
    NotPermitted,
    /// `SourcesReachable`: something there can't be worked with.
    Unusable,
    /// `SourcesReachable`: a ConfigMap or its key is missing.
    ConfigMapMissing,
    /// `SourcesReachable`: the certificates that are given can't be used.
    CertificateInvalid,
    /// `SourcesReachable`: the server's certificate isn't trusted.
    Untrusted,
    /// `SourcesReachable`: the server wants a client's certificate, or another one.
    ClientCertificateRefused,
    /// `SourcesReachable`: the server doesn't speak TLS, or not with us.
    TlsFailed,
    /// `SourcesReachable`: Sentinels or the Cluster don't lead to a master, or a partition has no leader.
    NoMaster,
    /// `StreamsKept`: nothing but the binding's retention removes entries.
    Kept,
    /// `StreamsKept`: Redis removes whole streams when its memory is full.
    MayEvict,
    /// `StreamsKept`: nothing tells of a table's changes.
    NoTriggers,
    /// `StreamsKept`: a stream is in the memory of one server of NATS.
    InMemory,
    /// `StreamsKept`: older entries of a key or subject are removed from the middle.
    Compacted,
    /// `StreamsKept`: caches start warm, and the topic has several partitions.
    Divided,
    /// `StreamsKept`: entries that are older than the retention can't be removed.
    NotTrimmed,
    /// `StreamsKept`: another binding on the same stream sets no retention.
    Held,
    /// `StreamsKept`: the streams haven't been looked at yet, or can't be until every binding is.
    Waiting,
    /// `Injected`: every pod that asks for it has a sidecar.
    AllInjected,
    /// `Injected`: every pod has a sidecar, but some are not what would be injected now.
    Outdated,
    /// `Injected`: a pod that asks for it has no sidecar.
    MissedInjection,
    /// `TablesCaptured`: events of all tables were seen.
    AllSeen,
    /// `TablesCaptured`: no event of a table was ever seen.
    NeverSeen,
    /// `Fresh`: all sidecars vouch for their values.
    AllFresh,
    /// `Fresh`: those sidecars that answer vouch for their values.
    SomeUnanswered,
    /// `Fresh` and `TablesCaptured`: no sidecar answers.
    NoneAnswered,
    /// `Fresh` and `TablesCaptured`: no sidecar was asked yet.
    Asking,
    /// `Fresh`: sidecars have no connection to a source.
    Disconnected,
    /// `Fresh`: a stream broke, and sidecars couldn't take it up again yet.
    Gapped,
    /// `Fresh`: changes or heartbeats come too late.
    Lagging,
    /// `Fresh` and `TablesCaptured`: sidecars have only started, or no heartbeat comes.
    Starting,
    /// `Fresh`: sidecars have no binding that they can read.
    NoBinding,
    /// `Fresh`: sidecars of another version are in a state that this one doesn't know.
    NotFresh,
    /// `Injected`, `Fresh`, `TablesCaptured` and `Ready`: no pod asks for it.
    NoPods,
    /// `Ready`: nothing is wrong.
    Serving,
}

// === impl Reason ===

impl Reason {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rendered => "Rendered",
            Self::Unreadable => "Unreadable",
            Self::Invalid => "Invalid",
            Self::ConfigMapTaken => "ConfigMapTaken",
            Self::RenderFailed => "RenderFailed",
            Self::Reached => "Reached",
            Self::NotAccepted => "NotAccepted",
            Self::SecretMissing => "SecretMissing",
            Self::InvalidUrl => "InvalidUrl",
            Self::Unreachable => "Unreachable",
            Self::CredentialsRefused => "CredentialsRefused",
            Self::NotPermitted => "NotPermitted",
            Self::Unusable => "Unusable",
            Self::ConfigMapMissing => "ConfigMapMissing",
            Self::CertificateInvalid => "CertificateInvalid",
            Self::Untrusted => "Untrusted",
            Self::ClientCertificateRefused => "ClientCertificateRefused",
            Self::TlsFailed => "TlsFailed",
            Self::NoMaster => "NoMaster",
            Self::Kept => "Kept",
            Self::MayEvict => "MayEvict",
            Self::NoTriggers => "NoTriggers",
            Self::InMemory => "InMemory",
            Self::Compacted => "Compacted",
            Self::Divided => "Divided",
            Self::NotTrimmed => "NotTrimmed",
            Self::Held => "Held",
            Self::Waiting => "Waiting",
            Self::AllInjected => "AllInjected",
            Self::Outdated => "Outdated",
            Self::MissedInjection => "MissedInjection",
            Self::AllSeen => "AllSeen",
            Self::NeverSeen => "NeverSeen",
            Self::AllFresh => "AllFresh",
            Self::SomeUnanswered => "SomeUnanswered",
            Self::NoneAnswered => "NoneAnswered",
            Self::Asking => "Asking",
            Self::Disconnected => "Disconnected",
            Self::Gapped => "Gapped",
            Self::Lagging => "Lagging",
            Self::Starting => "Starting",
            Self::NoBinding => "NoBinding",
            Self::NotFresh => "NotFresh",
            Self::NoPods => "NoPods",
            Self::Serving => "Serving",
        }
    }
}
