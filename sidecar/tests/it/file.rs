//! A file of recorded entries as a source, without any server.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use freshet_e2e::process::{Sidecar, http};

use crate::shop::{App, SOON, executable, manifest_over, outcome};

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

/// A file, and a sidecar that follows it.
struct Stage {
    folder: tempfile::TempDir,
    path: PathBuf,
    app: App,
}

impl Stage {
    /// With these rows in it, which the sidecar has read.
    fn with(rows: &[u64]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("entries.jsonl");
        add(&path, &created(rows));
        let mut app = follow(&path, "stream: shop.cdc");
        for row in rows {
            app.until_get(&format!("/v1/rows/{row}"), &format!("hit {{\"id\":{row}}}"));
        }
        Self { folder, path, app }
    }

    /// Leaves of it these rows, with which it begins.
    fn cut_behind(&self, rows: &[u64]) {
        let file = fs::OpenOptions::new().write(true).open(&self.path).unwrap();
        file.set_len(created(rows).len() as u64).unwrap();
    }
}

/// Rows that come to be, as lines.
fn created(rows: &[u64]) -> String {
    rows.iter().map(|id| line("shop.cdc", *id, "c", &format!("{{\"id\":{id}}}"))).collect()
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
    let Stage { folder, path, mut app } = Stage::with(&[1, 2]);
    let epoch = app.epoch();
    let other = folder.path().join("other.jsonl");
    add(&other, &created(&[3]));
    fs::rename(&other, &path).unwrap();
    app.until_fresh_after(epoch);
    app.until_get("/v1/rows/3", "hit {\"id\":3}");
    assert_eq!((app.get("/v1/rows/2"), app.breaks()), ("miss".into(), vec!["stream-gone".to_owned()]));
    let epoch = app.epoch();
    fs::OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
    app.until_fresh_after(epoch);
    assert!(app.breaks().contains(&"id-went-back".to_owned()), "{:?}", app.breaks());
}

/// It is longer than what was read, and lines begin where they did.
#[test]
fn a_file_that_was_cut_and_has_grown_again_begins_anew() {
    grows_again(Stage::with(&[1, 2]));
}

/// Nobody has it open while it can't be followed.
#[test]
fn a_file_that_was_written_over_while_it_could_not_be_read_begins_anew() {
    let mut stage = Stage::with(&[1, 2]);
    add(&stage.path, "what?\n");
    stage.app.until_reason("line 3 is no entry");
    grows_again(stage);
}

fn grows_again(mut stage: Stage) {
    let epoch = stage.app.epoch();
    stage.cut_behind(&[1]);
    add(&stage.path, &created(&[3, 4, 5]));
    let app = &mut stage.app;
    app.until_fresh_after(epoch);
    for id in [3, 4, 5] {
        app.until_get(&format!("/v1/rows/{id}"), &format!("hit {{\"id\":{id}}}"));
    }
    assert_eq!((app.get("/v1/rows/2"), app.breaks()), ("miss".into(), vec!["id-went-back".to_owned()]));
}

#[test]
fn a_line_that_is_mended_is_read_and_nothing_is_lost() {
    let mut stage = Stage::with(&[1]);
    let epoch = stage.app.epoch();
    add(&stage.path, "what?\n");
    stage.app.until_reason("line 2 is no entry");
    stage.cut_behind(&[1]);
    add(&stage.path, &created(&[2]));
    stage.app.until_get("/v1/rows/2", "hit {\"id\":2}");
    assert_eq!((stage.app.get("/v1/rows/1"), stage.app.epoch()), ("hit {\"id\":1}".into(), epoch));
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
    // However often it is tried again, each 2 s at the latest, nothing is read behind it.
    add(&path, &created(&[7]));
    let begin = Instant::now();
    app.sidecar
        .until("it was tried again and again", SOON, |sidecar| {
            let found = outcome(&sidecar.get("/v1/rows/7")?);
            assert!(found.starts_with("stale"), "{found}");
            anyhow::ensure!(begin.elapsed() > Duration::from_secs(4), "not so often yet");
            Ok(())
        })
        .unwrap();
    app.until_reason("line 3 is no entry");
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
