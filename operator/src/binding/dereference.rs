//! Step 1: fetch what the binding refers to.

use std::collections::{BTreeMap, BTreeSet};

use freshet_connect::{Certificates, ConnectError, Target, kafka, nats, postgres};
use freshet_crds::{
    CacheBinding, ConfigMapKeyRef, SaslMechanism, Source,
    binding::{
        CaSpec, KafkaSpec, NatsSpec, PostgresSpec, RedisSpec, SourceSpec, StreamLayout, TlsSpec,
        TransportSpec, UrlSpec,
    },
    names,
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, ResourceExt as _};

use crate::sources::{Access, Unreachable};

/// What a binding refers to, as it was found.
#[derive(Default)]
pub struct Found {
    /// The ConfigMap under the name of the one to be rendered.
    pub config_map: Option<ConfigMap>,
    /// The Secrets by name, where they are there. Never to be printed.
    pub secrets: BTreeMap<String, Option<Secret>>,
    /// The ConfigMaps with certificates of authorities by name, where they are there.
    pub authorities: BTreeMap<String, Option<ConfigMap>>,
}

/// Fetches the ConfigMaps and the Secrets.
pub async fn dereference(client: &Client, binding: &CacheBinding) -> Result<Found, kube::Error> {
    let namespace = binding.namespace().unwrap_or_default();
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let mut found = Found { config_map: rendered(client, binding).await?, ..Found::default() };
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let names: BTreeSet<_> =
        binding.spec.sources.iter().flat_map(Source::secret_keys).map(|from| from.name).collect();
    for name in names {
        let secret = secrets.get_opt(&name).await?;
        found.secrets.insert(name, secret);
    }
    let names: BTreeSet<_> =
        binding.spec.sources.iter().flat_map(Source::config_map_keys).map(|from| from.name).collect();
    for name in names {
        let config_map = config_maps.get_opt(&name).await?;
        found.authorities.insert(name, config_map);
    }
    Ok(found)
}

/// Fetches the ConfigMap under the name of the one to be rendered.
pub async fn rendered(
    client: &Client,
    binding: &impl kube::ResourceExt,
) -> Result<Option<ConfigMap>, kube::Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &binding.namespace().unwrap_or_default());
    api.get_opt(&format!("{}{}", names::CONFIG_MAP_PREFIX, binding.name_any())).await
}

impl Found {
    /// Where this source is, with everything that was read for it. What is wrong with what is mounted is told before
    /// what is wrong with the connection.
    pub fn access(&self, source: &SourceSpec) -> Result<Access, Unreachable> {
        match &source.transport {
            TransportSpec::RedisStream(redis) => self.redis(&source.layout, redis).map(Access::Redis),
            TransportSpec::RedisPubSub(redis) => self.redis_channel(redis).map(Access::RedisChannel),
            TransportSpec::NatsJetStream(nats) => self.nats(nats).map(Access::Nats),
            TransportSpec::Nats(nats) => self.nats(nats).map(Access::NatsSubject),
            TransportSpec::Kafka(kafka) => self.kafka(kafka).map(Access::Kafka),
            TransportSpec::PostgresNotify(postgres) => self.postgres(postgres).map(Access::Postgres),
            TransportSpec::File(_) => Err(Unreachable::File),
        }
    }

    fn redis(&self, layout: &StreamLayout, redis: &RedisSpec) -> Result<Target, Unreachable> {
        let text = self.url(&redis.url)?;
        let certificates = self.certificates(&redis.tls)?;
        let url = redis.url(layout, || text).map_err(ConnectError::from)?;
        Ok(Target { url, certificates, stream: layout.stream().map(str::to_owned) })
    }

    fn redis_channel(&self, redis: &RedisSpec) -> Result<Target, Unreachable> {
        let text = self.url(&redis.url)?;
        let certificates = self.certificates(&redis.tls)?;
        let url = redis.url_of_channel(|| text).map_err(ConnectError::from)?;
        Ok(Target { url, certificates, stream: None })
    }

    fn nats(&self, nats: &NatsSpec) -> Result<nats::Target, Unreachable> {
        let text = self.url(&nats.url)?;
        let certificates = self.certificates(&nats.tls)?;
        let credentials =
            nats.credentials.as_ref().map(|from| self.text(&from.name, &from.key)).transpose()?;
        Ok(nats::Target { url: nats.url(|| text)?, certificates, credentials })
    }

    fn postgres(&self, postgres: &PostgresSpec) -> Result<postgres::Target, Unreachable> {
        let text = self.url(&postgres.url)?;
        let tls = postgres.tls.as_ref().map(|tls| self.certificates(tls)).transpose()?;
        Ok(postgres::Target { url: postgres.url(|| text)?, tls })
    }

    fn kafka(&self, kafka: &KafkaSpec) -> Result<kafka::Target, Unreachable> {
        let tls = kafka.tls.as_ref().map(|tls| self.certificates(tls)).transpose()?;
        let sasl = kafka.sasl.as_ref().map(|sasl| {
            let username = self.text(&sasl.secret, names::USERNAME)?;
            let password = self.text(&sasl.secret, names::PASSWORD)?;
            Ok::<_, Unreachable>(kafka::Sasl { mechanism: mechanism(sasl.mechanism), username, password })
        });
        Ok(kafka::Target { brokers: kafka.brokers.clone(), tls, sasl: sasl.transpose()? })
    }

    /// What is in the Secret, where the URL is in one.
    fn url<U>(&self, url: &UrlSpec<U>) -> Result<String, Unreachable> {
        match url {
            UrlSpec::Plain(_) => Ok(String::new()),
            UrlSpec::Secret(from) => self.text(&from.name, &from.key),
        }
    }

    fn certificates(&self, tls: &TlsSpec) -> Result<Certificates, Unreachable> {
        let authorities = match &tls.ca {
            None => None,
            Some(CaSpec::Secret(from)) => Some(self.secret(&from.name, &from.key)?),
            Some(CaSpec::ConfigMap(from)) => Some(self.authorities(from)?),
        };
        let client = match &tls.client_certificate {
            None => None,
            Some(name) => {
                Some((self.secret(name, names::TLS_CERTIFICATE)?, self.secret(name, names::TLS_KEY)?))
            }
        };
        Ok(Certificates { authorities, client })
    }

    fn text(&self, name: &str, key: &str) -> Result<String, Unreachable> {
        String::from_utf8(self.secret(name, key)?)
            .map_err(|_| Unreachable::NoSecretKey(name.to_owned(), key.to_owned()))
    }

    fn secret(&self, name: &str, key: &str) -> Result<Vec<u8>, Unreachable> {
        let secret = self.secrets.get(name).and_then(Option::as_ref);
        let secret = secret.ok_or_else(|| Unreachable::NoSecret(name.to_owned()))?;
        let value = secret.data.as_ref().and_then(|data| data.get(key));
        value
            .map(|bytes| bytes.0.clone())
            .ok_or_else(|| Unreachable::NoSecretKey(name.to_owned(), key.to_owned()))
    }

    fn authorities(&self, from: &ConfigMapKeyRef) -> Result<Vec<u8>, Unreachable> {
        let map = self.authorities.get(&from.name).and_then(Option::as_ref);
        let map = map.ok_or_else(|| Unreachable::NoConfigMap(from.name.clone()))?;
        let text =
            map.data.as_ref().and_then(|data| data.get(&from.key)).map(|text| text.clone().into_bytes());
        let bytes =
            || map.binary_data.as_ref().and_then(|data| data.get(&from.key)).map(|bytes| bytes.0.clone());
        text.or_else(bytes).ok_or_else(|| Unreachable::NoConfigMapKey(from.name.clone(), from.key.clone()))
    }
}

fn mechanism(mechanism: SaslMechanism) -> kafka::Mechanism {
    match mechanism {
        SaslMechanism::Plain => kafka::Mechanism::Plain,
        SaslMechanism::ScramSha256 => kafka::Mechanism::ScramSha256,
        SaslMechanism::ScramSha512 => kafka::Mechanism::ScramSha512,
    }
}
