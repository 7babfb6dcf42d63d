//! The wire type of a `file`, which no cluster knows.

use serde::{Deserialize, Serialize};

/// A file of recorded entries, for a sidecar that is given its binding by hand: to try a binding without any server.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// Its path, seen from where the sidecar runs; `-` is standard input.
    pub path: String,
    /// Debezium's `topic.prefix`: the entries are of one stream per table, named `<topicPrefix>.<table>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_prefix: Option<String>,
    /// The one stream that all entries are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
}
