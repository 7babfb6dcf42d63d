//! The rules about a `redisStream` and a `redisPubSub`.

use super::{Faults, source::Said, url::Given};
use crate::{
    CaFrom, ClientCertificateFrom, RedisPubSub, RedisStream, UrlFrom,
    binding::{LEAST_RETENTION, RETENTION_FORM, RedisSpec, StreamLayout, UnfitUrl, UrlSpec},
    quantity,
    redis_url::{RedisUrl, URL_FORM},
    refusals,
};

/// Longest name of a channel, in characters.
const MAX_CHANNEL: usize = 512;

/// What both kinds say of their server.
struct Server<'s> {
    url: Option<&'s String>,
    from: Option<&'s UrlFrom>,
    ca: Option<&'s CaFrom>,
    client_certificate: Option<&'s ClientCertificateFrom>,
    otherwise: &'static str,
}

impl Faults {
    pub(super) fn redis(&mut self, path: &str, redis: &RedisStream) -> Option<(StreamLayout, RedisSpec)> {
        let server = Server {
            url: redis.url.as_ref(),
            from: redis.url_from.as_ref(),
            ca: redis.ca_from.as_ref(),
            client_certificate: redis.client_certificate_from.as_ref(),
            otherwise: refusals::ONE_URL,
        };
        let spec = self.redis_server(path, &server);
        let retention = redis.retention.as_ref().map(|text| {
            let read = quantity::duration(text).filter(|retention| *retention >= LEAST_RETENTION);
            if read.is_none() {
                self.add(format!("{path}.retention"), format!("`{text}`: {RETENTION_FORM}"));
            }
            read.unwrap_or_default()
        });
        let said = Said {
            prefix: redis.topic_prefix.as_ref(),
            one: redis.stream.as_ref(),
            otherwise: refusals::ONE_LAYOUT,
        };
        let layout = self.layout(path, &said)?;
        let spec = RedisSpec { retention, ..spec? };
        self.fits(path, &spec, |spec| spec.url(&layout, String::new))?;
        Some((layout, spec))
    }

    pub(super) fn redis_channel(
        &mut self,
        path: &str,
        redis: &RedisPubSub,
    ) -> Option<(StreamLayout, RedisSpec)> {
        let server = Server {
            url: redis.url.as_ref(),
            from: redis.url_from.as_ref(),
            ca: redis.ca_from.as_ref(),
            client_certificate: redis.client_certificate_from.as_ref(),
            otherwise: refusals::ONE_PUB_SUB_URL,
        };
        let spec = self.redis_server(path, &server);
        if !(1..=MAX_CHANNEL).contains(&redis.channel.chars().count()) {
            self.add(format!("{path}.channel"), refusals::CHANNEL_FORM);
        }
        let spec = spec?;
        self.fits(path, &spec, |spec| spec.url_of_channel(String::new))?;
        Some((StreamLayout::Routed { stream: redis.channel.clone() }, spec))
    }

    fn redis_server(&mut self, path: &str, server: &Server<'_>) -> Option<RedisSpec> {
        let given = Given {
            url: server.url,
            from: server.from,
            is_secret: RedisUrl::is_secret,
            form: URL_FORM,
            otherwise: server.otherwise,
        };
        let url = self.url(path, &given);
        let tls = self.tls(path, server.ca, server.client_certificate);
        Some(RedisSpec { url: url?, tls: tls?, retention: None })
    }

    /// Whether what the URL means goes with all else. Of one in a Secret this can't be told before it is read.
    fn fits(
        &mut self,
        path: &str,
        spec: &RedisSpec,
        url: impl FnOnce(&RedisSpec) -> Result<RedisUrl, UnfitUrl>,
    ) -> Option<()> {
        let UrlSpec::Plain(_) = spec.url else { return Some(()) };
        url(spec).map_err(|unfit| self.add(path, unfit.to_string())).ok().map(drop)
    }
}
