//! Errors as the application sees them: RFC 9457 problems with stable types.

use bytes::Bytes;
use hyper::{
    HeaderMap, StatusCode,
    header::{self, HeaderName, HeaderValue},
};
use serde_json::{Map, Value, json};

use super::reply::{Reply, empty};

/// The root of all problem types; each is a page of the documentation.
const TYPES: &str = "https://freshet.dev/problems/";

/// hyper's own limit.
const MAX_HEADERS: usize = 100;

/// What went wrong with a request.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    slug: &'static str,
    title: &'static str,
    detail: String,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        slug: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self { status, slug, title, detail: detail.into(), members: Map::new(), headers: Vec::new() }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Adds an extension member.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.into(), value.into());
        self
    }

    /// Adds a header.
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn bad_request(slug: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, slug, title, detail)
    }

    /// The path is nothing's.
    pub(crate) fn no_such_path(path: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no-such-path",
            "No such path",
            format!(
                "nothing is at `{}`; values are at /v1/<cache>/<key>",
                path.chars().take(128).collect::<String>()
            ),
        )
    }

    /// The path doesn't take the method.
    pub(crate) fn method(allow: &'static str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "Method not allowed",
            format!("this path takes {allow}"),
        )
        .with_header(header::ALLOW, HeaderValue::from_static(allow))
    }

    /// A raw `#` in the request's target, of which nothing after it has arrived.
    pub(crate) fn fragment() -> Self {
        Self::bad_request("fragment", "Fragments are not taken", "encode a `#` in a key as %23")
    }

    /// One connection more than there may be.
    pub(crate) fn too_many_connections(limit: usize) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too-many-connections",
            "Too many connections",
            format!("at most {limit} are open at once: close idle ones first"),
        )
    }

    /// A head that isn't HTTP, or is more of it than is read; `status` is what hyper says of it.
    pub(crate) fn of_head(status: StatusCode) -> Self {
        if status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE {
            return Self::new(
                status,
                "head-too-large",
                "The request's head is too large",
                format!("a head has at most {} bytes and {MAX_HEADERS} header fields", super::MAX_HEAD),
            );
        }
        Self::new(
            status,
            "request-syntax",
            "The request isn't HTTP/1.1",
            "its head can't be read: check the request line and that each header is `name: value`",
        )
    }

    /// The whole answer as bytes, for a connection that ends with it.
    pub(crate) fn last_words(self) -> Bytes {
        let (status, headers, body) = self.parts();
        let mut text =
            format!("HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or_default())
                .into_bytes();
        for (name, value) in &headers {
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(
            format!("connection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes(),
        );
        text.into()
    }

    pub(crate) fn response(self) -> Reply {
        let (status, headers, body) = self.parts();
        let mut response = empty(status);
        *response.body_mut() = Bytes::from(body).into();
        *response.headers_mut() = headers;
        response
    }

    /// The problem as JSON.
    pub(crate) fn to_json(&self) -> Value {
        let mut body = self.members.clone();
        body.insert("type".into(), json!(format!("{TYPES}{}", self.slug)));
        body.insert("title".into(), json!(self.title));
        body.insert("status".into(), json!(self.status.as_u16()));
        body.insert("detail".into(), json!(self.detail));
        Value::Object(body)
    }

    fn parts(self) -> (StatusCode, HeaderMap, String) {
        let body = self.to_json();
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.headers);
        (self.status, headers, body.to_string())
    }
}
