use std::time::Duration;

use freshet_crds::{binding::ViewSpec, manifest::read};

use super::{Event, Roster, Terms, Why};
use crate::{
    change::{Notice, TableId, TransactionId},
    continuity::Break,
    planted::{self, Bug},
    position::{Commit, Gtid},
    upstream::allowance::Allowance,
};

mod snapshots;

/// The time of everything, in milliseconds, unless it matters.
const T: u64 = 1_000_000;

fn specs() -> Vec<ViewSpec> {
    let text = "
apiVersion: freshet.dev/v1alpha1
kind: CacheBinding
metadata: {name: shop}
spec:
  sources: [{name: cdc, redisStream: {url: 'redis://127.0.0.1:1', stream: shop.cdc}}]
  freshness: {maxStaleness: 5s, heartbeat: Database}
  caches: [{name: rows, table: s.t, onChange: Hydrate, warmStart: true}]
  views:
  - {name: dear, cache: rows, orderBy: /price, limit: 2}
  - {name: cheap, cache: rows, orderBy: /price, order: Ascending, limit: 10, filter: [{pointer: /old, exists: false}]}";
    read(text).unwrap().binding().unwrap().views
}

/// A roster that is told things, each of which it takes for settled.
struct Table {
    roster: Roster,
    allowance: Allowance,
    memory: u64,
    commits: u64,
}

impl Table {
    fn new() -> Self {
        let mut table = Self {
            roster: Roster::new(TableId::of("s.t")),
            allowance: Allowance::default(),
            memory: 1 << 30,
            commits: 0,
        };
        table.run(|roster, terms| roster.show(&specs().iter().collect::<Vec<_>>(), terms));
        table
    }

    /// One that has the rows 1 to 3 of the snapshot that its stream begins with.
    fn whole() -> Self {
        let mut table = Self::new();
        table.roster.begin(true);
        table.snapshot(T, false, &[(1, "{\"price\":10}"), (2, "{\"price\":20}"), (3, "{\"price\":30}")]);
        table.beat(T + 2_000);
        table
    }

    fn run<R>(&mut self, f: impl FnOnce(&mut Roster, &Terms<'_>) -> R) -> R {
        let terms = Terms {
            lag: Duration::from_secs(2),
            skew: Duration::from_millis(500),
            allowance: &self.allowance,
            memory: self.memory,
        };
        f(&mut self.roster, &terms)
    }

    fn notice(&mut self, notice: &Notice) {
        self.run(|roster, terms| roster.notice(notice, terms));
    }

    fn begin_snapshot(&mut self, at: u64) {
        self.notice(&Notice::Started { at });
        self.notice(&Notice::Reading { tables: vec![TableId::of("s.u"), TableId::of("s.t")] });
    }

    fn read(&mut self, resumed: bool, id: u64, json: &str) {
        self.roster.note_snapshot(resumed);
        self.run(|roster, terms| roster.read(&id.to_string(), Some(json), terms));
    }

    fn scanned(&mut self, rows: u64, at: u64) {
        self.notice(&Notice::Read { table: TableId::of("s.t"), rows, at });
    }

    fn snapshot(&mut self, at: u64, resumed: bool, rows: &[(u64, &str)]) {
        self.begin_snapshot(at);
        for (id, json) in rows {
            self.read(resumed, *id, json);
        }
        self.scanned(rows.len() as u64, at + 100);
        self.notice(&Notice::Ended);
    }

    fn beat(&mut self, at: u64) {
        self.roster.beat(at, Some(true));
        self.settle();
    }

    fn settle(&mut self) {
        self.run(Roster::settle);
    }

    /// What the transaction with this commit does.
    fn tell(&mut self, lsn: u64, event: Event) {
        self.run(|roster, terms| roster.tell(event, Some(TransactionId(lsn)), terms));
    }

    fn ended(&mut self, id: TransactionId, commit: Option<Commit>) {
        self.run(|roster, terms| roster.end(id, commit, terms));
    }

    fn end(&mut self, lsn: u64) {
        self.ended(TransactionId(lsn), Some(Commit::Postgres { lsn, xid: None }));
        self.settle();
    }

    /// A transaction of its own, committed before this time.
    fn write(&mut self, event: Event, at: u64) {
        self.commits += 100;
        self.tell(self.commits, event);
        self.end(self.commits);
        self.beat(at);
    }

    fn top(&self, view: &str) -> Result<String, Why> {
        let ranked = self.roster.top(view)?;
        Ok(ranked.first(100).0.iter().map(|piece| String::from_utf8_lossy(piece).into_owned()).collect())
    }

    fn cheap(&self) -> String {
        self.top("cheap").unwrap()
    }

    fn why(&self) -> Why {
        self.roster.standing().unwrap_err()
    }
}

fn gone(id: u64) -> Event {
    Event::Gone(id.to_string().into())
}

fn is(id: u64, json: &str) -> Event {
    Event::Is(id.to_string().into(), Some(json.into()))
}

#[test]
fn it_is_whole_when_all_rows_of_the_first_snapshot_have_come_and_the_log_has_passed_it() {
    let mut table = Table::new();
    assert_eq!(table.why(), Why::NoSnapshot);
    table.roster.begin(true);
    table.begin_snapshot(T);
    table.read(false, 1, "{\"price\":10}");
    table.roster.break_epoch(Break::SnapshotBegan);
    table.read(false, 2, "{\"price\":20}");
    // Debezium keeps the last row back.
    table.scanned(3, T + 100);
    assert_eq!(table.why(), Why::Reading { read: 2, of: Some(3) });
    table.beat(T);
    table.read(false, 2, "{\"price\":20}");
    assert_eq!(table.why(), Why::Reading { read: 2, of: Some(3) }, "the same row once more");
    table.read(false, 3, "{\"price\":30,\"old\":true}");
    assert_eq!(table.why(), Why::NotPassed, "the heartbeat came before");
    table.notice(&Notice::Ended);
    table.beat(T + 600);
    assert_eq!(table.why(), Why::NotPassed, "by one clock; by the other it may have been before");
    table.beat(T + 601);
    assert_eq!(table.top("dear").unwrap(), "[{\"price\":30,\"old\":true},{\"price\":20}]");
    assert_eq!(table.cheap(), "[{\"price\":10},{\"price\":20}]");
    assert_eq!((table.roster.count(), table.roster.items("dear"), table.roster.items("cheap")), (3, 3, 2));
}

#[test]
fn transactions_count_when_they_have_ended() {
    let mut table = Table::whole();
    table.tell(1, is(1, "{\"price\":25}"));
    table.tell(1, is(2, "{\"price\":5}"));
    table.settle();
    assert_eq!(table.cheap(), "[{\"price\":10},{\"price\":20},{\"price\":30}]", "half of it is nothing");
    table.end(1);
    assert_eq!(table.cheap(), "[{\"price\":5},{\"price\":25},{\"price\":30}]");
    table.write(gone(2), T + 11_000);
    table.write(is(4, "{\"price\":25}"), T + 12_000);
    assert_eq!(table.cheap(), "[{\"price\":25},{\"price\":25},{\"price\":30}]");
    table.tell(999, Event::Cleared);
    table.tell(999, is(9, "{\"price\":1}"));
    table.end(999);
    assert_eq!(table.cheap(), "[{\"price\":1}]");
}

#[test]
fn rows_come_in_their_views_order() {
    let mut table = Table::whole();
    for (id, json) in [(7, "{\"price\":null}"), (5, "{}"), (6, "{\"price\":20}")] {
        table.write(is(id, json), T + 10_000);
    }
    assert_eq!(
        table.cheap(),
        "[{\"price\":10},{\"price\":20},{\"price\":20},{\"price\":30},{},{\"price\":null}]",
        "equal ones by their keys, and last those without"
    );
    let mut specs = specs();
    specs.truncate(1);
    specs[0].limit = 1;
    table.run(|roster, terms| roster.show(&specs.iter().collect::<Vec<_>>(), terms));
    assert_eq!(table.top("dear").unwrap(), "[{\"price\":30}]");
    assert!(table.top("cheap").is_err());
}

#[test]
fn what_is_read_once_more_is_not_shown_until_it_has_been_passed() {
    let mut table = Table::whole();
    let write = |table: &mut Table, lsn: u64, price: u64| {
        table.tell(lsn, is(1, &format!("{{\"price\":{price}}}")));
        table.end(lsn);
    };
    write(&mut table, 10, 11);
    write(&mut table, 20, 12);
    write(&mut table, 10, 11);
    assert_eq!(table.why(), Why::Behind);
    write(&mut table, 20, 12);
    assert_eq!(table.cheap(), "[{\"price\":12},{\"price\":20},{\"price\":30}]");
    planted::tests::with(Some(Bug::ReplayShown), || {
        write(&mut table, 10, 11);
        assert!(table.cheap().contains("11"), "the rule is what keeps it back");
    });
}

/// Of several domains none knows what the others have changed since.
#[test]
fn what_is_read_once_more_is_passed_with_the_newest_of_all_domains() {
    let mut table = Table::whole();
    let write = |table: &mut Table, domain: u32, sequence: u64, id: u64, price: u64| {
        let id_of = TransactionId(u64::from(domain) * 1000 + sequence);
        let event = is(id, &format!("{{\"price\":{price}}}"));
        table.run(|roster, terms| roster.tell(event, Some(id_of), terms));
        table.ended(id_of, Some(Commit::Gtid(Gtid::MariaDb { domain, server: 1, sequence })));
        table.settle();
    };
    let all = [(0, 5, 1, 1), (1, 7, 2, 1), (0, 6, 1, 2)];
    for (domain, sequence, id, price) in all {
        write(&mut table, domain, sequence, id, price);
    }
    let shown = table.cheap();
    for (at, (domain, sequence, id, price)) in all.into_iter().enumerate() {
        write(&mut table, domain, sequence, id, price);
        assert_eq!(table.roster.standing().is_ok(), at == 2, "{domain}-{sequence}");
    }
    assert_eq!(table.cheap(), shown);
}

#[test]
fn a_transaction_that_was_cut_off_is_read_once_more_or_has_lost_its_end() {
    // It is under way when its Debezium ends, behind the newest commit.
    let cut_off = || {
        let mut table = Table::whole();
        table.end(10);
        table.tell(20, is(1, "{\"price\":11}"));
        table.settle();
        table
    };
    let done = "[{\"price\":11},{\"price\":21},{\"price\":30}]";
    for again in [10, 5] {
        let mut table = cut_off();
        table.end(again);
        assert_eq!(table.roster.standing().err(), (again == 5).then_some(Why::Behind));
        table.tell(20, is(1, "{\"price\":11}"));
        table.tell(20, is(2, "{\"price\":21}"));
        table.end(20);
        assert_eq!(table.cheap(), done);
        assert_eq!(table.roster.staged.weight(), 0);
    }
    // It goes on where it was.
    let mut table = cut_off();
    table.tell(20, is(2, "{\"price\":21}"));
    table.end(20);
    assert_eq!(table.cheap(), done);
    // Another one ends after it.
    let mut table = cut_off();
    table.end(30);
    assert_eq!(table.why(), Why::Lost(Break::EventsMissed));
}

#[test]
fn after_a_loss_numbers_may_begin_anew() {
    let mut table = Table::whole();
    table.end(500);
    table.roster.begin(false);
    table.beat(T);
    table.snapshot(T + 10_000, true, &[(1, "{\"price\":1}")]);
    table.end(3);
    table.beat(T + 12_000);
    assert_eq!(table.cheap(), "[{\"price\":1}]");
}

#[test]
fn a_loss_makes_it_unknown_until_the_next_snapshot() {
    let mut table = Table::whole();
    table.beat(T + 10_000);
    table.roster.break_epoch(Break::TransactionsMissed);
    assert_eq!(table.why(), Why::Lost(Break::TransactionsMissed));
    table.write(is(1, "{\"price\":12}"), T + 11_000);
    table.beat(T + 12_000);
    assert_eq!(table.why(), Why::Lost(Break::TransactionsMissed));
    // The log was followed for 9 s before it.
    table.snapshot(T + 20_000, true, &[(1, "{\"price\":13}"), (4, "{\"price\":40}")]);
    table.beat(T + 22_000);
    assert_eq!(table.cheap(), "[{\"price\":13},{\"price\":40}]");
}

#[test]
fn a_row_whose_event_lacks_columns_is_unclear_until_it_is_written_again() {
    let mut table = Table::whole();
    table.write(Event::Is("2".into(), None), T + 10_000);
    assert_eq!(table.why(), Why::Unclear { rows: 1 });
    table.write(Event::Is("2".into(), None), T + 10_000);
    assert_eq!(table.why(), Why::Unclear { rows: 1 }, "it is one row");
    table.write(gone(2), T + 11_000);
    assert_eq!(table.cheap(), "[{\"price\":10},{\"price\":30}]");
}

#[test]
fn what_does_not_fit_is_dropped_and_nothing_else_is() {
    let mut table = Table::whole();
    let held = table.roster.weight();
    assert!(held > 0 && table.allowance.taken() == held);
    table.memory = 4 * (1 << 17);
    let long = format!("{{\"price\":1,\"text\":\"{}\"}}", "x".repeat(50_000));
    for id in 10..12 {
        table.write(is(id, &long), T + 10_000);
    }
    assert!(table.top("dear").is_ok());
    table.write(is(12, &long), T + 10_000);
    assert!(matches!(table.why(), Why::NoRoom { most: 131_072, needed: 131_073.. }), "{:?}", table.why());
    assert_eq!((table.roster.weight(), table.allowance.taken()), (0, 0));
    table.beat(T + 11_000);
    table.snapshot(T + 20_000, true, &[(1, "{\"price\":1}")]);
    table.beat(T + 22_000);
    assert_eq!(table.cheap(), "[{\"price\":1}]");
    drop(table.roster);
    assert_eq!(table.allowance.taken(), 0);
}

#[test]
fn what_tells_nothing_exact_makes_it_unknown() {
    let mut table = Table::whole();
    table.run(|roster, terms| roster.tell(is(1, "{}"), None, terms));
    assert_eq!(table.why(), Why::NoTransactions);
    let mut table = Table::whole();
    table.roster.beat(T + 9_000, Some(false));
    assert_eq!(table.why(), Why::NullsReplaced);
    let mut table = Table::whole();
    table.ended(TransactionId(1), None);
    table.settle();
    assert_eq!(table.why(), Why::NoTransactions, "an end that names no commit has no order");
    let mut table = Table::new();
    table.roster.begin(true);
    table.snapshot(T, false, &[(1, "{}")]);
    table.roster.beat(T + 9_000, None);
    table.settle();
    assert_eq!(table.why(), Why::NotPassed, "nobody says whether NULLs are kept");
}

/// What rows are ordered by is held once more in each view, and however long it is that counts.
#[test]
fn what_rows_are_ordered_by_is_weighed() {
    let text = |id: u64| format!("{{\"price\":\"{}\"}}", format!("{id:06}").repeat(2_000));
    let mut table = Table::whole();
    let before = table.roster.weight();
    for id in 11..=30 {
        table.write(is(id, &text(id)), T + 3_000);
    }
    // The row, and what each of two views orders it by.
    let each = (table.roster.weight() - before) / 20;
    assert!((36_000..46_000).contains(&each), "{each}");
    for id in 11..=30 {
        table.write(gone(id), T + 4_000);
    }
    let left = table.roster.weight() - before;
    assert!(left <= 1 << 17, "{left}");
}

/// Where the books aren't settled, transactions wait, also those that are about other tables.
#[test]
fn transactions_that_wait_are_weighed() {
    let mut table = Table::whole();
    table.memory = 4 << 20;
    let commit = |lsn| Some(Commit::Postgres { lsn, xid: None });
    for lsn in 1..=100_000 {
        table.ended(TransactionId(lsn), commit(lsn));
    }
    assert!(matches!(table.why(), Why::NoRoom { .. }), "{}", table.why());
}

/// Where heartbeats stay away, how often rows change takes no room either.
#[test]
fn a_row_that_changes_all_the_time_takes_the_room_of_one() {
    let mut table = Table::whole();
    for lsn in 1..=1_000 {
        table.tell(lsn, if lsn % 2 == 1 { gone(1) } else { is(1, "{\"price\":1}") });
        table.end(lsn);
    }
    assert_eq!((table.roster.lately.len(), table.roster.gone.told.len(), table.roster.count()), (1, 0, 3));
}

#[test]
fn what_the_log_told_long_ago_takes_no_room() {
    let mut table = Table::new();
    table.roster.begin(false);
    for id in 0..2_000 {
        table.write(is(id, "{}"), T + id * 10);
        table.write(gone(id + 1_000_000), T + id * 10);
    }
    assert!(table.roster.count() < 1_000 && table.roster.gone.told.len() < 1_000, "{}", table.roster.count());
}
