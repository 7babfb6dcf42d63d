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

/// The API server's sentence if it refuses what is asked: not because someone else was faster, because it doesn't know
/// us at the moment, or because of a fault or a load of its own. Those pass.
#[must_use]
pub fn refusal(error: &kube::Error) -> Option<&str> {
    match error {
        kube::Error::Api(status)
            if (400..500).contains(&status.code) && !matches!(status.code, 401 | 404 | 409 | 429) =>
        {
            Some(&status.message)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn only_what_stays_refused_is_a_refusal() {
        let refused = |code: u16| {
            let error = kube::Error::Api(Box::new(Status::failure("no", "Because").with_code(code)));
            refusal(&error).is_some()
        };
        let codes = [400, 401, 403, 404, 409, 413, 422, 429, 500, 503, 504];
        let refusals: Vec<u16> = codes.into_iter().filter(|code| refused(*code)).collect();
        assert_eq!(refusals, [400, 403, 413, 422]);
    }
}
