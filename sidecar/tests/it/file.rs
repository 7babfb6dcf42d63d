//! A file of recorded entries as a source, without any server.

use std::{
    fs,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use freshet_e2e::process::{Sidecar, http};

use crate::shop::{App, SOON, executable, manifest_over};

const CACHES: &str = "
  - {name: products, table: inventory.product}
  - {name: rows, table: inventory.product, onChange: Hydrate}";

/// An entry as a line.
fn line(stream: &str, id: u64, op: &str, after: &str) -> String {
    let key = format!("{{\"id\":{id}}}");
    let fields = serde_json::json!([[key, crate::shop::event("product", op, after)]]);
    format!("{}\n", serde_json::json!({"stream": stream, "fields": fields}))
}

fn add(path: &Path, text: &str) {
    fs::OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn follow(path: &Path, layout: &str) -> App {
    let source = format!("file: {{path: '{}', {layout}}}", path.display());
    App { sidecar: Sidecar::builder(executable(), &manifest_over(&source, CACHES, "")).start().unwrap() }
}

#[test]
fn a_file_is_read_from_its_first_line_on_and_what_is_added_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("entries.jsonl");
    add(&path, &line("shop.inventory.product", 7, "c", "{\"id\":7,\"name\":\"saw\"}"));
    let mut app = follow(&path, "topicPrefix: shop");
    app.until_get("/v1/rows/7", "hit {\"id\":7,\"name\":\"saw\"}");
    app.until_fresh();
    app.until_fills_last();
    app.fill("/v1/products/7", "x");
    app.fill("/v1/products/8", "y");
    let next = line("shop.inventory.product", 7, "u", "{\"id\":7,\"name\":\"axe\"}");
    let (begin, end) = next.split_at(20);
    add(&path, begin);
    add(&path, end);
    app.until_get("/v1/rows/7", "hit {\"id\":7,\"name\":\"axe\"}");
    assert_eq!((app.get("/v1/products/7"), app.get("/v1/products/8")), ("miss".into(), "hit y".into()));
    // While nothing comes it is vouched for all the same: without a proof it is for 2 s.
    let last = Instant::now();
    app.sidecar
        .until("it is fresh long after the last line", SOON, |sidecar| {
            let status = sidecar.status()?;
            anyhow::ensure!(last.elapsed() > Duration::from_secs(4), "not long after it yet");
            anyhow::ensure!(status["sources"]["cdc"]["state"] == "Fresh", "{status}");
            Ok(())
        })
        .unwrap();
    // Of other streams nothing is read, and nothing is missed.
    add(&path, &line("shop.inventory.other", 8, "u", "null"));
    app.until_fresh();
    assert_eq!(app.get("/v1/products/8"), "hit y");
    assert_eq!(app.breaks(), [""; 0]);
}

#[test]
fn another_file_in_its_place_and_one_that_was_cut_begin_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("entries.jsonl");
    let row = |n| line("shop.cdc", n, "c", &format!("{{\"id\":{n}}}"));
    add(&path, &[row(1), row(2)].concat());
    let mut app = follow(&path, "stream: shop.cdc");
    app.until_get("/v1/rows/2", "hit {\"id\":2}");
    let epoch = app.epoch();
    let other = folder.path().join("other.jsonl");
    add(&other, &row(3));
    fs::rename(&other, &path).unwrap();
    app.until_fresh_after(epoch);
    app.until_get("/v1/rows/3", "hit {\"id\":3}");
    assert_eq!((app.get("/v1/rows/2"), app.breaks()), ("miss".into(), vec!["stream-gone".to_owned()]));
    let epoch = app.epoch();
    fs::OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
    app.until_fresh_after(epoch);
    assert!(app.breaks().contains(&"id-went-back".to_owned()), "{:?}", app.breaks());
}

#[test]
fn a_file_that_was_cut_and_has_grown_again_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("entries.jsonl");
    let row = |n| line("shop.cdc", n, "c", &format!("{{\"id\":{n}}}"));
    add(&path, &[row(1), row(2)].concat());
    let mut app = follow(&path, "stream: shop.cdc");
    app.until_get("/v1/rows/2", "hit {\"id\":2}");
    let epoch = app.epoch();
    // It is longer than what was read, and lines begin where they did.
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(row(1).len() as u64).unwrap();
    add(&path, &[row(3), row(4)].concat());
    app.until_fresh_after(epoch);
    app.until_get("/v1/rows/3", "hit {\"id\":3}");
    assert_eq!((app.get("/v1/rows/2"), app.breaks()), ("miss".into(), vec!["id-went-back".to_owned()]));
}

/// Nobody has it open while it can't be followed.
#[test]
fn a_file_that_was_written_over_while_it_could_not_be_read_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("entries.jsonl");
    let row = |n| line("shop.cdc", n, "c", &format!("{{\"id\":{n}}}"));
    add(&path, &[row(1), row(2)].concat());
    let mut app = follow(&path, "stream: shop.cdc");
    app.until_get("/v1/rows/2", "hit {\"id\":2}");
    let epoch = app.epoch();
    add(&path, "what?\n");
    app.until_reason("line 3 is no entry");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(row(1).len() as u64).unwrap();
    add(&path, &[row(3), row(4), row(5)].concat());
    app.until_fresh_after(epoch);
    for id in [3, 4, 5] {
        app.until_get(&format!("/v1/rows/{id}"), &format!("hit {{\"id\":{id}}}"));
    }
    assert_eq!((app.get("/v1/rows/2"), app.breaks()), ("miss".into(), vec!["id-went-back".to_owned()]));
}

#[test]
fn a_line_that_is_mended_is_read_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("entries.jsonl");
    let row = |n| line("shop.cdc", n, "c", &format!("{{\"id\":{n}}}"));
    add(&path, &row(1));
    let mut app = follow(&path, "stream: shop.cdc");
    app.until_get("/v1/rows/1", "hit {\"id\":1}");
    let epoch = app.epoch();
    add(&path, "what?\n");
    app.until_reason("line 2 is no entry");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(row(1).len() as u64).unwrap();
    add(&path, &row(2));
    app.until_get("/v1/rows/2", "hit {\"id\":2}");
    assert_eq!((app.get("/v1/rows/1"), app.epoch()), ("hit {\"id\":1}".into(), epoch));
}

#[test]
fn a_line_that_is_none_is_told_with_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("entries.jsonl");
    let mut app = follow(&path, "stream: shop.cdc");
    app.until_reason("can't be opened");
    add(&path, "{\"fields\": []}\n\nwhat?\n");
    app.until_reason("line 3 is no entry");
    assert_eq!(http::get(&app.sidecar.admin(), "/readyz").unwrap().status, 503);
    // However often it is looked at again, nothing is read behind it.
    add(&path, &line("shop.cdc", 7, "c", "{\"id\":7}"));
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(2) {
        app.until_reason("line 3 is no entry");
        assert!(app.get_now("/v1/rows/7").starts_with("stale"), "{}", app.get_now("/v1/rows/7"));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn standard_input_is_read_to_its_end() {
    let entries = line("shop.cdc", 7, "c", "{\"id\":7}");
    let source = "file: {path: '-', stream: shop.cdc}";
    let builder = Sidecar::builder(executable(), &manifest_over(source, CACHES, ""));
    let mut app = App { sidecar: builder.input(&entries).start().unwrap() };
    app.until_get("/v1/rows/7", "hit {\"id\":7}");
    app.until_fresh();
    app.sidecar
        .until("it is still fresh", SOON, |sidecar| {
            let status = sidecar.status()?;
            anyhow::ensure!(status["sources"]["cdc"]["transport"] == "file", "{status}");
            Ok(())
        })
        .unwrap();
}
