//! `examples/rest-cache` as it is: its stand-in for GitHub, its binding with four views, and its program.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use freshet_e2e::{
    examples::RestCache,
    process::{http::Response, until},
};
use serde_json::{Value, json};

use crate::shop::executable;

/// How long anything may take that waits for a refresh.
const LATER: Duration = Duration::from_secs(30);

/// The views, what each is ordered by, and whether it has what is archived.
const VIEWS: [(&str, &str, bool); 4] = [
    ("most-stars", "stargazers_count", true),
    ("most-forks", "forks_count", true),
    ("most-issues", "open_issues_count", true),
    ("latest", "updated_at", false),
];

/// How often the page is read while nothing changes.
const READS: usize = 200;

struct Stage {
    example: RestCache,
}

impl Stage {
    fn open() -> Self {
        Self { example: RestCache::start(Path::new(executable())).unwrap() }
    }

    /// All repositories as the stand-in has them now.
    fn repositories(&self) -> Vec<Value> {
        let answer = self.example.standin("GET", "/orgs/example/repos?per_page=100", "").unwrap();
        let all: Vec<Value> = serde_json::from_str(&answer.text()).unwrap();
        assert!(all.len() > 60 && all.len() < 100, "several of the pages that are asked for: {}", all.len());
        all
    }

    fn change(&self, name: &str, fields: &Value) {
        let path = if name.is_empty() { "/made-up".to_owned() } else { format!("/made-up/repos/{name}") };
        let answer = self.example.standin("PUT", &path, &fields.to_string()).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// How many requests the stand-in was sent.
    fn asked(&self) -> u64 {
        self.example.standin("GET", "/made-up", "").unwrap().json().unwrap()["asked"].as_u64().unwrap()
    }

    /// The names in a view.
    fn view(&self, name: &str, n: usize) -> Result<Vec<String>> {
        let answer = self.example.get(&format!("/{name}?n={n}"))?;
        ensure!(answer.status == 200, "{answer:?}");
        let items: Vec<Value> = serde_json::from_str(&answer.text())?;
        items.iter().map(|item| Ok(item["name"].as_str().context("a name")?.to_owned())).collect()
    }

    /// Waits until all views are what the stand-in's repositories make them.
    fn until_right(&self) {
        let all = self.repositories();
        until("every view is right", LATER, || {
            for (name, column, archived) in VIEWS {
                let (found, expected) = (self.view(name, 20)?, expected(&all, column, archived));
                ensure!(found == expected, "{name}: {found:?}, not {expected:?}");
                ensure!(self.view(name, 3)? == expected[..3], "{name}: three are the first of twenty");
            }
            Ok(())
        })
        .unwrap();
    }

    /// Waits until the page has this status, and says so of every view.
    fn until_page(&self, status: u16, says: &str) -> Response {
        until(&format!("the page is {status} and says {says}"), LATER, || {
            let page = self.example.get("/")?;
            ensure!(page.status == status && page.text().matches(says).count() == VIEWS.len(), "{page:?}");
            Ok(page)
        })
        .unwrap()
    }
}

/// The first twenty, greatest first.
fn expected(all: &[Value], column: &str, archived: bool) -> Vec<String> {
    let mut items: Vec<&Value> = all.iter().filter(|item| archived || item["archived"] == false).collect();
    // Times are texts of one form here, so that their order is that of texts.
    let rank = |item: &Value| (item[column].as_u64(), item[column].as_str().map(str::to_owned));
    items.sort_by_key(|item| std::cmp::Reverse(rank(item)));
    items.iter().take(20).map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn four_views_follow_an_upstream_that_changes_and_outlive_it() {
    let mut stage = Stage::open();
    stage.until_right();
    many_readers_are_one_to_the_upstream(&stage);
    views_follow_what_changes(&stage);
    mistakes_are_answered_as_such(&stage);
    what_it_said_last_is_served_while_it_fails(&stage);
    nothing_is_made_up_after_a_restart(&mut stage);
}

fn many_readers_are_one_to_the_upstream(stage: &Stage) {
    let (before, began) = (stage.asked(), Instant::now());
    for _ in 0..READS {
        let page = stage.example.get("/").unwrap();
        assert_eq!(page.status, 200, "{page:?}");
        assert_eq!(page.text().matches("freshet; hit; ttl=").count(), VIEWS.len(), "{page:?}");
    }
    // Refreshes alone: of three pages each, every five seconds.
    let (asked, seconds) = (stage.asked() - before, began.elapsed().as_secs());
    assert!(
        asked <= 3 * (seconds / 5 + 2),
        "{READS} pages of four views each were {asked} requests in {seconds} s"
    );
}

fn views_follow_what_changes(stage: &Stage) {
    let all = stage.repositories();
    let last = expected(&all, "stargazers_count", true).pop().unwrap();
    stage.change(
        &last,
        &json!({"stargazers_count": 1_000_000, "updated_at": "2026-11-22T12:00:00Z", "archived": false}),
    );
    stage.until_right();
    assert_eq!(stage.view("most-stars", 1).unwrap(), [last.as_str()]);
    assert_eq!(stage.view("latest", 1).unwrap(), [last.as_str()]);
    stage.change(&last, &json!({"archived": true}));
    stage.until_right();
    assert_eq!(stage.view("most-stars", 1).unwrap(), [last.as_str()]);
    assert!(!stage.view("latest", 20).unwrap().contains(&last), "it is archived");
}

fn mistakes_are_answered_as_such(stage: &Stage) {
    for (path, status, says) in [
        ("/most-stars?n=21", 400, "view-size"),
        ("/most-stars?n=x", 400, "view-size"),
        ("/most-stars?m=1", 400, "query"),
        ("/most-watched", 404, ""),
    ] {
        let answer = stage.example.get(path).unwrap();
        assert!(answer.status == status && answer.text().contains(says), "{path}: {answer:?}");
    }
}

fn what_it_said_last_is_served_while_it_fails(stage: &Stage) {
    stage.change("", &json!({"max_age": 2}));
    // An answer that is fresh for so short is there before there are no more.
    let asked = stage.asked();
    until("several refreshes", LATER, || {
        let now = stage.asked();
        ensure!(now >= asked + 9, "{} requests", now - asked);
        Ok(())
    })
    .unwrap();
    // What lives for so short is incomplete for moments on a busy machine.
    let views = || VIEWS.map(|(name, ..)| stage.view(name, 20)).into_iter().collect::<Result<Vec<_>>>();
    let before = until("the views are there", LATER, views).unwrap();
    stage.change("", &json!({"status": 503}));
    stage.until_page(200, "; detail=upstream-status");
    assert_eq!(views().unwrap(), before);
}

fn nothing_is_made_up_after_a_restart(stage: &mut Stage) {
    let sidecar = stage.example.sidecar();
    sidecar.kill().unwrap();
    sidecar.start_again().unwrap();
    let page = stage.until_page(503, "keys of `orgs` are missing");
    assert!(!page.text().contains("freshet; hit"), "{page:?}");
    stage.change("", &json!({"status": 200}));
    stage.until_right();
    stage.until_page(200, "freshet; hit");
}
