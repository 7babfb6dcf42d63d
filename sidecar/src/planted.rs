//! Bugs on purpose, so that the simulator can show that it would find them.

/// A bug that can be planted, named by the rule that it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A process that was stopped doesn't notice how long (planted in the simulator's clock).
    MonotonicClock,
}

pub(crate) use tests::planted;

pub(crate) mod tests {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    pub(crate) fn planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }

    /// Runs `f` with a bug in the code, on this thread.
    pub(crate) fn with<T>(bug: Option<Bug>, f: impl FnOnce() -> T) -> T {
        struct Uproot;
        impl Drop for Uproot {
            fn drop(&mut self) {
                PLANTED.set(None);
            }
        }
        PLANTED.set(bug);
        let _uproot = Uproot;
        f()
    }
}
