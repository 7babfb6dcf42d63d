use std::{collections::HashMap, time::Duration};

use proptest::prelude::*;

use super::{Admission, Commits, Fence, Fenced, History, Read, Refusal, RowHash, SLOTS, Seq, Void};
use crate::{
    clock::{Now, Tick},
    position::{Commit, Position, RowVersion},
};

const LAG: Duration = Duration::from_secs(1);

fn at(ms: u64) -> Now {
    Now { tick: Tick(ms), wall_ms: 1_000_000 + ms }
}

/// A fill that comes at once under a lease of this sequence, given now.
fn admit(
    history: &mut History,
    fence: &Fence,
    row: RowHash,
    lease: Seq,
    now: Now,
) -> Result<Admission, Fenced> {
    let (leased, wall_ms) = (now.tick, now.wall_ms);
    let commits = &mut Commits::default();
    history.admit(
        fence,
        row,
        Read { lease, leased, lag: LAG, wall_ms, position: None, commits, others: Void::default() },
    )
}

#[test]
fn a_fill_read_before_a_change_is_refused_even_if_nothing_was_cached() {
    let (mut history, fence, row) = (History::default(), Fence::default(), RowHash(7));
    let lease = history.seq();
    history.void_row(row, Tick(10));
    assert_eq!(admit(&mut history, &fence, row, lease, at(20)), Err(Fenced));
    let lease = history.seq();
    assert!(admit(&mut history, &fence, row, lease, at(20)).is_ok());
}

#[test]
fn a_change_of_another_row_refuses_nothing() {
    let (mut history, fence) = (History::default(), Fence::default());
    let lease = history.seq();
    history.void_row(RowHash(8), Tick(10));
    assert!(admit(&mut history, &fence, RowHash(7), lease, at(20)).is_ok());
}

#[test]
fn rows_that_share_a_slot_refuse_each_other_and_nothing_worse() {
    let (mut history, fence) = (History::default(), Fence::default());
    let lease = history.seq();
    history.void_row(RowHash(7 + SLOTS as u64), Tick(10));
    assert_eq!(admit(&mut history, &fence, RowHash(7), lease, at(20)), Err(Fenced));
}

#[test]
fn voiding_a_cache_refuses_its_leases_and_drops_its_values() {
    let (mut history, fence, other) = (History::default(), Fence::default(), Fence::default());
    let lease = history.seq();
    history.void_cache(&fence, Tick(10));
    assert!(!fence.holds(lease));
    assert!(other.holds(lease));
    assert_eq!(admit(&mut history, &fence, RowHash(7), lease, at(20)), Err(Fenced));
}

#[test]
fn a_fill_soon_after_an_invalidation_is_held_off() {
    let (mut history, fence, row) = (History::default(), Fence::default(), RowHash(7));
    let held_off = |history: &mut History, ms| {
        let lease = history.seq();
        admit(history, &fence, row, lease, at(ms)).unwrap().hold_off
    };
    assert_eq!(held_off(&mut history, 5), None);
    history.void_row(row, Tick(10));
    assert_eq!(held_off(&mut history, 500), Some(Tick(1010)));
    assert_eq!(held_off(&mut history, 1010), None);
    history.void_cache(&fence, Tick(2000));
    assert_eq!(held_off(&mut history, 2500), Some(Tick(3000)));
}

fn lsn(lsn: u64) -> RowVersion {
    RowVersion::Postgres { lsn }
}

const OLD: Result<(), Refusal> = Err(Refusal::NotNewer);
const OUTRANKED: Result<(), Refusal> = Err(Refusal::Outranked);

#[test]
fn images_never_go_back() {
    let (mut history, fence, row) = (History::default(), Fence::default(), RowHash(7));
    history.keep_images();
    assert_eq!(history.image(&fence, row, lsn(100), 5, LAG), Ok(()));
    assert_eq!(history.image(&fence, row, lsn(90), 4, LAG), OLD, "an older image after a newer one");
    assert_eq!(history.image(&fence, row, lsn(100), 5, LAG), Ok(()), "the same image again");
    assert_eq!(history.image(&fence, row, lsn(110), 6, LAG), Ok(()));
}

#[test]
fn what_was_not_hydrated_outranks_older_images_too() {
    let (mut history, fence, row) = (History::default(), Fence::default(), RowHash(7));
    history.keep_images();
    assert_eq!(history.image(&fence, row, lsn(110), 5, LAG), Ok(()));
    assert!(history.note(&fence, row, lsn(120)), "a delete");
    assert_eq!(history.image(&fence, row, lsn(110), 5, LAG), OLD, "a replay");
    assert_eq!(history.image(&fence, row, lsn(130), 6, LAG), Ok(()));
    // The delete of the old key and the create of the new one, where both are one row.
    assert!(history.note(&fence, row, lsn(140)));
    assert_eq!(history.image(&fence, row, lsn(140), 7, LAG), Ok(()));
}

#[test]
fn a_truncate_outranks_older_images_of_every_row() {
    let (mut history, fence, other) = (History::default(), Fence::default(), Fence::default());
    history.keep_images();
    assert_eq!(history.image(&fence, RowHash(7), lsn(110), 5, LAG), Ok(()));
    history.raise_floor(&fence, Some(lsn(120)));
    for version in [110, 119, 120] {
        assert_eq!(history.image(&fence, RowHash(7), lsn(version), 5, LAG), OLD, "{version}");
        assert_eq!(history.image(&fence, RowHash(8), lsn(version), 5, LAG), OLD, "{version}");
    }
    assert_eq!(history.image(&other, RowHash(9), lsn(110), 5, LAG), Ok(()), "another cache");
    assert_eq!(history.image(&fence, RowHash(7), lsn(121), 5, LAG), Ok(()));
    history.raise_floor(&fence, Some(lsn(100)));
    assert_eq!(history.image(&fence, RowHash(8), lsn(115), 5, LAG), OLD, "a floor stays");
    history.raise_floor(&fence, None);
    assert_eq!(history.image(&fence, RowHash(7), lsn(121), 5, LAG), OLD, "what voids everything now");
    assert_eq!(history.image(&fence, RowHash(7), lsn(122), 5, LAG), Ok(()));
}

#[test]
fn images_of_another_server_are_ranked_from_the_second_on() {
    let (mut history, fence, row) = (History::default(), Fence::default(), RowHash(7));
    history.keep_images();
    let binlog = |server, offset| RowVersion::Binlog { server, file: 1, offset, row: 0 };
    assert_eq!(history.image(&fence, row, binlog(1, 500), 5, LAG), Ok(()));
    assert_eq!(history.image(&fence, row, binlog(2, 4), 6, LAG), OLD);
    assert_eq!(history.image(&fence, row, binlog(2, 5), 7, LAG), Ok(()));
    history.raise_floor(&fence, None);
    assert_eq!(history.image(&fence, row, binlog(3, 1), 8, LAG), OLD);
    assert_eq!(history.image(&fence, row, binlog(3, 2), 8, LAG), Ok(()));
}

/// Who takes over for a server goes on in a log of its own; what the two wrote may be sent once more, in their order.
#[test]
fn what_voided_a_cache_is_remembered_of_each_server() {
    let (mut history, fence) = (History::default(), Fence::default());
    history.keep_images();
    let binlog = |server, offset| RowVersion::Binlog { server, file: 1, offset, row: 0 };
    let image = |history: &mut History, row, server, offset| {
        history.image(&fence, RowHash(row), binlog(server, offset), 5, LAG)
    };
    assert_eq!(image(&mut history, 7, 1, 500), Ok(()));
    history.raise_floor(&fence, Some(binlog(2, 100)));
    history.raise_floor(&fence, None);
    assert_eq!(image(&mut history, 8, 1, 450), OLD, "from before both");
    assert_eq!(image(&mut history, 9, 2, 90), OLD, "from before what the next server did");
    assert_eq!(image(&mut history, 9, 2, 100), OLD);
    assert_eq!(image(&mut history, 9, 2, 101), Ok(()));
    for server in 3..20 {
        assert_eq!(image(&mut history, 10, server, 500), OLD, "a new one's first");
    }
    assert_eq!(image(&mut history, 11, 2, 102), OLD, "forgotten, it is a new one");
    assert_eq!(image(&mut history, 11, 2, 103), Ok(()));
}

#[test]
fn a_fill_outranks_images_committed_before_it() {
    let (mut history, fence, row) = (History::default(), Fence::default(), RowHash(7));
    history.keep_images();
    let fill = at(10);
    let lease = history.seq();
    admit(&mut history, &fence, row, lease, fill).unwrap();
    assert_eq!(history.image(&fence, row, lsn(100), fill.wall_ms - 1, LAG), OUTRANKED);
    let within = history.image(&fence, row, lsn(101), fill.wall_ms + 1000, LAG);
    assert_eq!(within, OUTRANKED, "within the clocks' difference");
    assert_eq!(history.image(&fence, row, lsn(102), fill.wall_ms + 1001, LAG), Ok(()));
}

/// One step of a schedule of readers and a writer over a few rows.
#[derive(Clone, Debug)]
enum Step {
    /// The database commits a new value of a row.
    Commit(u8),
    /// A reader takes a lease.
    Lease(u8),
    /// A reader that has a lease reads the database.
    Read(u8),
    /// A reader that has read fills the cache.
    Fill(u8),
    /// The oldest change that is under way is applied.
    Apply,
    /// A change that was applied comes again.
    Replay(u8),
    /// A gap: everything under way is lost and the cache is voided.
    Gap,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3u8).prop_map(Step::Commit),
        3 => (0..6u8).prop_map(Step::Lease),
        3 => (0..6u8).prop_map(Step::Read),
        3 => (0..6u8).prop_map(Step::Fill),
        4 => Just(Step::Apply),
        1 => (0..3u8).prop_map(Step::Replay),
        1 => Just(Step::Gap),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    /// Whatever the schedule: once a change has been applied, no value from before it is stored or served.
    #[test]
    fn no_value_from_before_an_applied_change_survives(steps in proptest::collection::vec(step(), 1..120)) {
        let mut history = History::default();
        let fence = Fence::default();
        let mut database = [0u32; 3];
        let mut applied = [0u32; 3];
        let mut under_way = std::collections::VecDeque::new();
        // Readers 0..6 read row `reader % 3`: the lease they hold, and what they have read.
        let mut readers: HashMap<u8, (Seq, Option<u32>)> = HashMap::new();
        let mut cache: HashMap<usize, (Seq, u32)> = HashMap::new();
        for (time, step) in steps.into_iter().enumerate() {
            let now = at(time as u64 * 10_000);
            match step {
                Step::Commit(row) => {
                    database[usize::from(row)] += 1;
                    under_way.push_back((usize::from(row), database[usize::from(row)]));
                }
                Step::Lease(reader) => {
                    readers.insert(reader, (history.seq(), None));
                }
                Step::Read(reader) => {
                    if let Some((_, read)) = readers.get_mut(&reader) {
                        *read = Some(database[usize::from(reader % 3)]);
                    }
                }
                Step::Fill(reader) => {
                    if let Some((lease, Some(value))) = readers.remove(&reader) {
                        let row = usize::from(reader % 3);
                        if admit(&mut history, &fence, RowHash(row as u64), lease, now).is_ok() {
                            cache.insert(row, (lease, value));
                        }
                    }
                }
                Step::Apply => {
                    if let Some((row, version)) = under_way.pop_front() {
                        history.void_row(RowHash(row as u64), now.tick);
                        cache.remove(&row);
                        applied[row] = applied[row].max(version);
                    }
                }
                Step::Replay(row) => {
                    history.void_row(RowHash(u64::from(row)), now.tick);
                    cache.remove(&usize::from(row));
                }
                Step::Gap => {
                    under_way.clear();
                    applied = database;
                    history.void_cache(&fence, now.tick);
                }
            }
            for (row, (seq, value)) in &cache {
                prop_assert!(!fence.holds(*seq) || *value >= applied[*row], "row {row} serves {value}, {} was applied", applied[*row]);
            }
        }
    }
}

/// One event of a hydrating cache's log, at the next place in it.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A row is written, and its image is fit to be hydrated, or not.
    Write(u64, bool),
    /// A row is deleted.
    Delete(u64),
    /// All rows are.
    Truncate,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..3u64, any::<bool>()).prop_map(|(row, fit)| Event::Write(row, fit)),
        2 => (0..3u64).prop_map(Event::Delete),
        1 => Just(Event::Truncate),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    /// Whatever is delivered again, and in whatever order: a row's image from before an applied event of the
    /// row or its table is never hydrated after it.
    #[test]
    fn no_image_from_before_an_applied_event_is_hydrated(
        log in proptest::collection::vec(event(), 1..20),
        deliveries in proptest::collection::vec(any::<prop::sample::Index>(), 1..60),
    ) {
        let (mut history, fence) = (History::default(), Fence::default());
        history.keep_images();
        let mut newest = [0; 3];
        for at in deliveries.iter().map(|at| at.index(log.len())).chain([log.len() - 1]) {
            let place = at as u64 + 1;
            match log[at] {
                Event::Write(row, fit) => {
                    let known = &mut newest[usize::try_from(row).unwrap()];
                    let taken = fit && history.image(&fence, RowHash(row), lsn(place), 1, LAG).is_ok();
                    if !fit {
                        history.note(&fence, RowHash(row), lsn(place));
                    }
                    prop_assert!(!taken || place >= *known, "{place} after {known}");
                    *known = place.max(*known);
                }
                Event::Delete(row) => {
                    history.note(&fence, RowHash(row), lsn(place));
                    let known = &mut newest[usize::try_from(row).unwrap()];
                    *known = place.max(*known);
                }
                Event::Truncate => {
                    history.raise_floor(&fence, Some(lsn(place)));
                    newest = newest.map(|known| place.max(known));
                }
            }
        }
        // What is newest of all is taken, or hydration would be no use.
        let next = lsn(log.len() as u64 + 1);
        prop_assert_eq!(history.image(&fence, RowHash(0), next, 1, LAG), Ok(()));
    }
}

#[test]
fn a_position_that_has_seen_the_commit_needs_no_hold_off() {
    let (mut history, fence, row) = (History::default(), Fence::default(), RowHash(7));
    let mut commits = Commits::default();
    history.void_row(row, Tick(10_000));
    let lease = history.seq();
    let mut held_off = |commits: &mut Commits, lsn: Option<u64>| {
        let position = lsn.map(Position::Lsn);
        let position = position.as_ref();
        let read = Read {
            lease,
            leased: Tick(10_100),
            lag: LAG,
            wall_ms: 0,
            position,
            commits,
            others: Void::default(),
        };
        history.admit(&fence, row, read).map(|admission| admission.hold_off.is_some())
    };
    assert_eq!(held_off(&mut commits, None), Ok(true));
    assert_eq!(held_off(&mut commits, Some(50)), Ok(true), "the commit isn't known yet");
    commits.applied(Commit::Postgres { lsn: 60, xid: Some(1) }, true, lease, Tick(10_001));
    assert_eq!(held_off(&mut commits, Some(59)), Ok(true), "behind the row's own place, before the commit");
    assert_eq!(held_off(&mut commits, Some(60)), Ok(false));
    assert_eq!(held_off(&mut commits, Some(59)), Err(Fenced), "it would go back");
    assert_eq!(held_off(&mut commits, None), Ok(true));
}
