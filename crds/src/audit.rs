//! The wire types of `spec.audit`: how sidecars measure whether what they serve is right.

#![expect(unreachable_pub, reason = "the schema derive repeats each type in a private module")]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// How sidecars measure whether what they serve is right: some of the keys that change or are filled are looked at
/// again after a delay, and what is served for them is compared with what it should be.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// How many of the changes and fills are looked at, in percent.
    #[serde(default = "default_sample")]
    #[schemars(length(max = 8))]
    #[x_kube(
        validation = Rule::new(crate::quantity::share_rule("self")).message(crate::binding::SAMPLE_FORM)
    )]
    pub sample: String,
    /// How long after a change or fill its key is looked at, and after a difference again.
    #[serde(default = "default_delay")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new(crate::quantity::duration_rule(crate::quantity::MOMENT))
            .message("delay is a duration such as 5s, more than zero and at most 366d")
    )]
    pub delay: String,
    /// Who knows what the application would fill. Without it only hydrated values are compared, with the images in the
    /// stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
}

/// The application's own endpoint, which answers what it would fill.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// `http://127.0.0.1[:port][/path]` or `http://[::1]…`, asked as `GET <url>?cache=…&key=…`.
    #[schemars(length(max = 1024))]
    #[x_kube(
        validation = Rule::new(crate::check_url::url_rule("self")).message(crate::check_url::URL_FORM)
    )]
    pub url: String,
}

fn default_sample() -> String {
    "1%".into()
}

fn default_delay() -> String {
    "5s".into()
}
