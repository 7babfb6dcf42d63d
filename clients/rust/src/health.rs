//! Whether the sidecar is worth asking.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

const MOST_TIMEOUTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps a hung sidecar from slowing the application down: after three time-outs in a row only one request per second is
/// tried, until one is answered. A sidecar that isn't there costs nothing and is tried each time.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    timeouts: u32,
    resume: Option<Instant>,
}

impl Health {
    /// Whether to leave it alone now. Who is told `false` is the one who tries.
    pub(crate) fn pauses(&self, now: Instant) -> bool {
        let mut state = self.state();
        if state.timeouts < MOST_TIMEOUTS {
            return false;
        }
        let pauses = state.resume.is_some_and(|resume| now < resume);
        if !pauses {
            state.resume = Some(now + PAUSE);
        }
        pauses
    }

    pub(crate) fn answered(&self) {
        self.state().timeouts = 0;
    }

    pub(crate) fn timed_out(&self, now: Instant) {
        let mut state = self.state();
        state.timeouts = state.timeouts.saturating_add(1);
        state.resume = Some(now + PAUSE);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hung_sidecar_is_tried_once_per_second() {
        let (health, start) = (Health::default(), Instant::now());
        for _ in 0..3 {
            assert!(!health.pauses(start));
            health.timed_out(start);
        }
        assert!(health.pauses(start + Duration::from_millis(999)));
        let later = start + Duration::from_secs(1);
        assert!(!health.pauses(later), "one tries");
        assert!(health.pauses(later), "the others don't");
        health.answered();
        assert!(!health.pauses(later));
    }
}
