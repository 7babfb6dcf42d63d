//! Who decides which thread goes on.

use std::{cell::Cell, time::Duration};

/// Who decides, on this thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schedule {
    /// The operating system, undisturbed.
    Free,
    /// The operating system, asked now and then for another thread: with two cores, races are rare otherwise.
    Jolted,
    /// Shuttle: all threads are its, on one thread of the operating system.
    Shuttle,
}

thread_local! {
    static SCHEDULE: Cell<Schedule> = const { Cell::new(Schedule::Free) };
    static JOLTS: Cell<u32> = const { Cell::new(1) };
}

/// One in so many points asks for another thread.
const JOLT: u32 = 8;

impl Schedule {
    pub(crate) fn current() -> Self {
        SCHEDULE.get()
    }

    /// Runs `f` with this schedule on this thread.
    pub(crate) fn with<T>(self, f: impl FnOnce() -> T) -> T {
        struct Back(Schedule);
        impl Drop for Back {
            fn drop(&mut self) {
                SCHEDULE.set(self.0);
            }
        }
        let _back = Back(SCHEDULE.replace(self));
        f()
    }
}

/// A point at which another thread may go on.
pub(crate) fn point() {
    match SCHEDULE.get() {
        Schedule::Free => {}
        Schedule::Jolted => {
            let x = JOLTS.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            JOLTS.set(x);
            if (x >> 16).is_multiple_of(JOLT) {
                std::thread::yield_now();
            }
        }
        // A thread that fails is only to get to its end.
        Schedule::Shuttle if std::thread::panicking() => {}
        // Time is not modelled: this is nothing but a point.
        Schedule::Shuttle => shuttle::thread::sleep(Duration::ZERO),
    }
}
