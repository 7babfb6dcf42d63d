//! The sink of Kafka: a producer in Java, with settings of its own.

use freshet_crds::{SaslMechanism, binding::KafkaSpec, topics};

use crate::{Database, Part, Pipeline, Routing, settings::List};

const STRINGS: &str = "org.apache.kafka.common.serialization.StringSerializer";
/// What may stand in the place of a broker's certificate or our own: a mounted file.
const KAFKA_CA: &str = "${KAFKA_CA}";
const KAFKA_KEYSTORE: &str = "${KAFKA_KEYSTORE}";

/// The Kafka that is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaServer {
    /// Brokers that are asked for all others, each `host:port`, with commas between.
    pub brokers: String,
    /// The certificates, where connections are encrypted.
    pub tls: Option<KafkaTls>,
    /// How Debezium's user shows who it is.
    pub sasl: Option<SaslMechanism>,
}

/// Which certificates are files of Debezium Server's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KafkaTls {
    /// Those of the authorities that the brokers' come from; else the ones that Java knows.
    pub authorities: bool,
    /// Its own.
    pub client: bool,
}

// === impl KafkaServer ===

impl KafkaServer {
    /// One in the clear that lets everybody in.
    #[must_use]
    pub fn at(brokers: &str) -> Self {
        Self { brokers: brokers.to_owned(), tls: None, sasl: None }
    }

    /// The one that a binding's source is read from.
    #[must_use]
    pub fn of(kafka: &KafkaSpec) -> Self {
        Self {
            brokers: kafka.brokers.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            tls: kafka.tls.as_ref().map(|tls| KafkaTls {
                authorities: tls.ca.is_some(),
                client: tls.client_certificate.is_some(),
            }),
            sasl: kafka.sasl.as_ref().map(|sasl| sasl.mechanism),
        }
    }

    /// What Kafka calls a listener of this kind.
    pub(crate) fn protocol(&self) -> &'static str {
        match (&self.tls, self.sasl) {
            (None, None) => "PLAINTEXT",
            (Some(_), None) => "SSL",
            (None, Some(_)) => "SASL_PLAINTEXT",
            (Some(_), Some(_)) => "SASL_SSL",
        }
    }

    pub(super) fn places(&self, list: &mut List) {
        let mut add = |name, value: &str, protects| list.add(Part::Sink, name, value, protects);
        add(
            "debezium.sink.kafka.producer.bootstrap.servers",
            &self.brokers,
            "The Kafka that the binding's source names.",
        );
        add(
            "debezium.sink.kafka.producer.security.protocol",
            self.protocol(),
            "As the binding's tls and sasl say.",
        );
        if let Some(tls) = self.tls {
            let pem = "PEM files: of the authorities, and of Debezium's own key (PKCS #8) with its certificates behind it.";
            if tls.authorities {
                add("debezium.sink.kafka.producer.ssl.truststore.type", "PEM", pem);
                add("debezium.sink.kafka.producer.ssl.truststore.location", KAFKA_CA, pem);
            }
            if tls.client {
                add("debezium.sink.kafka.producer.ssl.keystore.type", "PEM", pem);
                add("debezium.sink.kafka.producer.ssl.keystore.location", KAFKA_KEYSTORE, pem);
            }
        }
        if let Some(mechanism) = self.sasl {
            let (mechanism, module) = match mechanism {
                SaslMechanism::Plain => ("PLAIN", "plain.PlainLoginModule"),
                SaslMechanism::ScramSha256 => ("SCRAM-SHA-256", "scram.ScramLoginModule"),
                SaslMechanism::ScramSha512 => ("SCRAM-SHA-512", "scram.ScramLoginModule"),
            };
            let user =
                "A user of Debezium's own, who may write: from the environment, no file holds the password.";
            add("debezium.sink.kafka.producer.sasl.mechanism", mechanism, user);
            add(
                "debezium.sink.kafka.producer.sasl.jaas.config",
                &format!(
                    "org.apache.kafka.common.security.{module} required username=\"${{KAFKA_USER}}\" \
                     password=\"${{KAFKA_PASSWORD}}\";"
                ),
                user,
            );
        }
    }
}

// === impl Pipeline ===

impl Pipeline {
    pub(super) fn kafka(list: &mut List) {
        let mut add = |name, value, protects| list.add(Part::Sink, name, value, protects);
        add("debezium.sink.type", "kafka", "Changes become records of Kafka's topics.");
        let strings = "Keys and values as the text that they are: the sink doesn't start without.";
        add("debezium.sink.kafka.producer.key.serializer", STRINGS, strings);
        add("debezium.sink.kafka.producer.value.serializer", STRINGS, strings);
        add(
            "debezium.sink.kafka.producer.acks",
            "all",
            "Written is what min.insync.replicas brokers have: less may be lost with a broker after it was taken for written.",
        );
        add(
            "debezium.sink.kafka.producer.enable.idempotence",
            "true",
            "What is sent again is written once, and where it belongs: without, a newer change may come before an older one.",
        );
    }

    /// What makes the topics, for whoever may; none is left to be made by the first who writes to it.
    pub(super) fn topics_made(&self) -> Vec<String> {
        let made = |topic: String| {
            format!(
                "kafka-topics.sh --create --topic {topic} --partitions 1 --replication-factor 3 --config \
                 min.insync.replicas=2 --config cleanup.policy=delete --config retention.ms=86400000"
            )
        };
        self.written().into_iter().map(made).collect()
    }

    /// The topics that are written to.
    fn written(&self) -> Vec<String> {
        if let Routing::OneStream(topic) = &self.routing {
            return vec![topic.clone()];
        }
        let tables = self.tables().unwrap_or_default();
        let mut topics: Vec<_> = tables.iter().map(|table| topics::of_table(&self.prefix, table)).collect();
        topics.push(topics::of_transactions(&self.prefix));
        topics.push(topics::of_debezium_heartbeats(&self.prefix));
        topics.push(match self.database {
            Database::Postgres => topics::of_messages(&self.prefix),
            Database::MariaDb => topics::of_schema_changes(&self.prefix),
        });
        if self.tells_snapshots() {
            topics.push(topics::of_notifications(&self.prefix));
        }
        topics
    }
}
