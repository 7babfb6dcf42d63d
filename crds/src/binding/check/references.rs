//! The rules about what a binding refers to: keys of Secrets and ConfigMaps.

use super::Faults;
use crate::{
    CaFrom, ClientCertificateFrom, SecretKeyRef,
    binding::{CaSpec, TlsSpec},
    names::{CONFIG_MAP_KEY_FORM, CONFIG_MAP_NAME_FORM, ONE_CA, SECRET_KEY_FORM, SECRET_NAME_FORM},
};

impl Faults {
    pub(super) fn tls(
        &mut self,
        path: &str,
        ca: Option<&CaFrom>,
        client: Option<&ClientCertificateFrom>,
    ) -> Option<TlsSpec> {
        let ca = ca.map(|from| self.ca(&format!("{path}.caFrom"), from));
        let client = client.map(|from| from.secret_ref.name.clone());
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

/// The name of a Secret: lower-case letters, digits, inner dashes and inner dots.
pub(super) fn is_secret_name(text: &str) -> bool {
    let is_end = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.bytes().all(|b| is_end(b) || b"-.".contains(&b))
        && text.bytes().next().is_some_and(is_end)
        && text.bytes().last().is_some_and(is_end)
}

/// What a key of a Secret is made of; it becomes a path segment below the folder of mounted Secrets.
fn is_secret_key(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('.')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
}
