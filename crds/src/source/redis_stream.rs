//! The wire types of a `redisStream`.

#![expect(unreachable_pub, reason = "the schema derive repeats each type in a private module")]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{CaFrom, ClientCertificateFrom, UrlFrom};

/// The Redis Streams that Debezium Server writes, in any of its message formats.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.url) != has(self.urlFrom)")
        .message(crate::refusals::ONE_URL),
    validation = Rule::new("has(self.topicPrefix) != has(self.stream)")
        .message(crate::refusals::ONE_LAYOUT),
    validation = Rule::new("!has(self.url) || !self.url.contains('+cluster:') || has(self.stream)")
        .message(crate::redis_url::CLUSTER_NEEDS_STREAM),
    validation = Rule::new("!has(self.url) || self.url.startsWith('rediss') || !(has(self.caFrom) || has(self.clientCertificateFrom))")
        .message(crate::redis_url::CERTIFICATES_NEED_TLS)
)]
pub struct RedisStream {
    /// `redis://host[:port][/database]`; `redis+sentinel://host[:port],…/service[/database]`: the master that Sentinels
    /// name; `redis+cluster://host[:port],…`: the Cluster's node that has the stream. `rediss` instead of `redis` means
    /// TLS. Without credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(
        validation = Rule::new("!self.contains('@') && !self.contains('?')")
            .message(crate::refusals::URL_CARRIES),
        validation = Rule::new(crate::redis_url::url_rule("self")).message(crate::redis_url::URL_FORM)
    )]
    pub url: Option<String>,
    /// Where to read the URL from when it carries credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_from: Option<UrlFrom>,
    /// Where the certificates are (PEM) of the authorities that Redis's certificate must come from. Default: those that
    /// browsers trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_from: Option<CaFrom>,
    /// Where the certificate is with which sidecars and operator authenticate themselves to Redis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_from: Option<ClientCertificateFrom>,
    /// Debezium's `topic.prefix`: there is one stream per table, named `<topicPrefix>.<table>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249))]
    #[x_kube(
        validation = Rule::new("self.matches('^[A-Za-z0-9._-]+$')")
            .message(crate::refusals::TOPIC_PREFIX_FORM)
    )]
    pub topic_prefix: Option<String>,
    /// The one stream that all events are routed into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub stream: Option<String>,
    /// The operator removes entries that are older. Default: nothing is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new(crate::quantity::duration_rule(crate::binding::LEAST_RETENTION))
            .message(crate::binding::RETENTION_FORM)
    )]
    pub retention: Option<String>,
}
