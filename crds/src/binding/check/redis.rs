//! The rules about where Redis is and how it is trusted.

use super::{
    super::{CaSpec, TlsSpec, UrlSpec},
    Faults, is_secret_key, is_secret_name,
};
use crate::{
    CaFrom, RedisStream, SecretKeyRef,
    names::{CONFIG_MAP_KEY_FORM, CONFIG_MAP_NAME_FORM, ONE_CA, SECRET_KEY_FORM, SECRET_NAME_FORM},
    redis_url::{RedisUrl, URL_FORM},
    refusals,
};

impl Faults {
    pub(super) fn url(&mut self, path: &str, redis: &RedisStream) -> Option<UrlSpec> {
        match (&redis.url, &redis.url_from) {
            (Some(url), None) if RedisUrl::is_secret(url) => {
                self.add(
                    format!("{path}.url"),
                    "url must not carry credentials: put the whole URL into a Secret and name it in urlFrom",
                );
                None
            }
            (Some(url), None) => match url.parse() {
                Ok(url) => Some(UrlSpec::Plain(url)),
                Err(why) => {
                    self.add(format!("{path}.url"), format!("{why}: {URL_FORM}"));
                    None
                }
            },
            (None, Some(from)) => {
                self.secret_key(&format!("{path}.urlFrom"), &from.secret_key_ref).map(UrlSpec::Secret)
            }
            _ => {
                self.add(path, refusals::ONE_URL);
                None
            }
        }
    }

    pub(super) fn tls(&mut self, path: &str, redis: &RedisStream) -> Option<TlsSpec> {
        let ca = redis.ca_from.as_ref().map(|from| self.ca(&format!("{path}.caFrom"), from));
        let client = redis.client_certificate_from.as_ref().map(|from| from.secret_ref.name.clone());
        if let Some(name) = client.as_ref().filter(|name| !is_secret_name(name)) {
            self.add(
                format!("{path}.clientCertificateFrom.secretRef.name"),
                format!("`{name}`: {SECRET_NAME_FORM}"),
            );
            return None;
        }
        let ca = match ca {
            Some(ca) => Some(ca?),
            None => None,
        };
        Some(TlsSpec { ca, client_certificate: client })
    }

    pub(super) fn ca(&mut self, path: &str, from: &CaFrom) -> Option<CaSpec> {
        match (&from.secret_key_ref, &from.config_map_key_ref) {
            (Some(secret), None) => self.secret_key(path, secret).map(CaSpec::Secret),
            (None, Some(map)) if !is_secret_name(&map.name) => {
                let place = format!("{path}.configMapKeyRef.name");
                self.add(place, format!("`{}`: {CONFIG_MAP_NAME_FORM}", map.name));
                None
            }
            (None, Some(map)) if !is_secret_key(&map.key) => {
                self.add(format!("{path}.configMapKeyRef.key"), CONFIG_MAP_KEY_FORM);
                None
            }
            (None, Some(map)) => Some(CaSpec::ConfigMap(map.clone())),
            _ => {
                self.add(path, ONE_CA);
                None
            }
        }
    }

    pub(super) fn secret_key(&mut self, path: &str, secret: &SecretKeyRef) -> Option<SecretKeyRef> {
        if !is_secret_name(&secret.name) {
            let place = format!("{path}.secretKeyRef.name");
            self.add(place, format!("`{}`: {SECRET_NAME_FORM}", secret.name));
            return None;
        }
        if !is_secret_key(&secret.key) {
            self.add(format!("{path}.secretKeyRef.key"), SECRET_KEY_FORM);
            return None;
        }
        Some(secret.clone())
    }
}
