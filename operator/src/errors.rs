//! What the API server's refusals mean.

/// Whether someone else was faster: the object exists already, or has another version than the one that was read.
#[must_use]
pub fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

/// Whether the object isn't there.
#[must_use]
pub fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// The API server's sentence if it refuses, and not because someone else was faster or because it is overloaded.
#[must_use]
pub fn refusal(error: &kube::Error) -> Option<&str> {
    match error {
        kube::Error::Api(status) if !matches!(status.code, 409 | 429 | 503 | 504) => Some(&status.message),
        _ => None,
    }
}
