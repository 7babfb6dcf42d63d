//! The rules about `spec.sources` that hold for every kind.

use super::{Faults, is_name};
use crate::{
    Source,
    binding::{FileSpec, SourceSpec, StreamLayout, TransportSpec},
    refusals,
    source::File,
};

/// What a source says of its streams or topics, and the sentence with which it is refused when it says too much or too
/// little.
pub(super) struct Said<'s> {
    pub(super) prefix: Option<&'s String>,
    pub(super) one: Option<&'s String>,
    pub(super) otherwise: &'static str,
}

impl Faults {
    /// `None` if anything of it can't be read.
    pub(in crate::binding) fn source(&mut self, source: &Source) -> Option<SourceSpec> {
        let path = format!("spec.sources[{}]", source.name);
        if !is_name(&source.name) {
            self.add(format!("{path}.name"), refusals::SOURCE_NAME_FORM);
        }
        let Source { redis_stream, redis_pub_sub, nats_jet_stream, nats, kafka, postgres_notify, file, name } =
            source;
        let of = |kind: &str| format!("{path}.{kind}");
        // Each that is there: of several, all that is wrong with them is told as well.
        let kinds = [
            redis_stream.as_ref().map(|redis| {
                let (layout, redis) = self.redis(&of("redisStream"), redis)?;
                Some((layout, TransportSpec::RedisStream(redis)))
            }),
            redis_pub_sub.as_ref().map(|redis| {
                let (layout, redis) = self.redis_channel(&of("redisPubSub"), redis)?;
                Some((layout, TransportSpec::RedisPubSub(redis)))
            }),
            nats_jet_stream.as_ref().map(|nats| {
                let (layout, nats) = self.jet_stream(&of("natsJetStream"), nats)?;
                Some((layout, TransportSpec::NatsJetStream(nats)))
            }),
            nats.as_ref().map(|nats| {
                let (layout, nats) = self.nats_subject(&of("nats"), nats)?;
                Some((layout, TransportSpec::Nats(nats)))
            }),
            kafka.as_ref().map(|kafka| {
                let (layout, kafka) = self.kafka(&of("kafka"), kafka)?;
                Some((layout, TransportSpec::Kafka(kafka)))
            }),
            postgres_notify.as_ref().map(|postgres| {
                let (layout, postgres) = self.postgres(&of("postgresNotify"), postgres)?;
                Some((layout, TransportSpec::PostgresNotify(postgres)))
            }),
            file.as_ref().map(|file| {
                let (layout, file) = self.file(&of("file"), file)?;
                Some((layout, TransportSpec::File(file)))
            }),
        ];
        let mut kinds = kinds.into_iter().flatten();
        let (Some(only), None) = (kinds.next(), kinds.next()) else {
            self.add(path, refusals::ONE_KIND);
            return None;
        };
        let (layout, transport) = only?;
        Some(SourceSpec { name: name.clone(), layout, transport })
    }

    fn file(&mut self, path: &str, file: &File) -> Option<(StreamLayout, FileSpec)> {
        if file.path.is_empty() {
            self.add(format!("{path}.path"), refusals::FILE_PATH);
        }
        let said = Said {
            prefix: file.topic_prefix.as_ref(),
            one: file.stream.as_ref(),
            otherwise: refusals::ONE_LAYOUT,
        };
        Some((self.layout(path, &said)?, FileSpec { path: file.path.clone() }))
    }

    pub(super) fn layout(&mut self, path: &str, said: &Said<'_>) -> Option<StreamLayout> {
        match (said.prefix, said.one) {
            (Some(prefix), None) if is_topic(prefix) => {
                Some(StreamLayout::PerTable { prefix: prefix.clone() })
            }
            (Some(_), None) => {
                self.add(format!("{path}.topicPrefix"), refusals::TOPIC_PREFIX_FORM);
                None
            }
            (None, Some(stream)) if !stream.is_empty() => {
                Some(StreamLayout::Routed { stream: stream.clone() })
            }
            _ => {
                self.add(path, said.otherwise);
                None
            }
        }
    }
}

/// What Debezium accepts as a topic prefix, and Kafka in a topic's name.
pub(super) fn is_topic(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}
