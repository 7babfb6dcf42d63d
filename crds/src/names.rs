//! The names that operator, sidecar and users agree on.

/// Pod annotation that asks for injection: a binding's name, `true`, or `false`.
pub const INJECT: &str = "freshet.dev/inject";
/// Pod label the injector sets: the binding's name. Reserved.
pub const BINDING: &str = "freshet.dev/binding";
/// Pod annotation the injector sets: version and hash of what was injected. Reserved.
pub const INJECTED: &str = "freshet.dev/injected";
/// Annotation on a rendered manifest: the version of the operator that rendered it.
/// Its presence makes a sidecar read the manifest tolerantly.
pub const RENDERED_BY: &str = "freshet.dev/rendered-by";
/// Prefix of every annotation and label that is ours.
pub const PREFIX: &str = "freshet.dev/";
/// Prefix of the rendered ConfigMap's name; the binding's name follows.
pub const CONFIG_MAP_PREFIX: &str = "freshet-";
/// The key of the manifest in the rendered ConfigMap, and so its file name in the pod.
pub const MANIFEST_FILE: &str = "binding.yaml";
/// Longest name of a binding in characters: `freshet-<name>`, the name of what is made for it, stays within the 63 of
/// a DNS label. The name itself is the value of the label [`BINDING`].
pub const MAX_BINDING_NAME: usize = 52;
/// The key of the certificate chain in a Secret of type `kubernetes.io/tls`.
pub const TLS_CERTIFICATE: &str = "tls.crt";
/// The key of the private key in such a Secret.
pub const TLS_KEY: &str = "tls.key";
/// The key of the user in a Secret of type `kubernetes.io/basic-auth`.
pub const USERNAME: &str = "username";
/// The key of the password in such a Secret.
pub const PASSWORD: &str = "password";
/// The regular expression of a Secret's or ConfigMap's name in the CRD's rules.
pub(crate) const SECRET_NAME: &str = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$";
/// The same in words.
pub(crate) const SECRET_NAME_FORM: &str = "a Secret's name has lower-case letters, digits, dashes and dots, and begins and ends with none of the last two";
/// What a Secret's key is made of, in words.
pub(crate) const SECRET_KEY_FORM: &str =
    "a Secret's key has letters, digits, dashes, underscores and dots, and begins with no dot";
/// What a ConfigMap's name is made of, in words.
pub(crate) const CONFIG_MAP_NAME_FORM: &str = "a ConfigMap's name has lower-case letters, digits, dashes and dots, and begins and ends with none of the last two";
/// What a ConfigMap's key is made of, in words.
pub(crate) const CONFIG_MAP_KEY_FORM: &str =
    "a ConfigMap's key has letters, digits, dashes, underscores and dots, and begins with no dot";
/// Where certificates of authorities come from, in words.
pub(crate) const ONE_CA: &str = "caFrom has exactly one of secretKeyRef and configMapKeyRef";
