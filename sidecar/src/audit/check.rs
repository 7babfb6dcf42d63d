//! Asking the application what it would fill.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use freshet_crds::check_url::CheckUrl;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, StatusCode, body::Incoming, header};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Content;
use crate::{entry::Digest, key::Key};

/// How long an answer may take, its body included.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// What stands for itself in a query.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Asks the application. It follows no redirects, and sends nothing but the cache's name and the key.
#[derive(Clone, Debug)]
pub struct Checker {
    client: Client<HttpConnector, Empty<Bytes>>,
}

/// Why there is no answer. No text of it carries what was answered.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The request can't be made, or the connection failed.
    #[error("the request failed: {0}")]
    Failed(String),
    /// It took too long.
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Late,
    /// It answered that it doesn't know the path, perhaps.
    #[error(
        "404 without `Freshet-Absent: ?1`: with it, it says that there is no such row; without, that the path is wrong"
    )]
    NoSuchPath,
    /// It answered something else than a value.
    #[error(
        "status {0}: a value is answered with 200, and that there is no such row with 404 and `Freshet-Absent: ?1`"
    )]
    Status(StatusCode),
    /// It answered a value in another form than it would fill.
    #[error("a Content-Encoding: values are compared as they are filled")]
    Encoded,
    /// It answered more than can be cached.
    #[error("more than maxValue")]
    TooLarge,
}

impl Default for Checker {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector);
        Self { client }
    }
}

impl Checker {
    /// What the application would fill now. `most`: the largest value in bytes.
    pub async fn ask(
        &self,
        url: &CheckUrl,
        cache: &str,
        key: &Key,
        most: u64,
    ) -> Result<Content, CheckError> {
        let uri = format!("{url}?cache={cache}&key={}", utf8_percent_encode(key.as_str(), QUERY));
        let request = Request::get(uri)
            .header(header::USER_AGENT, concat!("freshet-sidecar/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT_ENCODING, "identity")
            .body(Empty::new())
            .map_err(|error| failed(&error))?;
        let answered = async {
            let answer = self.client.request(request).await.map_err(|error| failed(&error))?;
            let absent = answer.headers().get("freshet-absent").is_some_and(|absent| absent == "?1");
            match answer.status() {
                StatusCode::OK if answer.headers().contains_key(header::CONTENT_ENCODING) => {
                    Err(CheckError::Encoded)
                }
                StatusCode::OK => digest_of(answer.into_body(), most).await,
                StatusCode::NOT_FOUND if absent => Ok(Content::Absent),
                StatusCode::NOT_FOUND => Err(CheckError::NoSuchPath),
                other => Err(CheckError::Status(other)),
            }
        };
        tokio::time::timeout(DEADLINE, answered).await.unwrap_or(Err(CheckError::Late))
    }
}

/// With its causes: the library's own text says only that it failed.
fn failed(error: &(dyn Error + 'static)) -> CheckError {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    CheckError::Failed(causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
}

/// The digest of a body, of which no more than a piece is held at once.
async fn digest_of(mut body: Incoming, most: u64) -> Result<Content, CheckError> {
    let (mut digest, mut length) = (Digest::default(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failed(&error))?;
        let Some(piece) = frame.data_ref() else { continue };
        length += piece.len() as u64;
        if length > most {
            return Err(CheckError::TooLarge);
        }
        digest.update(piece);
    }
    Ok(Content::Value(digest.finish()))
}
