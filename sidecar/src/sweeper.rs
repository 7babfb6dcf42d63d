//! Frees what void and expired entries hold, on a thread of its own and at a bounded pace: a walk over a million entries
//! takes a good part of a second of a processor's time, which requests mustn't wait for.

use std::{sync::Arc, thread, time::Duration};

use rustix::time::{ClockId, clock_gettime};

use crate::{clock::Tick, engine::Engine};

/// How often it is looked for what became void.
const PERIOD: Duration = Duration::from_secs(1);
/// How often expired entries are looked for.
const EXPIRY: Duration = Duration::from_secs(30);
/// How much of a processor's time a walk takes without a pause.
const SLICE: Duration = Duration::from_millis(2);
/// How many times as long as it has walked a walk pauses then: it takes at most 5 % of one processor.
const PAUSES: u32 = 19;

/// Sweeps for ever.
pub fn run(engine: &Arc<Engine>) -> ! {
    let mut expiry = Tick::now();
    loop {
        thread::sleep(PERIOD);
        let now = Tick::now();
        let thorough = now >= expiry;
        if thorough {
            expiry = now + EXPIRY;
        }
        walk(engine, thorough);
    }
}

/// Sweeps once, with pauses.
pub fn walk(engine: &Engine, thorough: bool) {
    let mut pace = Pace { paid: processor() };
    engine.sweep(thorough, || {
        if let Some(pause) = pace.pause(processor()) {
            thread::sleep(pause);
        }
        Tick::now()
    });
}

/// What this thread has had of processors.
fn processor() -> Duration {
    let spec = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(spec.tv_sec).unwrap_or(0), u32::try_from(spec.tv_nsec).unwrap_or(0))
}

/// How much of a processor's time has been followed by pauses.
#[derive(Clone, Copy, Debug)]
struct Pace {
    paid: Duration,
}

impl Pace {
    /// How long to pause now, if at all, where this much has been spent since the thread began.
    fn pause(&mut self, spent: Duration) -> Option<Duration> {
        let walked = spent.saturating_sub(self.paid);
        (walked >= SLICE).then(|| {
            self.paid = spent;
            walked * PAUSES
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_takes_at_most_a_twentieth_of_a_processor() {
        let mut pace = Pace { paid: Duration::from_secs(7) };
        let mut after = |micros| pace.pause(Duration::from_secs(7) + Duration::from_micros(micros));
        assert_eq!(after(1999), None);
        assert_eq!(after(2000), Some(Duration::from_millis(38)));
        assert_eq!(after(3999), None);
        // Large values took longer to be freed: that is paid for, too.
        assert_eq!(after(52_000), Some(Duration::from_millis(950)));
    }
}
