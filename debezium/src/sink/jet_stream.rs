//! The sink of NATS JetStream.

use freshet_crds::{
    binding::{NatsSpec, UrlSpec},
    nats_url::NatsLogin,
    topics,
};

use super::NO_FILE;
use crate::{Part, Pipeline, settings::List};

/// What stands in the URL's place where it is in a Secret.
const NATS_URL: &str = "${NATS_URL}";

/// The JetStream that is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JetStreamServer {
    /// The URL; of several servers each has the scheme before it.
    pub url: String,
    /// The stream's name.
    pub stream: String,
    /// Whether the user is one with a JWT and a seed.
    pub credentials: bool,
}

// === impl JetStreamServer ===

impl JetStreamServer {
    /// One that lets everybody in.
    #[must_use]
    pub fn at(url: &str, stream: &str) -> Self {
        Self { url: url.to_owned(), stream: stream.to_owned(), credentials: false }
    }

    /// The one that a binding's source is read from. Of a URL in a Secret nothing is known.
    #[must_use]
    pub fn of(nats: &NatsSpec, stream: &str) -> Self {
        let url = match &nats.url {
            UrlSpec::Plain(url) => {
                debug_assert!(matches!(url.login, NatsLogin::None));
                let scheme = if url.tls { "tls" } else { "nats" };
                url.servers.iter().map(|at| format!("{scheme}://{at}")).collect::<Vec<_>>().join(",")
            }
            UrlSpec::Secret(_) => NATS_URL.to_owned(),
        };
        Self { url, stream: stream.to_owned(), credentials: nats.credentials.is_some() }
    }

    pub(super) fn places(&self, list: &mut List) {
        let mut add = |name, value: &str, protects| list.add(Part::Sink, name, value, protects);
        add(
            "debezium.sink.nats-jetstream.url",
            &self.url,
            "The NATS that the binding's source names; a user of Debezium's own, who may publish, is user:password@ in it.",
        );
        if self.credentials {
            add("debezium.sink.nats-jetstream.auth.jwt", "${NATS_JWT}", NO_FILE);
            add("debezium.sink.nats-jetstream.auth.seed", "${NATS_SEED}", NO_FILE);
        }
    }

    pub(super) fn behaviour(&self, list: &mut List) {
        let mut add = |name, value: &str, protects| list.add(Part::Sink, name, value, protects);
        add("debezium.sink.type", "nats-jetstream", "Changes become messages of a stream of NATS JetStream.");
        add("debezium.sink.nats-jetstream.stream-name", &self.stream, "The stream that the binding follows.");
        add(
            "debezium.sink.nats-jetstream.create-stream",
            "false",
            "Who runs NATS makes it: the sink makes one in memory, of one server, without some of these subjects.",
        );
    }

    /// What makes the stream, for whoever may.
    pub(super) fn made(&self, prefix: &str) -> String {
        format!(
            "nats stream add {} --subjects '{}' --storage file --replicas 3 --retention limits --discard old --max-age 24h \
             --max-msgs-per-subject=-1 --defaults",
            self.stream,
            subjects(prefix).join(",")
        )
    }
}

/// The subjects that everything of Debezium's goes to: schema changes, all else, and its heartbeats.
pub(crate) fn subjects(prefix: &str) -> [String; 3] {
    [topics::of_schema_changes(prefix), format!("{prefix}.>"), topics::of_debezium_heartbeats(prefix)]
}

// === impl Pipeline ===

impl Pipeline {
    /// The subjects that the stream of a [`JetStreamServer`] has to have.
    #[must_use]
    pub fn subjects(&self) -> [String; 3] {
        subjects(&self.prefix)
    }
}
