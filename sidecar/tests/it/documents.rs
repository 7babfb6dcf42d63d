//! What the documents show is what the sidecar takes.

use std::{fs, path::Path};

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
fn every_binding_in_readme_and_examples_is_good() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let readme = read(&root.join("README.md"));
    let blocks = readme.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    assert!(blocks.map(|block| check("README.md", block)).sum::<usize>() >= 1);
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

/// The reference has a row for every problem that the API can answer.
#[test]
fn every_problem_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let reference = read(&root.join("../docs/reference/http-api.md"));
    let mut found = 0;
    for file in ["routes.rs", "directives.rs", "problem.rs"] {
        let source = read(&root.join("src/api").join(file));
        for call in source.split("Problem::bad_request(").skip(1).chain(source.split("Problem::new(").skip(1))
        {
            // The slug is the first text of the call.
            let Some(slug) =
                call.split('"').nth(1).filter(|s| s.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
            else {
                continue;
            };
            found += 1;
            assert!(
                reference.contains(&format!("`{slug}`")),
                "{file}: `{slug}` isn't in docs/reference/http-api.md"
            );
        }
    }
    assert!(found >= 10, "{found}");
}
