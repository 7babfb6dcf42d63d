//! The document itself, and the page that people read.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use super::DOCUMENT;
use crate::{documents::first_column, shop::Shop};

/// By the schema that the OpenAPI Initiative publishes (`https://spec.openapis.org/oas/3.1/schema/2022-10-07`,
/// Apache-2.0).
#[test]
fn the_document_is_openapi() {
    let schema = serde_json::from_str(include_str!("../openapi-3.1.schema.json")).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let errors: Vec<_> =
        validator.iter_errors(&DOCUMENT.0).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    assert!(!validator.is_valid(&serde_json::json!({"openapi": "3.1.0"})), "it refuses what isn't");
    // What a schema of the document's form can't say: what it refers to is there, and is a schema where it has to be.
    let mut values = vec![&DOCUMENT.0];
    while let Some(value) = values.pop() {
        if value.get("$ref").is_some() {
            DOCUMENT.resolve(value);
        }
        match value {
            Value::Array(items) => values.extend(items),
            Value::Object(members) => values.extend(members.values()),
            _ => {}
        }
    }
    for (name, schema) in DOCUMENT.0["components"]["schemas"].as_object().unwrap() {
        assert!(jsonschema::draft202012::meta::is_valid(schema), "{name}");
    }
    let ids: Vec<_> =
        DOCUMENT.operations().map(|(_, _, operation)| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    for (path, item) in DOCUMENT.paths() {
        let parameters = item["parameters"].as_array().into_iter().flatten().map(|p| DOCUMENT.resolve(p));
        let declared: BTreeSet<_> = parameters.map(|p| p["name"].as_str().unwrap()).collect();
        let named: BTreeSet<_> = path.split(['{', '}']).skip(1).step_by(2).collect();
        assert_eq!(declared, named, "{path}");
    }
}

#[test]
fn the_document_is_served() {
    let shop = Shop::open();
    let answer = shop.sidecar.get("/openapi.json").unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.json().unwrap(), DOCUMENT.0);
}

/// What stands in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn the_reference_names_what_the_document_describes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("../docs/reference/http-api.md")).unwrap();
    let intro = page.split("\n## ").next().unwrap();
    let mut routes = BTreeSet::new();
    for cell in intro.lines().filter_map(|line| line.strip_prefix("| `")?.split('|').next()) {
        // `GET`, `HEAD /v1/{cache}/{key}`
        let cell = cell.replace('`', "");
        let (methods, path) = cell.trim().rsplit_once(' ').unwrap();
        routes.extend(methods.split(", ").map(|method| (path.to_owned(), method.to_ascii_lowercase())));
    }
    let operations = DOCUMENT.operations();
    let described: BTreeSet<_> =
        operations.map(|(path, method, _)| (path.to_owned(), method.to_owned())).collect();
    assert_eq!(routes, described);

    let components = &DOCUMENT.0["components"];
    let parameters = components["parameters"].as_object().unwrap().values().filter(|p| p["in"] == "header");
    let sent = parameters.map(|parameter| parameter["name"].as_str().unwrap());
    let answered = components["headers"].as_object().unwrap().keys().map(String::as_str);
    let headers: BTreeSet<_> = sent.chain(answered).collect();
    let fences = page.split("```").skip(1).step_by(2);
    let prose: String = page.split("```").step_by(2).collect();
    let named: BTreeSet<_> = quoted(&prose)
        .chain(fences.flat_map(str::lines))
        .filter_map(|text| text.split([':', ' ', ';']).next())
        .collect();
    let missing: Vec<_> = headers.iter().filter(|header| !named.contains(*header)).collect();
    assert!(missing.is_empty(), "the page doesn't name {missing:?}");
    let own = named.iter().filter(|name| name.starts_with("Freshet-"));
    let unknown: Vec<_> = own.filter(|name| !headers.contains(*name)).collect();
    assert!(unknown.is_empty(), "the document doesn't describe {unknown:?}");

    let section = page.split("\n## ").find(|section| section.starts_with("Problems")).unwrap();
    let mut problems = BTreeSet::new();
    let mut values = vec![&DOCUMENT.0];
    while let Some(value) = values.pop() {
        problems.extend(super::problems(value));
        match value {
            Value::Array(items) => values.extend(items),
            Value::Object(members) => values.extend(members.values()),
            _ => {}
        }
    }
    assert_eq!(problems, first_column(section));
}
