//! Bugs on purpose, so that the simulator can show that it would find them.
//!
//! Outside of tests [`planted`] is a constant `false`: the compiler removes the question and the bug with it.

/// A bug that can be planted, named by the rule that it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "some are planted in the tests' own clock and driver"))]
pub(crate) enum Bug {
    /// A fill is taken whatever has changed since its lease.
    NoFence,
    /// Only keys that are cached remember that they were invalidated.
    FenceOnlyCached,
    /// An image becomes the value whatever is known of its row.
    HydrateWithoutVersion,
    /// Images from before the whole cache was void are hydrated.
    FloorIgnored,
    /// When a fill was taken doesn't count against images.
    CommitTimeIgnored,
    /// That somebody has told of a change doesn't count against images.
    ToldIgnored,
    /// Any position proves that a read has seen what somebody has told of.
    ToldProven,
    /// What somebody has told of before a cache was defined so doesn't count against its images.
    ToldOfOther,
    /// That messages are missing which may have told of changes does nothing.
    GapIgnored,
    /// A gap in a publisher's numbers is no gap if the publisher wasn't heard before.
    StrangerTrusted,
    /// What may have been told of, and wasn't heard, doesn't count against images.
    LostHydrated,
    /// Images with defaults in the place of NULL are hydrated.
    NullDefaultHydrated,
    /// Images with a placeholder for a large value are hydrated.
    PlaceholderHydrated,
    /// A lost place in the streams voids nothing.
    NoEpochOnLoss,
    /// Whoever answers is taken for the server that was read before.
    IdentityIgnored,
    /// Entries that were added aren't compared with those that were read.
    CountIgnored,
    /// A lease is good for any key.
    LeaseForAnyKey,
    /// A lease is good for any definition of its cache.
    LeaseForAnyDefinition,
    /// A fill soon after a change lives as long as any other.
    HoldOffIgnored,
    /// Hold-off is judged by when the fill comes, not by when its lease was given.
    HoldOffByFillTime,
    /// Truncations do nothing.
    TruncateIgnored,
    /// A tombstone without its delete does nothing.
    TombstoneIgnored,
    /// A key change voids the old key only.
    KeyChangeOneSided,
    /// Where the event's key doesn't identify a row, the image's key columns are taken for the old ones.
    BeforeTrusted,
    /// A snapshot goes on in the epoch before it.
    SnapshotIgnored,
    /// Entries that can't be read do nothing.
    UnreadableIgnored,
    /// Changes of tables void no values that depend on them.
    DependentsIgnored,
    /// A delete by the application leaves the leases of its key good.
    DeleteKeepsLeases,
    /// Answers are given before the declared heartbeat was ever seen.
    StartingIgnored,
    /// New streams are followed without voiding what was there before.
    AttachWithoutVoid,
    /// Schema changes do nothing.
    RedefinitionIgnored,
    /// How long nothing was proven doesn't matter.
    StalenessIgnored,
    /// Values live for ever.
    ExpiryIgnored,
    /// Numbers of heartbeats that jump do nothing.
    HeartbeatJumpIgnored,
    /// How many events a transaction had doesn't matter.
    EndCountIgnored,
    /// The end of a transaction whose message was lost tells how far the log was applied.
    SilenceTrusted,
    /// Nobody asks for the commits that events name.
    ChainIgnored,
    /// A gap in MariaDB's numbers of transactions does nothing.
    GtidGapIgnored,
    /// A transaction that begins needn't end before the next one does.
    UnendedIgnored,
    /// A transaction of MariaDB whose begin was lost isn't missed before its end.
    NamedIgnored,
    /// A heartbeat counts before the other streams have been read.
    HeartbeatAtOnce,
    /// Numbers that begin void nothing.
    BeginningIgnored,
    /// A position is held against the place of a row's change, not against its commit.
    PositionOfRow,
    /// Any position proves that a read has seen everything.
    ProofIgnored,
    /// Fills at earlier positions than ones before them are taken.
    OlderFillTaken,
    /// A transaction counts as applied with its first event.
    MarkOfOpen,
    /// The end of a transaction counts before the other streams have been read.
    CommitAtOnce,
    /// A reader's least position is forgotten.
    MinimumIgnored,
    /// A value that may miss a change is taken for as new as what was applied.
    HeldOffReflects,
    /// Values that may miss a change are said to be as new as what was applied.
    HeldOffClaims,
    /// Whoever was told to load is taken to be loading for ever.
    LoaderNeverReplaced,
    /// Whoever loads what will be refused is taken to be loading.
    FencedLoaderKept,
    /// Whoever was refused is taken to be loading.
    RefusedLoaderKept,
    /// A lease of another process is good.
    ForeignLeaseTaken,
    /// A process that was stopped doesn't notice how long (planted in the simulator's clock).
    MonotonicClock,
    /// Commits that are no longer kept count as seen.
    ForgottenIgnored,
    /// The streams' continuity is checked every 3 s (planted in the simulator's follower).
    CheckSeldom,
    /// A fill is taken whatever has become of what it says that it depends on.
    DependencyUnfenced,
    /// A value is served whatever has become of what its fill said that it depends on.
    DependencyUnread,
    /// Marks that values hold are dropped with those that nobody holds.
    MarkForgotten,
    /// Before anybody depends on rows of a table, its changes are nobody's.
    RowsUntold,
    /// A tag voids values, and no leases.
    TagKeepsLeases,
    /// What a row is found by from now on stays what it was found to be before.
    NewNameIgnored,
    /// What a row was found by stays when the row changes.
    OldNameKept,
    /// The snapshot that a stream begins with goes on in the epoch before it, though it comes after reading began.
    BeginningInEpoch,
    /// A stream is read from its first entry on, whatever is missing in between.
    HolesIgnored,
    /// A row that was read is stored under what it is found by, whoever has been found by that since.
    NameUnfenced,
    /// A row that is stored under what it is found by stays there when it changes.
    NameAlone,
    /// The keys of a batch are read one by one.
    BatchInManyHolds,
    /// A value that comes from another cache lives as if it had just been made.
    AgeForgotten,
    /// A value that comes from another cache is said to have just been made.
    AgeUntold,
    // Of upstreams.
    /// A fetch that was under way when its key was deleted stores what it brings.
    FlightOutlivesDelete,
    /// Who asks after a key was deleted waits for a fetch that was under way then.
    DeletedFlightJoined,
    /// An answer takes the place of one that a later fetch has brought.
    OlderAnswerStored,
    /// Who takes only what the upstream says now waits for a fetch that was under way.
    ReloadJoins,
    /// How long an answer was under way doesn't count as its age.
    DelayForgotten,
    /// An answer is served while it is fetched anew for as long as when that fails.
    WindowsMixedUp,
    /// An answer that depends on `Accept` answers any.
    VaryForgotten,
    /// What has just landed is given to whoever was about to fetch it, however young that was to be.
    LandedForAnyone,
    /// What a view holds outlives its delete.
    PinOutlivesDelete,
    /// A list is shown though something of it has changed since it was ranked.
    BoardKept,
    /// A list is shown whatever has become of what it was ranked from.
    ViewUnjudged,
    /// A warm start takes images behind which something may have been lost that nobody counts.
    UnnumberedHydrated,
    // Of views over rows.
    /// A snapshot's rows take the place of what the log told right before it.
    SnapshotOverLog,
    /// A snapshot counts before all of its rows have come.
    RowsUncounted,
    /// A snapshot counts before the log has passed what it may have seen.
    ScanUnpassed,
    /// Rows that the log told of right before a snapshot stay, though it doesn't have them.
    UnreadKept,
    /// A snapshot counts however short the log was followed before it.
    ScanTooSoon,
    /// A snapshot counts that was taken because Debezium had lost its place.
    PlaceLostTaken,
    /// What is shown has half of a transaction.
    HalfTransaction,
    /// What is read once more is shown.
    ReplayShown,
    /// A new epoch leaves rows as they are.
    RosterOutlivesEpoch,
    /// Rows that another definition of their cache takes over aren't told what is still read by the one before.
    RosterToldByOne,
    // Of the order in which threads do things.
    /// A fill asks the history under one hold of the lock and writes the store under another.
    FillInTwoHolds,
    /// A void drops the value without the lock and writes the history later.
    VoidInTwoHolds,
    /// A read looks at no cache's fence.
    FenceUnread,
    /// The watermark is read after the value.
    PositionAfterEntry,
    /// Whether somebody loads a row is asked under one hold of the lock, and the load taken under another.
    WinnerInTwoHolds,
    /// The bell is rung before what it tells of is done.
    BellBeforeChange,
    /// A reader that waits for a position has taken the load of its row upon itself.
    WaitWithLease,
    /// Those who wait for a transaction aren't told of its end if its place in the log was passed before.
    EndUntold,
}

/// Whether the code should have this bug: never, except where a test says so.
#[cfg(not(test))]
pub(crate) const fn planted(_: Bug) -> bool {
    false
}

#[cfg(test)]
pub(crate) use tests::planted;

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    pub(crate) fn planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }

    /// What is planted on this thread.
    pub(crate) fn current() -> Option<Bug> {
        PLANTED.get()
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
