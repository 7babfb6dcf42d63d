use super::{Accounts, Numbers, Settled, UNSETTLED, ended::ENDED};
use crate::{
    change::{Change, End, TableId, Transaction, TransactionId},
    continuity::Break,
    envelope::{StreamRole, read},
    position::Commit,
    recorded::Recording,
};

/// An entry of one stream for all.
fn entry(key: &str, value: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    vec![(key.as_bytes().to_vec(), value.as_bytes().to_vec())]
}

fn begin(xid: u32) -> Vec<(Vec<u8>, Vec<u8>)> {
    let id = format!("{{\"id\":\"{xid}:7\"}}");
    entry(
        &id,
        &format!(
            "{{\"status\":\"BEGIN\",\"id\":\"{xid}:7\",\"event_count\":null,\"data_collections\":null}}"
        ),
    )
}

fn end(xid: u32, lsn: u64, counts: &[(&str, u64)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let counts: Vec<_> = counts
        .iter()
        .map(|(table, n)| format!("{{\"data_collection\":\"{table}\",\"event_count\":{n}}}"))
        .collect();
    let counts = counts.join(",");
    let value = format!(
        "{{\"status\":\"END\",\"id\":\"{xid}:{lsn}\",\"event_count\":9,\"data_collections\":[{counts}]}}"
    );
    entry(&format!("{{\"id\":\"{xid}:{lsn}\"}}"), &value)
}

/// A row's event: of a table of `s`, at a place of its transaction, after a commit.
fn row(table: &str, xid: u32, place: u64, preceding: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let value = format!(
        "{{\"after\":{{\"id\":1}},\"op\":\"u\",\"source\":{{\"schema\":\"s\",\"table\":\"{table}\",\"lsn\":{},\
         \"sequence\":\"[\\\"{preceding}\\\",\\\"9\\\"]\"}},\
         \"transaction\":{{\"id\":\"{xid}:1\",\"total_order\":9,\"data_collection_order\":{place}}}}}",
        preceding + place
    );
    entry("{\"id\":1}", &value)
}

fn beat(number: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let value = format!(
        "{{\"after\":{{\"id\":1,\"beat\":{number},\"at_ms\":5}},\"op\":\"u\",\"source\":{{\"db\":\"d\",\"table\":\"freshet_heartbeat\"}}}}"
    );
    entry("{\"id\":1}", &value)
}

/// What the books say of these entries of one stream, of which `s.t` is followed, settled once at the end.
fn settle(accounts: &mut Accounts, entries: &[Vec<(Vec<u8>, Vec<u8>)>]) -> Settled {
    accounts.follow(true, [TableId::of("s.t")].into());
    for fields in entries {
        accounts.note(&read(&StreamRole::Routed, fields));
    }
    accounts.settle()
}

/// Books in which a first transaction ended at 100 and a first heartbeat came.
fn books() -> Accounts {
    let mut accounts = Accounts::default();
    let begun = settle(&mut accounts, &[begin(1), row("t", 1, 1, 50), end(1, 100, &[("s.t", 1)]), beat(7)]);
    assert_eq!(begun, Settled { began: true, ..Settled::default() });
    accounts
}

#[test]
fn a_transaction_that_adds_up_is_no_loss() {
    let transaction = [
        begin(2),
        row("t", 2, 1, 100),
        row("t", 2, 2, 100),
        row("u", 2, 1, 100),
        end(2, 200, &[("s.t", 2), ("s.u", 1), ("s.v", 3)]),
    ];
    for settled_at in 1..=transaction.len() {
        let mut books = books();
        let (first, second) = transaction.split_at(settled_at);
        assert_eq!(settle(&mut books, first).lost, None);
        assert_eq!(settle(&mut books, second), Settled::default());
    }
}

#[test]
fn each_loss_within_a_transaction_is_noticed() {
    let transaction = [
        begin(2),
        row("t", 2, 1, 100),
        row("t", 2, 2, 100),
        row("t", 2, 3, 100),
        end(2, 200, &[("s.t", 3)]),
        begin(3),
        row("u", 3, 1, 200),
        end(3, 300, &[("s.u", 1)]),
    ];
    for lost in 1..=4 {
        let mut entries = transaction.to_vec();
        entries.remove(lost);
        assert_eq!(settle(&mut books(), &entries).lost, Some(Break::EventsMissed), "{lost}");
    }
    let whole = settle(&mut books(), &transaction[5..]);
    assert_eq!(whole.lost, Some(Break::TransactionsMissed), "all of the first transaction");
    let unseen = settle(&mut books(), &[end(2, 200, &[("s.t", 1)])]);
    assert_eq!(unseen.lost, Some(Break::EventsMissed), "all but its end");
    let of_another = [begin(2), end(2, 200, &[("s.v", 1)])];
    assert_eq!(settle(&mut books(), &of_another).lost, None, "a table that isn't followed");
    let unbegun = settle(&mut books(), &of_another[1..]);
    assert_eq!(unbegun.lost, Some(Break::EventsMissed), "and what came before it, perhaps");
    let mut under_way = Accounts::default();
    under_way.recall(&read(&StreamRole::Routed, &begin(2)));
    assert_eq!(settle(&mut under_way, &of_another[1..]).lost, None, "it began before reading did");
}

/// No event names its commit: those of the next one are in a stream that isn't read.
#[test]
fn a_transaction_that_only_began_is_missed_when_the_next_one_begins() {
    for ordered in [true, false] {
        let mut accounts = books();
        let mut settle = |entries: &[Vec<(Vec<u8>, Vec<u8>)>]| {
            accounts.follow(ordered, [TableId::of("s.t")].into());
            for fields in entries {
                accounts.note(&read(&StreamRole::Routed, fields));
            }
            accounts.settle()
        };
        assert_eq!(settle(&[begin(2)]), Settled { open: true, ..Settled::default() });
        let next = settle(&[begin(3), end(3, 300, &[("s.v", 1)])]);
        assert_eq!(next.lost, Some(Break::EventsMissed), "ordered: {ordered}");
    }
}

/// Its message would have named the commit before it, and its number shows that it is missing with the next one.
#[test]
fn after_a_message_that_never_came_the_next_heartbeat_tells() {
    const MESSAGE: &str =
        "io.debezium.connector.postgresql.LogicalDecodingMessageMonitor$LogicalDecodingMessageId@5";
    let silent = [begin(3), end(3, 300, &[(MESSAGE, 1)])];
    let mut accounts = books();
    assert_eq!(settle(&mut accounts, &silent), Settled { doubt: true, ..Settled::default() });
    let more = [begin(4), row("t", 4, 1, 300), end(4, 400, &[("s.t", 1)])];
    assert!(settle(&mut accounts, &more).doubt, "it names this one");
    let mut others = books();
    settle(&mut others, &silent);
    assert_eq!(settle(&mut others, &[beat(8)]), Settled::default(), "it was somebody else's message");
    assert_eq!(settle(&mut accounts, &[beat(9)]).lost, Some(Break::HeartbeatMissed));
    let mut unnumbered = Accounts::default();
    assert!(!settle(&mut unnumbered, &silent).doubt, "no heartbeat would ever tell");
}

/// The begin or the end of one of MariaDB's transactions.
fn marker(status: &str, gtid: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let value = format!(
        "{{\"status\":\"{status}\",\"id\":\"{gtid}\",\"event_count\":null,\"data_collections\":null}}"
    );
    entry(&format!("{{\"id\":\"{gtid}\"}}"), &value)
}

#[test]
fn mariadbs_transactions_are_numbered() {
    let mut accounts = Accounts::default();
    let begun = [marker("BEGIN", "0-1-8"), marker("END", "0-1-8"), beat(3)];
    assert_eq!(settle(&mut accounts, &begun), Settled { began: true, ..Settled::default() });
    // A statement that changes a definition has no end; another server goes on with the numbers of its domain.
    let altered = entry(
        "{\"databaseName\":\"s\"}",
        "{\"source\":{\"gtid\":\"0-1-9\"},\"ddl\":\"ALTER\",\"tableChanges\":[{\"type\":\"ALTER\",\"id\":\"\\\"s\\\".\\\"t\\\"\"}]}",
    );
    let more = [
        marker("BEGIN", "0-1-9"),
        altered.clone(),
        marker("BEGIN", "0-2-10"),
        marker("END", "0-2-10"),
        marker("BEGIN", "0-1-9"),
        altered,
    ];
    assert_eq!(settle(&mut accounts, &more), Settled::default());
    assert!(
        settle(&mut accounts, &[marker("BEGIN", "7-1-100"), marker("END", "7-1-100")]).began,
        "another domain"
    );
    assert_eq!(settle(&mut accounts, &[marker("BEGIN", "0-2-12")]).lost, Some(Break::TransactionsMissed));
}

/// The first event of one of MariaDB's transactions.
fn event(gtid: &str, op: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let value = format!(
        "{{\"after\":null,\"op\":\"{op}\",\"source\":{{\"db\":\"s\",\"table\":\"t\",\"gtid\":\"{gtid}\"}},\
         \"transaction\":{{\"id\":\"{gtid}\",\"total_order\":1,\"data_collection_order\":1}}}}"
    );
    entry("{\"id\":1}", &value)
}

/// A heartbeat that came alone would vouch for what was lost before it.
#[test]
fn a_transaction_whose_begin_was_lost_shows_with_its_first_event_what_was_lost_before() {
    let (begin, end) = (|gtid| marker("BEGIN", gtid), |gtid| marker("END", gtid));
    let after = |entries: &[Vec<(Vec<u8>, Vec<u8>)>]| {
        let mut accounts = Accounts::default();
        settle(&mut accounts, &[begin("0-1-7"), end("0-1-7")]);
        settle(&mut accounts, entries)
    };
    assert_eq!(after(&[event("0-1-8", "u")]).lost, None, "its begin alone");
    assert_eq!(after(&[event("0-1-8", "u"), end("0-1-8")]).lost, None);
    assert_eq!(after(&[event("0-1-9", "u")]).lost, Some(Break::TransactionsMissed));
    assert_eq!(after(&[begin("0-1-8"), event("0-1-9", "u")]).lost, Some(Break::EventsMissed));
    assert_eq!(after(&[event("0-1-8", "u"), begin("0-1-8"), event("0-1-9", "u"), end("0-1-8")]).lost, None);
    assert_eq!(after(&[event("0-1-8", "t")]).lost, None, "a statement");
    let ended_after = |began: &[Vec<(Vec<u8>, Vec<u8>)>]| {
        let mut accounts = Accounts::default();
        settle(&mut accounts, &[begin("0-1-7"), end("0-1-7")]);
        settle(&mut accounts, began);
        settle(&mut accounts, &[event("0-1-9", "u"), end("0-1-9")]).lost
    };
    assert_eq!(ended_after(&[begin("0-1-8")]), Some(Break::EventsMissed), "it is over, and had no end");
    assert_eq!(ended_after(&[begin("0-1-8"), event("0-1-8", "t")]), None);
}

#[test]
fn a_long_backlog_of_several_streams_is_no_loss() {
    let mut accounts = Accounts::default();
    let numbers = 1..=ENDED + 2;
    let gtids: Vec<String> = numbers.map(|n| format!("0-1-{n}")).collect();
    let events = gtids.iter().map(|gtid| event(gtid, "u"));
    let markers = gtids.iter().flat_map(|gtid| [marker("BEGIN", gtid), marker("END", gtid)]);
    accounts.follow(false, [TableId::of("s.t")].into());
    for fields in events.chain(markers) {
        accounts.note(&read(&StreamRole::Routed, &fields));
    }
    let settled = accounts.settle();
    assert_eq!(settled, Settled { began: true, ..Settled::default() });
    assert_eq!(accounts.numbers.ended.order.len(), ENDED);
}

/// In whatever order the streams are read, a definition's event explains why its transaction has no end.
#[test]
fn of_mariadbs_transactions_only_statements_about_tables_have_no_end() {
    let altered = |gtid: &str| {
        let value = format!(
            "{{\"source\":{{\"db\":\"s\",\"gtid\":\"{gtid}\"}},\"ddl\":\"ALTER\",\
             \"tableChanges\":[{{\"type\":\"ALTER\",\"id\":\"\\\"s\\\".\\\"t\\\"\"}}]}}"
        );
        entry("{\"databaseName\":\"s\"}", &value)
    };
    let next_after = |entries: &[Vec<(Vec<u8>, Vec<u8>)>]| {
        let mut accounts = Accounts::default();
        settle(&mut accounts, &[marker("BEGIN", "0-1-7"), marker("END", "0-1-7")]);
        settle(&mut accounts, entries);
        settle(&mut accounts, &[marker("BEGIN", "0-1-9"), marker("END", "0-1-9")]).lost
    };
    let begin = marker("BEGIN", "0-1-8");
    assert_eq!(next_after(&[begin.clone(), event("0-1-8", "u"), marker("END", "0-1-8")]), None);
    assert_eq!(next_after(&[begin.clone(), event("0-1-8", "t")]), None);
    assert_eq!(next_after(&[begin.clone(), altered("0-1-8")]), None);
    assert_eq!(next_after(&[altered("0-1-8"), begin.clone()]), None);
    let mut accounts = Accounts::default();
    settle(&mut accounts, &[marker("BEGIN", "0-1-7"), marker("END", "0-1-7")]);
    assert!(settle(&mut accounts, &[begin.clone(), event("0-1-8", "t")]).open, "its end may come");
    let next = [marker("BEGIN", "0-1-9"), marker("END", "0-1-9")];
    assert_eq!(settle(&mut accounts, &next), Settled::default(), "it isn't under way any more");
    assert_eq!(
        next_after(&[begin.clone(), event("0-1-8", "u")]),
        Some(Break::EventsMissed),
        "its end was lost"
    );
    assert_eq!(next_after(&[begin]), Some(Break::EventsMissed), "all but its begin was lost");
}

#[test]
fn a_jump_in_heartbeats_is_a_loss_and_a_step_back_is_a_replay() {
    let mut accounts = books();
    assert_eq!(settle(&mut accounts, &[beat(8), beat(8), beat(6), beat(7), beat(8), beat(9)]).lost, None);
    assert_eq!(settle(&mut accounts, &[beat(11)]).lost, Some(Break::HeartbeatMissed));
    assert!(settle(&mut accounts, &[beat(12)]).began, "it begins anew");
}

#[test]
fn numbers_begin_with_debeziums_very_first_event() {
    let mut accounts = Accounts::default();
    let (key, value) = row("t", 1, 1, 50).remove(0);
    let first = String::from_utf8(value).unwrap().replace("\\\"50\\\"", "null");
    assert!(first.contains("[null,"), "{first}");
    assert!(settle(&mut accounts, &[vec![(key, first.into_bytes())]]).began);
    assert_eq!(settle(&mut accounts, &[end(1, 100, &[("s.t", 1)]), beat(7)]), Settled::default());
    assert_eq!(settle(&mut accounts, &[row("t", 3, 1, 200)]).lost, Some(Break::TransactionsMissed));
}

#[test]
fn numbers_begin_together_where_heartbeats_are_in_the_chain() {
    let mut accounts = Accounts::default();
    assert!(settle(&mut accounts, &[row("t", 1, 1, 50)]).began);
    for entries in [vec![end(1, 100, &[("s.t", 1)])], vec![beat(7)], vec![row("t", 2, 1, 100)]] {
        assert!(!settle(&mut accounts, &entries).began);
    }
}

/// Debezium was told to write no more about transactions: nothing counts until the first heartbeat does.
#[test]
fn heartbeats_begin_where_transactions_are_numbered_no_more() {
    let mut accounts = Accounts::default();
    accounts.recall(&read(&StreamRole::Routed, &marker("BEGIN", "0-1-8")));
    assert!(settle(&mut accounts, &[beat(7)]).began);
    assert_eq!(settle(&mut accounts, &[beat(9)]).lost, Some(Break::HeartbeatMissed));
}

#[test]
fn what_is_replayed_is_no_loss() {
    let transaction = [begin(2), row("t", 2, 1, 100), row("t", 2, 2, 100), end(2, 200, &[("s.t", 2)])];
    for from in 0..transaction.len() {
        for to in from..=transaction.len() {
            let mut entries = transaction[..to].to_vec();
            entries.extend_from_slice(&transaction[from.min(to)..]);
            assert_eq!(settle(&mut books(), &entries).lost, None, "{from} {to}");
        }
    }
}

#[test]
fn a_replay_that_loses_an_end_leaves_nothing_under_way() {
    let next = |xid: u32| {
        let lsn = 100 * u64::from(xid);
        [begin(xid), row("t", xid, 1, lsn - 100), end(xid, lsn, &[("s.t", 1)])]
    };
    for begins in [true, false] {
        let mut accounts = books();
        settle(&mut accounts, &next(2));
        accounts.numbers.ended = super::Ended::default();
        let replayed = &next(2)[usize::from(!begins)..2];
        assert!(settle(&mut accounts, replayed).open, "it may go on");
        let then = settle(&mut accounts, &next(3));
        assert_eq!(then.lost, begins.then_some(Break::EventsMissed), "nobody remembers that it had ended");
        assert!(!settle(&mut accounts, &next(4)).open);
    }
}

#[test]
fn the_transaction_under_way_at_the_start_is_nobodys_loss() {
    let mut accounts = Accounts::default();
    let entries = [row("t", 2, 3, 100), end(2, 200, &[("s.t", 3), ("s.u", 1)])];
    assert_eq!(settle(&mut accounts, &entries), Settled { began: true, ..Settled::default() });
    let mut accounts = Accounts::default();
    assert_eq!(settle(&mut accounts, &[end(2, 200, &[("s.t", 3)])]).lost, None);
}

/// After a loss everything is counted anew, from the first begin on.
#[test]
fn a_transaction_that_began_after_reading_did_has_to_be_whole() {
    for ordered in [true, false] {
        let lost = |entries: &[Vec<(Vec<u8>, Vec<u8>)>]| {
            let mut accounts = Accounts::default();
            accounts.follow(ordered, [TableId::of("s.t")].into());
            for fields in entries {
                accounts.note(&read(&StreamRole::Routed, fields));
            }
            accounts.settle().lost
        };
        let missed = Some(Break::EventsMissed);
        let row = row("s.t", 1, 2, 50);
        assert_eq!(lost(&[begin(1), end(1, 100, &[("s.t", 1)])]), missed);
        assert_eq!(lost(&[begin(1), row.clone(), end(1, 100, &[("s.t", 2)])]), missed);
        assert_eq!(lost(&[row, end(1, 100, &[("s.t", 2)])]), None, "under way when reading began");
    }
    let mut accounts = Accounts::default();
    accounts.follow(true, [TableId::of("s.t")].into());
    settle(&mut accounts, &[marker("BEGIN", "0-1-7")]);
    let counts = "\"event_count\":1,\"data_collections\":[{\"data_collection\":\"s.t\",\"event_count\":1}]";
    let end = entry("{\"id\":\"0-1-7\"}", &format!("{{\"status\":\"END\",\"id\":\"0-1-7\",{counts}}}"));
    assert_eq!(settle(&mut accounts, &[end]).lost, Some(Break::EventsMissed), "MariaDB");
}

#[test]
fn with_recalled_numbers_nothing_begins_and_the_first_loss_is_noticed() {
    let mut accounts = Accounts::default();
    for fields in [end(1, 100, &[("s.t", 1)]), beat(7)] {
        accounts.recall(&read(&StreamRole::Routed, &fields));
    }
    assert_eq!(settle(&mut accounts, &[begin(3), row("u", 3, 1, 200)]).lost, Some(Break::TransactionsMissed));
    let mut accounts = Accounts::default();
    accounts.recall(&read(&StreamRole::Routed, &beat(7)));
    assert_eq!(settle(&mut accounts, &[beat(9)]).lost, Some(Break::HeartbeatMissed));
}

#[test]
fn without_transaction_metadata_the_chain_of_commits_says_nothing() {
    let mut accounts = Accounts::default();
    let bare = |preceding: u64| {
        let value = format!(
            "{{\"after\":{{\"id\":1}},\"op\":\"u\",\"source\":{{\"schema\":\"s\",\"table\":\"t\",\"lsn\":5,\
             \"sequence\":\"[\\\"{preceding}\\\",\\\"9\\\"]\"}}}}"
        );
        entry("{\"id\":1}", &value)
    };
    assert_eq!(settle(&mut accounts, &[bare(100), bare(200), bare(300)]), Settled::default());
    let mut accounts = books();
    assert_eq!(settle(&mut accounts, &[bare(200)]).lost, Some(Break::TransactionsMissed));
    assert_eq!(settle(&mut accounts, &[bare(300)]).lost, None, "it was switched off: told once");
}

#[test]
fn a_backlog_that_is_too_long_to_count_is_told() {
    let mut accounts = books();
    accounts.follow(false, [].into());
    for n in 0..UNSETTLED {
        accounts.note(&read(&StreamRole::Routed, &end(u32::try_from(n).unwrap() + 2, 200, &[])));
    }
    accounts.note(&Change::Other);
    assert!(accounts.numbers.ends.is_empty() && accounts.numbers.open.is_empty());
    assert_eq!(accounts.settle().lost, Some(Break::Unaccounted));
}

/// The real thing: nothing of what Debezium wrote is taken for lost, however it is read, and any loss of a change is.
#[test]
fn recordings_add_up_and_miss_what_is_taken_out() {
    for name in
        ["one-stream", "extended", "compact", "compact-schemas", "extended-tombstones", "null-as-default"]
    {
        let recording = Recording::load(name);
        let ordered = name == "one-stream";
        let lost_without = |left_out: &dyn Fn(usize) -> bool| {
            let mut accounts = Accounts::default();
            let mut lost = None;
            let tables = recording.entries.iter().filter_map(|e| Some(e.change().mark()?.place?.0));
            accounts.follow(ordered, tables.collect());
            for (i, entry) in recording.entries.iter().enumerate().filter(|(i, _)| !left_out(*i)) {
                accounts.note(&entry.change());
                if ordered || i % 16 == 0 {
                    lost = lost.or_else(|| accounts.settle().lost);
                }
            }
            lost.or_else(|| accounts.settle().lost)
        };
        assert_eq!(lost_without(&|_| false), None, "{name}");
        let mut taken_out = 0;
        let mut entered = None;
        for (i, entry) in recording.entries.iter().enumerate() {
            let change = entry.change();
            if !matches!(change, Change::Row(_) | Change::Table { .. }) {
                continue;
            }
            let Some(id) = change.mark().and_then(|mark| mark.transaction) else { continue };
            // Nothing can be said of the first transaction, and of the last only once something comes behind it.
            if *entered.get_or_insert(id) == id {
                continue;
            }
            taken_out += 1;
            assert!(lost_without(&|n| n == i).is_some(), "{name}: {:?}", entry.id);
        }
        assert!(taken_out > 10, "{name}");
    }
}

#[test]
fn a_transactions_name_is_its_number_wherever_its_events_are() {
    assert_eq!(TransactionId::of("755:1"), TransactionId::of("755:2"));
    assert_ne!(TransactionId::of("755:1"), TransactionId::of("756:1"));
    assert_ne!(TransactionId::of("0-1-17"), TransactionId::of("0-1-18"));
    let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    assert_ne!(TransactionId::of(&format!("{uuid}:1")), TransactionId::of(&format!("{uuid}:2")));
}

#[test]
fn numbers_that_go_back_in_new_heartbeats_are_another_databases() {
    let beat = |number: u64, at_ms: u64| {
        let value = format!(
            "{{\"after\":{{\"id\":1,\"beat\":{number},\"at_ms\":{at_ms}}},\"op\":\"u\",\"source\":{{\"db\":\"d\",\"table\":\"freshet_heartbeat\"}}}}"
        );
        entry("{\"id\":1}", &value)
    };
    let replayed = [beat(5, 100), beat(6, 200), beat(7, 300), beat(6, 200), beat(7, 300), beat(8, 400)];
    assert_eq!(settle(&mut Accounts::default(), &replayed).lost, None);
    for (number, at_ms) in [(4, 301), (7, 301)] {
        let lost = settle(&mut Accounts::default(), &[&replayed[..3], &[beat(number, at_ms)]].concat()).lost;
        assert_eq!(lost, Some(Break::DatabaseChanged), "{number}");
    }
    // The clock may be set back.
    assert_eq!(settle(&mut Accounts::default(), &[beat(5, 100), beat(6, 50), beat(7, 60)]).lost, None);
}

#[test]
fn what_waits_to_be_settled_is_bounded() {
    let mut accounts = Accounts::default();
    accounts.follow(false, [TableId::of("s.t")].into());
    for xid in 0..u32::try_from(UNSETTLED).unwrap() * 2 {
        let id = TransactionId(u64::from(xid));
        let commit = Some(Commit::Postgres { lsn: u64::from(xid), xid: Some(xid) });
        let end = Some(End { commit, events: Vec::new() });
        accounts.note(&Change::Transaction(Transaction { id, gtid: None, end }));
    }
    let Numbers { open, ends, preceding, commits, .. } = &accounts.numbers;
    assert!(open.len() + ends.len() + preceding.len() + commits.len() <= UNSETTLED + 2);
    assert_eq!(accounts.settle().lost, Some(Break::Unaccounted));
}
