//! What the documents show is what the sidecar takes.

use std::{collections::BTreeSet, fs, path::Path};

use freshet_crds::{binding::Binding, manifest};

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The YAML documents of a text that are bindings.
fn bindings(text: &str) -> Vec<&str> {
    text.split("\n---").filter(|document| document.contains("kind: CacheBinding")).collect()
}

fn check(place: &str, text: &str) -> usize {
    let found = bindings(text);
    for text in &found {
        let manifest = manifest::read(text).unwrap_or_else(|e| panic!("{place}: {e}"));
        Binding::parse(&manifest.object).unwrap_or_else(|e| panic!("{place}: {e:?}"));
    }
    found.len()
}

#[test]
fn every_binding_in_readme_guides_and_examples_is_good() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let readme = read(&root.join("README.md"));
    let blocks = readme.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    assert!(blocks.map(|block| check("README.md", block)).sum::<usize>() >= 1);
    let mut found = 0;
    for guide in fs::read_dir(root.join("docs/guides")).unwrap() {
        let path = guide.unwrap().path();
        let text = read(&path);
        let blocks = text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        // Others show a part of one.
        let whole = blocks.filter(|block| block.contains("kind: CacheBinding"));
        found += whole.map(|block| check(&path.display().to_string(), block)).sum::<usize>();
    }
    assert!(found >= 1);
    let mut folders = vec![root.join("examples")];
    let mut found = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "yaml") {
                found += check(&path.display().to_string(), &read(&path));
            }
        }
    }
    assert!(found >= 1);
}

/// The texts in backquotes in the first column of the tables of a document.
pub(crate) fn first_column(text: &str) -> BTreeSet<&str> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.split('|').next());
    rows.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

/// Every test and fault that the page on coherence names is there, and its numbers are the code's.
#[test]
fn what_the_page_on_coherence_says_is_shown() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = read(&root.join("docs/concepts/coherence.md"));
    let mut sources = String::new();
    let mut folders = ["sidecar", "debezium/src", "operator/src", "connect/tests", "e2e", "fuzz/tests"]
        .map(|folder| root.join(folder))
        .to_vec();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                sources += &read(&path);
            }
        }
    }
    let table = page.split("\n## ").find(|section| section.starts_with("When something breaks")).unwrap();
    let last_cells = table.lines().filter_map(|line| line.strip_suffix(" |")?.rsplit('|').next());
    let named: BTreeSet<_> = last_cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(named.len() > 50, "{named:?}");
    for name in named {
        let test = format!("fn {name}(");
        let fault = format!("\"{name}\", ");
        assert!(sources.contains(&test) || sources.contains(&fault), "nothing is called {name}");
    }
    let (bytes, slots) = (freshet_sidecar::coherence::SLOT_BYTES, freshet_sidecar::coherence::SLOTS);
    let seconds = |duration: std::time::Duration| duration.as_secs();
    for says in [
        format!("65 536 slots of {bytes} bytes ({} MiB)", (slots * bytes) >> 20),
        format!("noticed within {} s", seconds(freshet_sidecar::freshness::CONTINUITY_PERIOD)),
        format!("| loading | {} s |", seconds(freshet_sidecar::loaders::LOADING_TIME)),
    ] {
        assert!(page.contains(&says), "it doesn't say: {says}");
    }
}

/// The reference has a row for every problem that the API can answer, and for no other.
#[test]
fn every_problem_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let reference = read(&root.join("../docs/reference/http-api.md"));
    let section = reference.split("\n## ").find(|section| section.starts_with("Problems")).unwrap();
    let documented = first_column(section);
    let mut found = BTreeSet::new();
    let mut sources = vec![read(&root.join("src/api.rs"))];
    let mut folders = vec![root.join("src/api")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { folders.push(path) } else { sources.push(read(&path)) }
        }
    }
    for source in &sources {
        let calls = ["Problem::new(", "Problem::bad_request(", "Self::new(", "Self::bad_request("]
            .map(|call| source.split(call).skip(1));
        // The slug is the first text of a call, unless the call passes on what it is given.
        let texts = calls.into_iter().flatten().filter_map(|call| call.split(';').next()?.split('"').nth(1));
        found.extend(texts.filter(|text| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
        // Those of keys are chosen by a match, with their titles.
        let keys = source.match_indices("(\"key-").map(|(at, _)| &source[at + 2..]);
        found.extend(keys.map(|rest| rest.split('"').next().unwrap()));
        let root = "https://freshet.dev/problems/";
        assert!(
            source.matches(root).count() <= usize::from(source.contains("const TYPES")),
            "one piece makes them"
        );
    }
    assert_eq!(found, documented);
}

/// The reference has a row for every metric that a sidecar writes, and for no other.
#[test]
fn every_metric_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let reference = read(&root.join("../docs/reference/metrics.md"));
    let section = reference.split("\n## ").find(|section| section.starts_with("The sidecar")).unwrap();
    let mut shop = crate::shop::Shop::open();
    // Every family has a line once something was read and something was lost.
    shop.fill("/v1/products/7", "x");
    let epoch = shop.epoch();
    shop.redis.command::<String>(&["FLUSHALL"]).unwrap();
    shop.until_fresh_after(epoch);
    let metrics = shop.sidecar.metrics().unwrap();
    let families = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names: BTreeSet<_> = families
        .map(|family| {
            let (name, kind) = family.split_once(' ').unwrap();
            format!("{name}{}", if kind == "counter" { "_total" } else { "" })
        })
        .collect();
    let documented: BTreeSet<_> = first_column(section).into_iter().map(str::to_owned).collect();
    assert_eq!(names, documented);
}
