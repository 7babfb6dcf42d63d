//! The wire types of a `postgresNotify`.

#![expect(unreachable_pub, reason = "the schema derive repeats each type in a private module")]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{Tls, UrlFrom};

/// A channel of PostgreSQL's `NOTIFY`, into which triggers tell which rows have changed (`freshet-operator triggers` prints
/// them), and applications what they publish. Each sidecar listens on a connection of its own, to the primary, with no
/// pooler between that shares connections.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.url) != has(self.urlFrom)")
        .message(crate::refusals::ONE_POSTGRES_URL)
)]
pub struct PostgresNotify {
    /// `postgres://host[:port]/database`, without credentials: the user is `freshet`, and has no password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(
        validation = Rule::new("!self.contains('@')").message(crate::refusals::URL_CARRIES),
        validation = Rule::new(crate::postgres_url::url_rule("self")).message(crate::postgres_url::URL_FORM)
    )]
    pub url: Option<String>,
    /// Where to read the URL from when it carries credentials: `user:password@` before the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_from: Option<UrlFrom>,
    /// With it, even empty, connections are encrypted, and the server's certificate is verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// The channel. It is taken as it is written, upper-case letters and blanks included: `LISTEN "channel"`.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(
        validation = Rule::new(r"bytes(self).size() <= 63 && !self.matches('[\\x00-\\x1f\\x7f]')")
            .message(crate::refusals::NOTIFY_CHANNEL_FORM)
    )]
    pub channel: String,
}
