//! File descriptors: raised to what the process may have, and shared out.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

use crate::{admin, api, upstream};

/// Descriptors for all but the API's connections: the admin listener, upstreams, sources, files, and clients that are being
/// told that they are too many.
const OTHERS: usize = admin::DESCRIPTORS + upstream::DESCRIPTORS + 64;

/// Raises the soft limit of open files as far as the hard one allows, and returns for how many of the API's
/// connections there are descriptors. With fewer than there may be, one too many would not be told so but be left
/// waiting in the kernel.
#[must_use]
pub fn for_connections() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let files = if raised.is_ok() { maximum } else { current };
    let connections = share(files);
    if connections < api::MAX_CONNECTIONS {
        warn!(
            files,
            connections, "few files may be open (ulimit -n): so many connections are served at once"
        );
    }
    connections
}

/// The API's share of so many files; `None` is any number.
fn share(files: Option<u64>) -> usize {
    let files = files.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    files.saturating_sub(OTHERS).clamp(1, api::MAX_CONNECTIONS)
}

#[cfg(test)]
mod tests {
    use super::{OTHERS, share};

    #[test]
    fn the_api_gets_what_others_leave() {
        assert_eq!(share(None), 1024);
        assert_eq!(share(Some(1 << 20)), 1024);
        assert_eq!(share(Some(1024)), 1024 - OTHERS);
        assert_eq!(share(Some(16)), 1);
    }
}
