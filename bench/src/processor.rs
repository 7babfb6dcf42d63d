//! The clock of a thread's own time.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What this thread has had of processors: what others take of them isn't in it.
pub(crate) fn processor() -> Duration {
    let spec = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(spec.tv_sec).unwrap_or(0), u32::try_from(spec.tv_nsec).unwrap_or(0))
}
