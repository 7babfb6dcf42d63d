//! The versions that stand in files which no program reads both of: they change together or not at all.

use std::fs;
use std::path::Path;

use super::{VERSION, checkout};
use crate::process::debezium;

fn read(file: impl AsRef<Path>) -> String {
    fs::read_to_string(checkout().join(file)).unwrap()
}

fn assert_images(file: &str, start: &str, version: &str) {
    let text = read(file);
    let named: Vec<&str> = text.lines().filter_map(|line| line.trim().split("image: ").nth(1)).collect();
    let of_start: Vec<&&str> = named.iter().filter(|image| image.starts_with(start)).collect();
    assert!(!of_start.is_empty(), "{file} has no image {start}: {named:?}");
    for image in of_start {
        assert_eq!(*image, &format!("{start}:{version}"), "{file}");
    }
}

#[test]
fn chart_and_examples_name_the_images_of_this_version() {
    let chart = read("charts/freshet/Chart.yaml");
    for field in ["version", "appVersion"] {
        let line = format!("{field}: {VERSION}");
        assert!(chart.lines().any(|it| it.replace('"', "") == line), "no {line:?} in:\n{chart}");
    }
    for file in ["examples/shop/10-shop.yaml", "examples/shop/20-plain.yaml"] {
        assert_images(file, "ghcr.io/freshet-dev/freshet-example-shop", VERSION);
    }
}

#[test]
fn recordings_are_of_the_debezium_that_runs_here() {
    let recordings = fs::read_dir(checkout().join("sidecar/tests/recorded")).unwrap();
    let recordings: Vec<_> = recordings.map(|entry| entry.unwrap().path()).collect();
    assert!(!recordings.is_empty());
    for file in recordings.iter().filter(|file| file.extension().is_some_and(|it| it == "json")) {
        let recording: serde_json::Value = serde_json::from_str(&read(file)).unwrap();
        assert_eq!(recording["debezium"], debezium::VERSION, "{}", file.display());
    }
}

#[test]
fn the_pipeline_names_the_images_that_are_loaded() {
    let manifests =
        ["10-redis", "20-postgres", "30-debezium"].map(|name| format!("examples/pipeline/{name}.yaml"));
    let text: String = manifests.iter().map(read).collect();
    for image in super::PIPELINE {
        assert!(text.contains(&format!("image: {}\n", image.name())), "{}", image.name());
    }
}
