//! How much memory an input may cost.

use std::alloc::System;

use cap::Cap;

/// Counts every allocation of this process, and refuses those beyond the limit, which ends the process.
#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// What every input may cost, in bytes: what is made once and kept, and small things.
const FREE: usize = 1 << 20;

/// A bound on what is allocated at one time, while it lives. Exceeding it ends the process, as running out of memory
/// would; a fuzzer then saves the input.
#[derive(Debug)]
pub struct Bound(());

// === impl Bound ===

impl Bound {
    /// At most a mebibyte and `factor` bytes for each of the `input`.
    ///
    /// # Panics
    /// If there is such a bound already.
    #[must_use]
    pub fn of(factor: usize, input: &[u8]) -> Self {
        assert_eq!(HEAP.limit(), usize::MAX, "bounds don't nest");
        let limit = HEAP.allocated() + FREE + factor * input.len();
        HEAP.set_limit(limit).expect("there is less than the limit");
        Self(())
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        HEAP.set_limit(usize::MAX).expect("there is no larger limit");
    }
}
