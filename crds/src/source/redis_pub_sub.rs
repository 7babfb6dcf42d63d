//! The wire type of a `redisPubSub`.

#![expect(unreachable_pub, reason = "the schema derive repeats each type in a private module")]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{CaFrom, ClientCertificateFrom, UrlFrom};

/// A channel of Redis Pub/Sub: what is sent while a sidecar isn't connected it never gets, so that every new connection
/// begins a new epoch.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.url) != has(self.urlFrom)")
        .message(crate::refusals::ONE_PUB_SUB_URL),
    validation = Rule::new("!has(self.url) || !self.url.contains('+cluster:')")
        .message(crate::redis_url::CLUSTER_LOSES),
    validation = Rule::new("!has(self.url) || self.url.startsWith('rediss') || !(has(self.caFrom) || has(self.clientCertificateFrom))")
        .message(crate::redis_url::CERTIFICATES_NEED_TLS)
)]
pub struct RedisPubSub {
    /// `redis://host[:port]`; `redis+sentinel://host[:port],…/service`: the master that Sentinels name. `rediss` instead of
    /// `redis` means TLS. Without credentials.
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
    /// What is subscribed to.
    #[schemars(length(min = 1, max = 512))]
    pub channel: String,
}
