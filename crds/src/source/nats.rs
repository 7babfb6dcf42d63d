//! The wire type of a `nats`.

#![expect(unreachable_pub, reason = "the schema derive repeats each type in a private module")]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{CaFrom, ClientCertificateFrom, CredentialsFrom, UrlFrom};

/// A subject of NATS, without JetStream: what is sent while a sidecar isn't connected it never gets, so that every new
/// connection begins a new epoch.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.url) != has(self.urlFrom)")
        .message(crate::refusals::ONE_CORE_NATS_URL),
    validation = Rule::new("!has(self.url) || self.url.startsWith('tls') || !(has(self.caFrom) || has(self.clientCertificateFrom))")
        .message(crate::nats_url::CERTIFICATES_NEED_TLS)
)]
pub struct Nats {
    /// `nats://host[:port][,host[:port]…]`: servers of one cluster, any of which will do; `tls` instead of `nats` means TLS.
    /// Without credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(
        validation = Rule::new("!self.contains('@')").message(crate::refusals::URL_CARRIES),
        validation = Rule::new(crate::nats_url::url_rule("self")).message(crate::nats_url::URL_FORM)
    )]
    pub url: Option<String>,
    /// Where to read the URL from when it carries credentials: `user:password@` or `token@` before the first host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_from: Option<UrlFrom>,
    /// Where the certificates are (PEM) of the authorities that the servers' must come from. Default: those that browsers
    /// trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_from: Option<CaFrom>,
    /// Where the certificate is with which sidecars and operator authenticate themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_from: Option<ClientCertificateFrom>,
    /// Where the credentials are as `nsc` writes them (`.creds`): a user's JWT and seed. They don't go with credentials in
    /// the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_from: Option<CredentialsFrom>,
    /// What is subscribed to; `*` stands for one part of a subject and `>`, behind others, for the rest.
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(
        validation = Rule::new(crate::binding::subject_rule("self")).message(crate::refusals::SUBJECT_FORM)
    )]
    pub subject: String,
}
