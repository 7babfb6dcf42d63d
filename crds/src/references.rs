//! The wire types of what a binding refers to: keys of Secrets and ConfigMaps in its namespace.

#![expect(unreachable_pub, reason = "the schema derive repeats each type in a private module")]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Where a URL that carries credentials is read from.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct UrlFrom {
    /// A key of a Secret in the binding's namespace.
    pub secret_key_ref: SecretKeyRef,
}

/// Where authorities' certificates are read from, exactly one of them.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.secretKeyRef) != has(self.configMapKeyRef)")
        .message(crate::names::ONE_CA)
)]
pub struct CaFrom {
    /// A key of a Secret in the binding's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeyRef>,
    /// A key of a ConfigMap in the binding's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<ConfigMapKeyRef>,
}

/// Where a client's certificate is read from.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificateFrom {
    /// A Secret of type `kubernetes.io/tls` in the binding's namespace.
    pub secret_ref: TlsSecretRef,
}

/// The certificates on both sides of an encrypted connection.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Where the certificates are (PEM) of the authorities that the servers' must come from. Default: those that browsers
    /// trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_from: Option<CaFrom>,
    /// Where the certificate is with which sidecars and operator authenticate themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_from: Option<ClientCertificateFrom>,
}

/// A Secret of type `kubernetes.io/tls`: certificate chain in `tls.crt`, private key in `tls.key`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct TlsSecretRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new(format!("self.matches('{}')", crate::names::SECRET_NAME))
            .message(crate::names::SECRET_NAME_FORM)
    )]
    pub name: String,
}

/// A key of a ConfigMap in the binding's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigMapKeyRef {
    /// The ConfigMap's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new(format!("self.matches('{}')", crate::names::SECRET_NAME))
            .message(crate::names::CONFIG_MAP_NAME_FORM)
    )]
    pub name: String,
    /// The key in the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new("self.matches('^[A-Za-z0-9_-][A-Za-z0-9._-]*$')")
            .message(crate::names::CONFIG_MAP_KEY_FORM)
    )]
    pub key: String,
}

/// A key of a Secret in the binding's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretKeyRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new(format!("self.matches('{}')", crate::names::SECRET_NAME))
            .message(crate::names::SECRET_NAME_FORM)
    )]
    pub name: String,
    /// The key in the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new("self.matches('^[A-Za-z0-9_-][A-Za-z0-9._-]*$')")
            .message(crate::names::SECRET_KEY_FORM)
    )]
    pub key: String,
}

/// Where credentials are read from.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsFrom {
    /// A key of a Secret in the binding's namespace.
    pub secret_key_ref: SecretKeyRef,
}

/// A Secret of type `kubernetes.io/basic-auth`: user in `username`, password in `password`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct BasicAuthSecretRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new(format!("self.matches('{}')", crate::names::SECRET_NAME))
            .message(crate::names::SECRET_NAME_FORM)
    )]
    pub name: String,
}
