//! What each thread does, as plain data that a seed decides.

use freshet_e2e::random::Random;

use super::{KEYS, PLACES};

/// Readers' threads are numbered from here on.
const READERS: u64 = 10;

/// What one run is about.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
pub(super) struct Setting {
    pub(super) seed: u64,
    /// Reads of the database lag behind, as those of a replica do, and say their positions.
    pub(super) lag: bool,
    /// Values tell under which lease they were filled; without it two readers can bring the same value.
    pub(super) stamped: bool,
    /// Changes are lost, and epochs break.
    pub(super) breaks: bool,
    /// Definitions change.
    pub(super) redefines: bool,
    /// All meet at one place: there is little to see where nobody meets.
    pub(super) narrow: bool,
    /// Readers wait; otherwise some of them never fill what they were told to load.
    pub(super) waits: bool,
    /// Readers wait for each other's loads, and little else happens that could wake them.
    pub(super) quiet: bool,
    /// Acts of each thread.
    pub(super) acts: u64,
}

/// What the follower of the source does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Follow {
    /// Applies the next change. With `ahead` its place is known before its transaction's end.
    Next { ahead: bool },
    /// Applies an old change once more.
    Replay(u64),
    /// Loses so many changes and notices.
    Break { lost: u64, detach: bool },
}

/// What writes to the database do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Write {
    Row(usize),
    /// A row, by an application that then deletes what is cached of it.
    RowAndDelete(usize, usize),
    Truncate,
}

/// What a reader asks for.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
pub(super) struct Read {
    pub(super) place: usize,
    /// No cached value.
    pub(super) reload: bool,
    /// What the last write of all must be in.
    pub(super) min: Option<Min>,
    pub(super) wait: bool,
    /// How many writes the read of the database lags behind.
    pub(super) lag: u64,
    /// Whether it says its position.
    pub(super) position: bool,
    /// Whether the lease is used.
    pub(super) fill: bool,
}

/// How a position is named.
#[derive(Clone, Copy, Debug)]
pub(super) enum Min {
    Lsn,
    Xid,
}

/// What happens to the binding and to the store.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operate {
    Sweep {
        thorough: bool,
    },
    /// The binding as it is, with another definition of this cache.
    Redefine(usize),
    /// The binding with another bound of memory.
    Memory,
}

impl Setting {
    pub(super) fn of(seed: u64, acts: u64) -> Self {
        let mut random = Random::new(seed);
        let quiet = random.one_in(5);
        Self {
            seed,
            lag: random.one_in(4),
            stamped: random.one_in(2),
            breaks: random.one_in(2) && !quiet,
            redefines: random.one_in(3),
            narrow: random.one_in(2) || quiet,
            waits: random.one_in(2) || quiet,
            quiet,
            acts,
        }
    }

    /// The acts of one thread, numbered: some have little to do, so that the others aren't disturbed.
    fn acts<T>(self, thread: u64, mut act: impl FnMut(&mut Random) -> T) -> Vec<T> {
        let mut random = Random::new(self.seed).fork(thread);
        let most = if self.quiet && thread < READERS { 1 } else { self.acts };
        (0..=random.below(most)).map(|_| act(&mut random)).collect()
    }

    pub(super) fn follower(self) -> Vec<Follow> {
        self.acts(1, |random| match random.below(10) {
            0 | 1 => Follow::Replay(random.below(3)),
            2 | 3 if self.breaks => Follow::Break { lost: random.below(3), detach: random.one_in(2) },
            _ => Follow::Next { ahead: random.one_in(4) },
        })
    }

    pub(super) fn writer(self) -> Vec<Write> {
        self.acts(2, |random| match random.below(8) {
            0 => Write::Truncate,
            1 | 2 if self.narrow => Write::RowAndDelete(self.place() % KEYS, self.place()),
            1 | 2 => Write::RowAndDelete(key(random), place(random)),
            _ if self.narrow => Write::Row(self.place() % KEYS),
            _ => Write::Row(key(random)),
        })
    }

    pub(super) fn reader(self, number: u64) -> Vec<Read> {
        self.acts(READERS + number, |random| Read {
            place: if self.narrow || random.one_in(2) { self.place() } else { place(random) },
            reload: random.one_in(6) && !self.quiet,
            min: match random.below(6) {
                _ if self.quiet => None,
                0 | 1 => Some(Min::Lsn),
                // Of what was lost nobody hears the transaction's end.
                2 if !self.breaks => Some(Min::Xid),
                _ => None,
            },
            wait: self.waits && (self.quiet || !random.one_in(3)),
            lag: if self.lag { random.below(4) } else { 0 },
            position: random.one_in(2),
            fill: self.waits || !random.one_in(6),
        })
    }

    /// Where readers meet.
    fn place(self) -> usize {
        usize::try_from(self.seed % PLACES as u64).unwrap()
    }

    pub(super) fn operator(self) -> Vec<Operate> {
        self.acts(3, |random| match random.below(4) {
            0 if self.redefines => Operate::Redefine(if random.one_in(2) { 0 } else { 2 }),
            1 if self.redefines => Operate::Memory,
            n => Operate::Sweep { thorough: n == 3 },
        })
    }
}

fn key(random: &mut Random) -> usize {
    usize::try_from(random.below(KEYS as u64)).unwrap()
}

fn place(random: &mut Random) -> usize {
    usize::try_from(random.below(PLACES as u64)).unwrap()
}
