//! Makes the connection that a source's streams are read on.

use std::{path::Path, time::Duration};

use freshet_crds::binding::{SourceSpec, UrlSpec};
use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};

/// How long a connection may take to be made, credentials included.
const CONNECT: Duration = Duration::from_secs(3);

/// Why there is no connection. No text of it carries a credential.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("the URL in Secret `{secret}`, key `{key}`, can't be read: {why}")]
    Secret { secret: String, key: String, why: String },
    #[error("the URL isn't one: redis://[user:password@]host[:port][/database] is expected")]
    Url,
    #[error("no connection in time")]
    Silence,
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
}

/// Connects to a source's Redis. `secrets` is the folder of mounted Secrets; it is read each time, since they change.
pub(super) async fn connect(
    spec: &SourceSpec,
    secrets: Option<&Path>,
) -> Result<MultiplexedConnection, ConnectError> {
    let url = url(spec, secrets)?;
    if !url.starts_with("redis://") {
        return Err(ConnectError::Url);
    }
    let client = redis::Client::open(url).map_err(|_| ConnectError::Url)?;
    // Timeouts are ours: the library's would cut a blocking read.
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(None);
    let connect = client.get_multiplexed_async_connection_with_config(&config);
    Ok(tokio::time::timeout(CONNECT, connect).await.map_err(|_| ConnectError::Silence)??)
}

fn url(spec: &SourceSpec, secrets: Option<&Path>) -> Result<String, ConnectError> {
    match &spec.url {
        UrlSpec::Plain(url) => Ok(url.clone()),
        UrlSpec::Secret(secret) => {
            let fault = |why: String| ConnectError::Secret {
                secret: secret.name.clone(),
                key: secret.key.clone(),
                why,
            };
            let folder = secrets.ok_or_else(|| fault("no --secrets folder was given".into()))?;
            let path = folder.join(&secret.name).join(&secret.key);
            Ok(std::fs::read_to_string(path).map_err(|e| fault(e.kind().to_string()))?.trim().to_owned())
        }
    }
}
