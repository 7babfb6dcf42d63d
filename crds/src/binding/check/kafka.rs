//! The rules about a `kafka`.

use super::{
    Faults,
    references::is_secret_name,
    source::{Said, is_topic},
};
use crate::{
    Kafka, Sasl,
    binding::{KafkaSpec, SaslSpec, StreamLayout},
    host_port::HostPort,
    names::SECRET_NAME_FORM,
    refusals,
};

/// The port of a broker unless told otherwise.
const BROKER_PORT: u16 = 9092;
/// The most brokers that are named.
const MAX_BROKERS: usize = 16;

impl Faults {
    pub(super) fn kafka(&mut self, path: &str, kafka: &Kafka) -> Option<(StreamLayout, KafkaSpec)> {
        let brokers = self.brokers(&format!("{path}.brokers"), &kafka.brokers);
        let tls = kafka.tls.as_ref().map(|tls| {
            let (ca, client) = (tls.ca_from.as_ref(), tls.client_certificate_from.as_ref());
            self.tls(&format!("{path}.tls"), ca, client)
        });
        let sasl = kafka.sasl.as_ref().map(|sasl| self.sasl(&format!("{path}.sasl"), sasl));
        if kafka.topic.as_ref().is_some_and(|topic| !is_topic(topic) || matches!(topic.as_str(), "." | ".."))
        {
            self.add(format!("{path}.topic"), refusals::TOPIC_FORM);
        }
        let said = Said {
            prefix: kafka.topic_prefix.as_ref(),
            one: kafka.topic.as_ref(),
            otherwise: refusals::ONE_KAFKA_LAYOUT,
        };
        let layout = self.layout(path, &said);
        // What is given and can't be read makes all of it unreadable.
        let tls = tls.map_or(Some(None), |tls| tls.map(Some))?;
        let sasl = sasl.map_or(Some(None), |sasl| sasl.map(Some))?;
        Some((layout?, KafkaSpec { brokers: brokers?, tls, sasl }))
    }

    fn brokers(&mut self, path: &str, texts: &[String]) -> Option<Vec<HostPort>> {
        if texts.is_empty() || texts.len() > MAX_BROKERS {
            self.add(path, "brokers has one to 16 of them");
        }
        self.unique(path, texts.iter().map(String::as_str));
        let mut brokers = Vec::with_capacity(texts.len());
        for text in texts {
            match HostPort::read(text, BROKER_PORT) {
                // With the port written out it may be one that is there already.
                Ok(broker) if brokers.contains(&broker) => {}
                Ok(broker) => brokers.push(broker),
                Err(_) => self.add(path, format!("`{text}`: {}", refusals::BROKER_FORM)),
            }
        }
        (!brokers.is_empty()).then_some(brokers)
    }

    fn sasl(&mut self, path: &str, sasl: &Sasl) -> Option<SaslSpec> {
        let name = &sasl.secret_ref.name;
        if !is_secret_name(name) {
            self.add(format!("{path}.secretRef.name"), format!("`{name}`: {SECRET_NAME_FORM}"));
            return None;
        }
        Some(SaslSpec { mechanism: sasl.mechanism, secret: name.clone() })
    }
}
