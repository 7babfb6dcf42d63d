//! `openapi.json` describes what the sidecar answers: all of it, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{LazyLock, Mutex},
};

use freshet_e2e::process::http::{self, Response};
use serde_json::Value;

mod drive;
mod reference;

/// The problem types' root.
const TYPES: &str = "https://freshet.dev/problems/";

/// An answer as it is told apart: path template, method, status and the problem's type, if it is one.
type Kind = (String, String, u16, Option<String>);

static DOCUMENT: LazyLock<Document> =
    LazyLock::new(|| Document(serde_json::from_str(include_str!("../../openapi.json")).unwrap()));

/// What was answered in this process.
static SEEN: Mutex<BTreeSet<Kind>> = Mutex::new(BTreeSet::new());

struct Document(Value);

/// Holds every answer that any test of this process gets against the document.
pub(crate) fn watch() {
    http::observe(|method, path, answer| {
        // The admin listener's.
        let elsewhere = !path.starts_with("/v1/") && !path.starts_with("/openapi.json");
        if elsewhere
            || (answer.status == 404
                && answer.header("content-type").is_some_and(|given| given.starts_with("text/plain")))
        {
            return;
        }
        DOCUMENT.check(method, path, answer);
    });
}

impl Document {
    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => {
                let pointer = reference.strip_prefix('#').unwrap();
                self.0.pointer(pointer).unwrap_or_else(|| panic!("nothing is at {reference}"))
            }
            None => value,
        }
    }

    fn paths(&self) -> &serde_json::Map<String, Value> {
        self.0["paths"].as_object().unwrap()
    }

    /// The operations: path template, method and what it says of it.
    fn operations(&self) -> impl Iterator<Item = (&str, &str, &Value)> {
        self.paths().iter().flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            let methods =
                methods.filter(|(name, _)| ["get", "head", "put", "post", "delete"].contains(&name.as_str()));
            methods.map(|(method, operation)| (path.as_str(), method.as_str(), operation))
        })
    }

    /// The template of a path: one without parameters before one with them.
    fn template(&self, path: &str) -> Option<&str> {
        let path = path.split(['?', '#']).next().unwrap();
        let fits = |template: &&String| {
            let mut segments = path.split('/');
            let fits = template.split('/').all(|part| match (part, segments.next()) {
                ("{cache}", Some(segment)) => !segment.starts_with('_'),
                // A key has as many segments as columns.
                ("{key}" | "{tag}" | "{view}", Some(_)) => {
                    segments.by_ref().count();
                    true
                }
                (part, Some(segment)) => part == segment,
                (_, None) => false,
            });
            fits && segments.next().is_none()
        };
        let mut fitting: Vec<_> = self.paths().keys().filter(fits).collect();
        fitting.sort_by_key(|template| template.matches('{').count());
        fitting.first().map(|template| template.as_str())
    }

    /// What it says of an answer to this request.
    fn response(&self, method: &str, path: &str, status: u16) -> Option<&Value> {
        let Some(template) = self.template(path) else { return Some(self.resolve(&self.0["x-other-paths"])) };
        let item = &self.paths()[template];
        let response = match item.get(method.to_ascii_lowercase()) {
            Some(operation) => {
                let responses = &operation["responses"];
                responses.get(status.to_string()).or(responses.get("default"))
            }
            None => Some(&item["x-other-methods"]),
        };
        response.map(|response| self.resolve(response))
    }

    /// Everything that it says can be answered.
    fn kinds(&self) -> BTreeSet<Kind> {
        let mut kinds = BTreeSet::new();
        for (path, method, operation) in self.operations() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                // Whatever an upstream answers.
                let Ok(status) = status.parse::<u16>() else { continue };
                let response = self.resolve(response);
                let problems = problems(response);
                let other =
                    problems.is_empty() || status == 404 && path.ends_with("{key}") && method == "get";
                let slugs =
                    problems.into_iter().map(|slug| Some(slug.to_owned())).chain(other.then_some(None));
                kinds.extend(slugs.map(|slug| (path.to_owned(), method.to_owned(), status, slug)));
            }
        }
        kinds
    }

    /// Whether an answer is one that it describes, its headers and its body included.
    fn check(&self, method: &str, path: &str, answer: &Response) {
        let place = format!("{method} {path}: {answer:?}");
        let Some(response) = self.response(method, path, answer.status) else {
            panic!("this status isn't described: {place}")
        };
        let content_type = answer.header("content-type").unwrap_or_default();
        let problem = content_type == "application/problem+json";
        let slug = (problem && method != "HEAD").then(|| {
            let slug =
                answer.json().unwrap()["type"].as_str().unwrap().strip_prefix(TYPES).unwrap().to_owned();
            assert!(problems(response).contains(slug.as_str()), "`{slug}` isn't described: {place}");
            slug
        });
        self.check_headers(response, answer, &place);
        if method != "HEAD" && !answer.body.is_empty() {
            let content =
                response["content"].as_object().unwrap_or_else(|| panic!("no content is described: {place}"));
            let media = content.get(content_type).or(content.get("*/*"));
            let media = media.unwrap_or_else(|| panic!("this type isn't described: {place}"));
            if let (Some(schema), true) = (media.get("schema"), content_type.ends_with("json")) {
                self.check_value(schema, &answer.json().unwrap(), &place);
            }
        }
        if let Some(template) = self.template(path)
            && self.paths()[template].get(method.to_ascii_lowercase()).is_some()
        {
            let kind = (template.to_owned(), method.to_ascii_lowercase(), answer.status, slug);
            SEEN.lock().unwrap().insert(kind);
        }
    }

    fn check_headers(&self, response: &Value, answer: &Response, place: &str) {
        let described: BTreeMap<String, &Value> = response["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, header)| (name.to_ascii_lowercase(), self.resolve(header)))
            .collect();
        let framing = ["content-type", "content-length", "transfer-encoding", "connection"];
        for (name, value) in answer.headers.iter().filter(|(name, _)| !framing.contains(&name.as_str())) {
            let header = described.get(name).unwrap_or_else(|| panic!("`{name}` isn't described: {place}"));
            let number = header["schema"]["type"] == "integer";
            let value =
                if number { value.parse::<u64>().unwrap().into() } else { Value::from(value.as_str()) };
            self.check_value(&header["schema"], &value, place);
        }
    }

    fn check_value(&self, schema: &Value, value: &Value, place: &str) {
        // A schema of its own, with the components that it refers to.
        let mut schema = schema.clone();
        schema["components"] = self.0["components"].clone();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let errors: Vec<_> =
            validator.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:?}: {place}");
    }
}

/// The problem types of a response.
fn problems(response: &Value) -> BTreeSet<&str> {
    let schema = &response["content"]["application/problem+json"]["schema"];
    let types = schema["allOf"][1]["properties"]["type"]["enum"].as_array();
    types.into_iter().flatten().map(|slug| slug.as_str().unwrap().strip_prefix(TYPES).unwrap()).collect()
}
