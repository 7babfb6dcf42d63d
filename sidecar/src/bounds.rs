//! How much is remembered. Every memory has a bound of its own, next to what it is for; what doesn't fit costs a miss or
//! a refused fill, never a stale hit.
//!
//! Outside of tests [`room`] is the bound itself. Tests make it as small as they like: the real bounds are out of reach
//! of any run of the simulator.

/// A memory with a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// Rows whose invalidations, images and reads are told apart.
    Rows,
    /// Commits that positions are held against.
    Commits,
    /// Transactions that are remembered after their end, against replays.
    Ended,
    /// Transactions and commits that aren't settled.
    Unsettled,
    /// Keys whose loading is remembered.
    Loaders,
    /// PostgreSQL's transactions that a reader can ask for.
    Xids,
    /// Marks of rows and tags that nobody depends on any more.
    Marks,
}

/// How much there is room for in a memory that is bounded by `full`.
#[cfg(not(test))]
pub(crate) const fn room(_: Memory, full: usize) -> usize {
    full
}

#[cfg(test)]
pub(crate) use tests::room;

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use super::Memory;

    /// The most that each memory has room for; `None` for its own bound. In the order of [`Memory`].
    pub(crate) type Rooms = [Option<usize>; 7];

    thread_local! {
        static ROOMS: Cell<Rooms> = const { Cell::new([None; 7]) };
    }

    pub(crate) fn room(memory: Memory, full: usize) -> usize {
        ROOMS.get()[memory as usize].map_or(full, |most| most.min(full))
    }

    /// Runs `f` with no more room than this, on this thread. What is made inside is to be used inside.
    pub(crate) fn within<T>(rooms: Rooms, f: impl FnOnce() -> T) -> T {
        struct Widen(Rooms);
        impl Drop for Widen {
            fn drop(&mut self) {
                ROOMS.set(self.0);
            }
        }
        let _widen = Widen(ROOMS.replace(rooms));
        f()
    }
}
