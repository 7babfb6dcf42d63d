//! Why a pod is not injected.

use std::fmt;

/// A pod is left as it is, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// The reason, one of few: it is a metric's label and an Event's reason.
    pub reason: SkipReason,
    /// The same with the names of this case, for people.
    pub message: String,
}

/// All reasons for leaving a pod as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SkipReason {
    /// It has no annotation of ours.
    NotAsked,
    /// Its annotation says `false`.
    OptedOut,
    /// Its annotation can't be a binding's name.
    InvalidAnnotation,
    /// The binding doesn't exist, or did not appear in time.
    BindingNotFound,
    /// `true` in a namespace of several bindings.
    Ambiguous,
    /// The binding can't be read by this version.
    InvalidBinding,
    /// It carries our sidecar already.
    AlreadyInjected,
    /// A container of its own is called like ours.
    ContainerNameTaken,
    /// A volume of its own is called like one of ours.
    VolumeNameTaken,
    /// It brings a label or an annotation that is ours to set.
    ReservedNameTaken,
    /// A container of its own mounts something where the socket belongs.
    MountPathTaken,
    /// A container of its own declares one of our ports.
    PortTaken,
    /// It uses the node's network, where our ports would be the node's.
    HostNetwork,
    /// It isn't for Linux.
    NotLinux,
    /// A kubelet made it from a file; the API server only mirrors it.
    StaticPod,
}

// === impl Skip ===

impl Skip {
    /// A skip with a sentence about this case.
    pub fn new(reason: SkipReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

// === impl SkipReason ===

impl SkipReason {
    /// The reason as one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAsked => "NotAsked",
            Self::OptedOut => "OptedOut",
            Self::InvalidAnnotation => "InvalidAnnotation",
            Self::BindingNotFound => "BindingNotFound",
            Self::Ambiguous => "Ambiguous",
            Self::InvalidBinding => "InvalidBinding",
            Self::AlreadyInjected => "AlreadyInjected",
            Self::ContainerNameTaken => "ContainerNameTaken",
            Self::VolumeNameTaken => "VolumeNameTaken",
            Self::ReservedNameTaken => "ReservedNameTaken",
            Self::MountPathTaken => "MountPathTaken",
            Self::PortTaken => "PortTaken",
            Self::HostNetwork => "HostNetwork",
            Self::NotLinux => "NotLinux",
            Self::StaticPod => "StaticPod",
        }
    }

    /// Whether the pod's author wanted it so, or already has what was asked for: nothing to report.
    #[must_use]
    pub fn is_expected(self) -> bool {
        matches!(self, Self::NotAsked | Self::OptedOut | Self::AlreadyInjected)
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
