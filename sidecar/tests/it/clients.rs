//! The clients, all by one file of scenarios (`clients/conformance/scenarios.json`): each language has a small program
//! that does what a line of JSON asks for and answers with one.

mod driver;
mod example;
mod language;
mod scenario;
mod stage;
mod strangers;

use std::fs;

use freshet_e2e::cluster::checkout;
use serde_json::{Value, json};

use self::{
    language::Language,
    scenario::{File, Step},
    stage::Stage,
};

fn scenarios() -> File {
    let path = checkout().join("clients/conformance/scenarios.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn conform(language: Language) {
    let build = language.conformance().unwrap();
    let mut stage = Stage::open();
    for scenario in &scenarios().scenarios {
        stage.play(&build, scenario);
    }
}

#[test]
fn python() {
    conform(Language::Python);
}

#[test]
fn python_with_asyncio() {
    conform(Language::PythonAsync);
}

#[test]
fn go() {
    conform(Language::Go);
}

#[test]
fn node() {
    conform(Language::Node);
}

#[test]
fn rust() {
    conform(Language::Rust);
}

#[test]
fn java() {
    conform(Language::Java);
}

/// The reference has a row for every query whose key the scenarios ask for, and for no other.
#[test]
fn every_vector_of_query_keys_is_documented() {
    let page = fs::read_to_string(checkout().join("docs/reference/query-keys.md")).unwrap();
    let rows =
        page.lines().filter_map(|line| line.strip_prefix("| `[")?.strip_suffix("` |")?.split_once("` | `"));
    let unescaped = |text: &str| {
        let mut parts = text.split('‹');
        let start = parts.next().unwrap().to_owned();
        parts.fold(start, |text, part| {
            let (code, rest) = part.split_once('›').unwrap();
            let character = char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap();
            format!("{text}{character}{rest}")
        })
    };
    let documented: Vec<(Value, String)> = rows
        .map(|(array, key)| (serde_json::from_str(&unescaped(&format!("[{array}"))).unwrap(), key.to_owned()))
        .collect();
    let asked = scenarios().scenarios.into_iter().flat_map(|scenario| scenario.steps);
    let asked = asked.filter_map(|step| match step {
        Step::Call(call) if call.asks["call"] == "query_key" => Some(call),
        _ => None,
    });
    let asked: Vec<(Value, String)> = asked
        .map(|call| {
            let parameters = call.asks["params"].as_array().unwrap().iter();
            let parameters = parameters.map(|item| match item["integer"].as_str() {
                Some(digits) => json!(digits.parse::<i64>().unwrap()),
                None => item.clone(),
            });
            let array = std::iter::once(call.asks["text"].clone()).chain(parameters).collect();
            (array, call.expect["key"].as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(asked, documented);
}
