//! The condition `SourcesReachable`: the operator reached all sources.

use freshet_connect::{ConnectError, Unusable};

use super::{Outcome, Reason, Verdict};
use crate::sources::Unreachable;

pub(super) fn sources(outcome: &Outcome<'_>) -> Verdict {
    if outcome.accepted.is_err() {
        let message = "sources are looked at once the binding is accepted";
        return Verdict { holds: None, reason: Reason::NotAccepted, message: message.into() };
    }
    let failed: Vec<_> =
        outcome.sources.iter().filter_map(|(name, said)| Some((name, said.as_ref().err()?))).collect();
    if let Some((_, first)) = failed.first() {
        let messages: Vec<_> = failed.iter().map(|(name, error)| format!("{name}: {error}")).collect();
        return Verdict::new(false, meaning(first), messages.join("; "));
    }
    let absent =
        outcome.sources.iter().filter_map(|(_, said)| said.as_ref().ok()).flat_map(|said| &said.absent);
    let absent: Vec<_> = absent.map(String::as_str).collect();
    let message = if outcome.sources.is_empty() {
        "no cache needs a source".into()
    } else if absent.is_empty() {
        "all sources and streams are there".into()
    } else {
        format!("all sources are there; no event yet in {}", absent.join(", "))
    };
    Verdict::new(true, Reason::Reached, message)
}

fn meaning(error: &Unreachable) -> Reason {
    match error {
        Unreachable::NoSecret(_) | Unreachable::NoSecretKey(..) => Reason::SecretMissing,
        Unreachable::NoConfigMap(_) | Unreachable::NoConfigMapKey(..) => Reason::ConfigMapMissing,
        Unreachable::Timeout => Reason::Unreachable,
        Unreachable::Connect(error) => no_connection(error),
        Unreachable::NotAStream(_) | Unreachable::TooOld => Reason::Unusable,
    }
}

fn no_connection(error: &ConnectError) -> Reason {
    match error {
        ConnectError::Url(_) => Reason::InvalidUrl,
        ConnectError::NoAddress(_)
        | ConnectError::Timeout(_)
        | ConnectError::NoConnection(..)
        | ConnectError::Closed(_)
        | ConnectError::Redis(Unusable::Lost(_)) => Reason::Unreachable,
        ConnectError::BadAuthorities(_) | ConnectError::BadClientCertificate(_) => Reason::CertificateInvalid,
        ConnectError::Untrusted(..) => Reason::Untrusted,
        ConnectError::ClientRefused(..) => Reason::ClientCertificateRefused,
        ConnectError::NotTls(_) | ConnectError::Tls(..) => Reason::TlsFailed,
        ConnectError::NoMaster(_) | ConnectError::NoNode(_) => Reason::NoMaster,
        ConnectError::Redis(Unusable::Refused(_)) => Reason::CredentialsRefused,
        ConnectError::Redis(Unusable::NotPermitted(_)) => Reason::NotPermitted,
        ConnectError::NotRedis(_) | ConnectError::Redis(Unusable::Other(_)) => Reason::Unusable,
    }
}
