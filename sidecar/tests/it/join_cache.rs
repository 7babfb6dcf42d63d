//! `examples/join-cache` as it is: MariaDB behind the real Debezium, and its program.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use freshet_e2e::{
    examples::JoinCache,
    process::{
        http::{Connection, Response, Target},
        until,
    },
};
use serde_json::Value;

use crate::{positions::detail, shop::executable};

/// How long anything may take that waits for a change or for the end of a hold-off.
const LATER: Duration = Duration::from_secs(30);

/// How often the joined rows change while they are read, and by how many at once.
const CHANGES: u64 = 24;
const READERS: usize = 4;

/// The pages that are looked at, and how each is cached.
const PAGE: &str = "/products/1";
const LIST: &str = "/products";

struct Stage {
    example: JoinCache,
}

impl Stage {
    fn open() -> Self {
        crate::openapi::watch();
        let amend = |binding: String| {
            assert_eq!(binding.matches("maxStaleness: 10s").count(), 1, "{binding}");
            // A busy machine may keep Debezium waiting for longer, and what is looked at here is another thing.
            binding.replace("maxStaleness: 10s", "maxStaleness: 2m")
        };
        Self { example: JoinCache::start(Path::new(executable()), amend).unwrap() }
    }

    /// Commits a statement, and returns its position.
    fn commit(&self, sql: &str) -> String {
        let mut session = self.example.mariadb().client().unwrap();
        session.execute(sql).unwrap();
        let rows = session.query("SELECT @@last_gtid").unwrap();
        format!("cdc=\"gtid:{}\"", rows[0][0].as_deref().unwrap())
    }

    /// Commits a statement, and waits until the sidecar has applied it.
    fn apply(&self, sql: &str) {
        let position = self.commit(sql);
        // A key that nobody reads, and a method that takes no lease.
        let headers = [("freshet-min-position", position.as_str()), ("prefer", "wait=15")];
        until(sql, LATER, || {
            let answer = self.ask("HEAD", "/v1/stock/999", &headers)?;
            ensure!(!detail(&answer).contains("behind"), "{answer:?}");
            Ok(())
        })
        .unwrap();
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
        Connection::open(&self.example.sidecar_target())?.request(method, path, headers, b"")
    }

    /// Reads until the cache has it, for longer than right after a change.
    fn cached(&self, path: &str) -> Value {
        until(&format!("{path} is cached"), LATER, || {
            let answer = self.example.get(path)?;
            ensure!(from(&answer) == "hit", "{answer:?}");
            Ok(answer.json().unwrap_or(Value::Null))
        })
        .unwrap()
    }

    /// What the next read answers, and from where. One that didn't reach the sidecar in time, on a busy machine, doesn't
    /// count.
    fn next(&self, path: &str) -> (u16, String, String) {
        let answer = until(&format!("{path} is asked of the sidecar"), LATER, || {
            let answer = self.example.get(path)?;
            ensure!(!from(&answer).starts_with("unavailable"), "{answer:?}");
            Ok(answer)
        })
        .unwrap();
        (answer.status, from(&answer).to_owned(), answer.text())
    }
}

fn from(answer: &Response) -> &str {
    answer.header("x-cache").unwrap_or_else(|| panic!("{answer:?}"))
}

/// One pipeline, one story: Debezium's start is most of what takes time here.
#[test]
fn a_join_is_never_served_after_either_table_has_changed_and_stays_when_another_does() {
    let mut stage = Stage::open();
    either_table_voids_it(&stage);
    others_leave_it(&stage);
    what_is_not_there_is_cached_too(&stage);
    no_reader_is_served_what_was_applied_as_changed(&stage);
    the_database_answers_without_the_sidecar(&mut stage);
}

fn either_table_voids_it(stage: &Stage) {
    for (change, says) in [
        ("UPDATE inventory.product SET price = 0.45 WHERE id = 1", "0.45"),
        ("UPDATE inventory.category SET name = 'fresh fruit' WHERE id = 1", "fresh fruit"),
        // To another category: the page depends on that one from now on.
        ("UPDATE inventory.product SET category_id = 2 WHERE id = 1", "tools"),
        ("UPDATE inventory.category SET name = 'hand tools' WHERE id = 2", "hand tools"),
    ] {
        for path in [PAGE, LIST] {
            assert!(!joined(&stage.cached(path)).to_string().contains(says), "{path}: {change}");
        }
        stage.apply(change);
        for path in [PAGE, LIST] {
            let (status, from, text) = stage.next(path);
            let row = joined(&text.parse().unwrap()).to_string();
            assert!(status == 200 && from == "miss" && row.contains(says), "{from}, {row}: {change}");
        }
    }
}

fn others_leave_it(stage: &Stage) {
    let (page, list, stock) = (stage.cached(PAGE), stage.cached(LIST), stage.cached("/stock/1"));
    assert_eq!(stock["pieces"], 100);
    // A third table. The change has arrived: what is cached of that table is void.
    stage.apply("UPDATE inventory.stock SET pieces = 99 WHERE product_id = 1");
    assert_eq!(stage.next("/stock/1").1, "miss");
    for (path, before) in [(PAGE, &page), (LIST, &list)] {
        let (_, from, text) = stage.next(path);
        assert_eq!((from.as_str(), &text.parse::<Value>().unwrap()), ("hit", before), "{path}");
    }
    // Other rows of the same tables: the list is made of them, the page isn't.
    for other in [
        "UPDATE inventory.product SET price = 0.65 WHERE id = 2",
        "UPDATE inventory.category SET name = 'ripe fruit' WHERE id = 1",
        "INSERT INTO inventory.category VALUES (3, 'books')",
    ] {
        stage.cached(LIST);
        stage.apply(other);
        assert_eq!(stage.next(LIST).1, "miss", "{other}");
        assert_eq!(stage.next(PAGE).1, "hit", "{other}");
    }
}

fn what_is_not_there_is_cached_too(stage: &Stage) {
    stage.cached("/products/4");
    assert_eq!(stage.next("/products/4").0, 404);
    stage.apply("INSERT INTO inventory.product VALUES (4, 'plum', 0.20, 1)");
    let (status, _, text) = stage.next("/products/4");
    assert!(status == 200 && text.contains("plum"), "{text}");
    stage.cached("/products/4");
    stage.apply("DELETE FROM inventory.product WHERE id = 4");
    assert_eq!(stage.next("/products/4").0, 404);
}

/// Readers read and fill all the time. The number of the last change that is known to be applied is a floor for all that
/// they read from then on.
fn no_reader_is_served_what_was_applied_as_changed(stage: &Stage) {
    stage.apply("UPDATE inventory.product SET name = '0', category_id = 1 WHERE id = 1");
    stage.apply("UPDATE inventory.category SET name = '0' WHERE id = 1");
    let (applied, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    // By page: the newest change that it was a hit with.
    let kept = [(); 2].map(|()| AtomicU64::new(0));
    let target = stage.example.target();
    thread::scope(|scope| {
        // Readers end when this does, however it does.
        let _end = End(&ended);
        for reader in 0..READERS {
            let (path, kept) = [(PAGE, &kept[0]), (LIST, &kept[1])][reader % 2];
            let (target, applied, ended) = (&target, &applied, &ended);
            scope.spawn(move || read_on(target, path, applied, kept, ended));
        }
        for n in 1..=CHANGES {
            let table = if n % 2 == 0 { "category" } else { "product" };
            stage.apply(&format!("UPDATE inventory.{table} SET name = '{n}' WHERE id = 1"));
            applied.store(n, Ordering::SeqCst);
            // Something of another table all the while.
            stage.commit(&format!("UPDATE inventory.stock SET pieces = {n} WHERE product_id = 1"));
            until(&format!("change {n} is in the cache"), LATER, || {
                let seen = kept.each_ref().map(|kept| kept.load(Ordering::SeqCst));
                ensure!(seen == [n; 2], "the newest hits are of {seen:?}");
                Ok(())
            })
            .unwrap();
        }
    });
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn read_on(target: &Target, path: &str, applied: &AtomicU64, kept: &AtomicU64, ended: &AtomicBool) {
    let mut connection = Connection::open(target).unwrap();
    while !ended.load(Ordering::SeqCst) {
        let floor = applied.load(Ordering::SeqCst);
        let answer = connection.request("GET", path, &[], b"").unwrap();
        let found = newest(&answer).unwrap_or_else(|e| panic!("{path}: {e:#}: {answer:?}"));
        // What is held off was read so soon after a change that it may not have been seen; it says so and ends.
        if from(&answer) != "hit hold-off" {
            assert!(found >= floor, "{path}: change {floor} was applied, and this is of {found}: {answer:?}");
        }
        if from(&answer) == "hit" {
            kept.fetch_max(found, Ordering::SeqCst);
        }
    }
}

/// The row of the first product, of its page or of the list.
fn joined(value: &Value) -> &Value {
    if value.is_array() { &value[0] } else { value }
}

/// The last change that a joined row has, in whichever of its tables.
fn newest(answer: &Response) -> Result<u64> {
    let value = answer.json()?;
    let number =
        |column: &str| -> Result<u64> { Ok(joined(&value)[column].as_str().context("a text")?.parse()?) };
    Ok(number("name")?.max(number("category")?))
}

fn the_database_answers_without_the_sidecar(stage: &mut Stage) {
    stage.example.sidecar().kill().unwrap();
    stage.commit("UPDATE inventory.product SET name = 'apple' WHERE id = 1");
    let answer = stage.example.get(PAGE).unwrap();
    assert_eq!((answer.status, from(&answer)), (200, "unavailable connect"));
    assert!(answer.text().contains("apple"), "{answer:?}");
}
