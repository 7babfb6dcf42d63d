//! Positions: entries' ids as Redis writes them, and places in a database's log as applications send them.

use freshet_sidecar::position::{Commit, EntryId, Gtid, GtidSet, Position};

use crate::Bound;

/// Reads the text as each, and what that writes back.
pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let bound = Bound::of(64, input);
    let (id, position, gtid) = (text.parse::<EntryId>(), text.parse::<Position>(), text.parse::<Gtid>());
    drop(bound);
    if let Ok(id) = id {
        assert_eq!(id.to_string().parse(), Ok(id));
        let digits = |text: &str| text.trim_start_matches('+').trim_start_matches('0').to_owned();
        let (ms, n) = text.split_once('-').unwrap_or((text, "0"));
        assert_eq!((digits(ms), digits(n)), (digits(&id.ms.to_string()), digits(&id.n.to_string())));
    }
    if let Ok(position) = position {
        let written = position.to_string();
        assert_eq!(written.parse().as_ref(), Ok(&position), "{text} is written {written}");
        if let Position::Gtids(set) = &position {
            named(text.trim_start_matches("gtid:"), set);
        }
        if let Position::Lsn(lsn) = position {
            let commit = |lsn| Commit::Postgres { lsn, xid: None };
            assert!(position.sees(commit(lsn)) && (lsn == u64::MAX || !position.sees(commit(lsn + 1))));
        }
    }
    if let Ok(gtid) = gtid {
        let mut set = GtidSet::default();
        set.insert(gtid);
        assert!(set.contains(gtid));
    }
}

/// Fails unless the set has all that its text names: what is left out of a wish is granted too soon.
fn named(text: &str, set: &GtidSet) {
    for part in text.split(',').map(str::trim) {
        let Some((server, intervals)) = part.split_once(':') else {
            let gtid: Gtid = part.parse().expect("a set's part is a transaction");
            assert!(set.contains(gtid), "{part} was left out");
            continue;
        };
        for end in intervals.split([':', '-']) {
            let gtid: Gtid = format!("{server}:{end}").parse().expect("an interval's end is a transaction");
            assert!(set.contains(gtid), "{server}:{end} was left out");
        }
    }
}

/// All forms, and what nearly is one.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    const SERVER: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    let holes: Vec<_> = (1..100).map(|i| format!("{}", 2 * i)).collect();
    let domains: Vec<_> = (0..100).map(|i| format!("{i}-1-5")).collect();
    let texts = [
        "0-0",
        "1795233906789-3",
        "18446744073709551615-18446744073709551615",
        "18446744073709551616-0",
        "5",
        "-",
        "1-2-3",
        "lsn:0/157D6E8",
        "lsn:FFFFFFFF/FFFFFFFF",
        "xid:755",
        "xid:4294967296",
        "snap:725:730:725,727",
        "snap:1:1:",
        "gtid:0-1-17",
        "gtid:0-1-17, 1-2-5",
        &format!("gtid:{SERVER}:1-5:11-18"),
        &format!("gtid:{SERVER}:18446744073709551615"),
        &format!("gtid:{SERVER}:{}", holes.join(":")),
        &format!("gtid:{}", domains.join(",")),
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}
