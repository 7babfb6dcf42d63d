//! The rules about a `natsJetStream` and a `nats`.

use super::{Faults, url::Given};
use crate::{
    CaFrom, ClientCertificateFrom, CredentialsFrom, Nats, NatsJetStream, UrlFrom,
    binding::{NatsSpec, StreamLayout, UrlSpec},
    nats_url::{NatsUrl, URL_FORM},
    refusals,
};

/// Longest subject, in bytes.
const MAX_SUBJECT: usize = 255;

/// What both kinds say of their servers.
struct Servers<'s> {
    url: Option<&'s String>,
    from: Option<&'s UrlFrom>,
    ca: Option<&'s CaFrom>,
    client_certificate: Option<&'s ClientCertificateFrom>,
    credentials: Option<&'s CredentialsFrom>,
    otherwise: &'static str,
}

impl Faults {
    pub(super) fn jet_stream(
        &mut self,
        path: &str,
        nats: &NatsJetStream,
    ) -> Option<(StreamLayout, NatsSpec)> {
        let servers = Servers {
            url: nats.url.as_ref(),
            from: nats.url_from.as_ref(),
            ca: nats.ca_from.as_ref(),
            client_certificate: nats.client_certificate_from.as_ref(),
            credentials: nats.credentials_from.as_ref(),
            otherwise: refusals::ONE_NATS_URL,
        };
        let spec = self.nats_servers(path, &servers);
        if !is_stream(&nats.stream) {
            self.add(format!("{path}.stream"), format!("`{}`: {}", nats.stream, refusals::JET_STREAM_FORM));
            return None;
        }
        if let Some(subject) = nats.publish_subject.as_ref().filter(|subject| !is_plain_subject(subject)) {
            self.add(
                format!("{path}.publishSubject"),
                format!("`{subject}`: {}", refusals::PUBLISH_SUBJECT_FORM),
            );
            return None;
        }
        let spec = NatsSpec { publish_subject: nats.publish_subject.clone(), ..spec? };
        Some((StreamLayout::Routed { stream: nats.stream.clone() }, spec))
    }

    pub(super) fn nats_subject(&mut self, path: &str, nats: &Nats) -> Option<(StreamLayout, NatsSpec)> {
        let servers = Servers {
            url: nats.url.as_ref(),
            from: nats.url_from.as_ref(),
            ca: nats.ca_from.as_ref(),
            client_certificate: nats.client_certificate_from.as_ref(),
            credentials: nats.credentials_from.as_ref(),
            otherwise: refusals::ONE_CORE_NATS_URL,
        };
        let spec = self.nats_servers(path, &servers);
        if !is_subject(&nats.subject) {
            self.add(format!("{path}.subject"), format!("`{}`: {}", nats.subject, refusals::SUBJECT_FORM));
            return None;
        }
        Some((StreamLayout::Routed { stream: nats.subject.clone() }, spec?))
    }

    fn nats_servers(&mut self, path: &str, servers: &Servers<'_>) -> Option<NatsSpec> {
        let given = Given {
            url: servers.url,
            from: servers.from,
            is_secret: NatsUrl::is_secret,
            form: URL_FORM,
            otherwise: servers.otherwise,
        };
        let url = self.url(path, &given);
        let tls = self.tls(path, servers.ca, servers.client_certificate);
        let credentials = servers
            .credentials
            .map(|from| self.secret_key(&format!("{path}.credentialsFrom"), &from.secret_key_ref));
        let credentials = credentials.map_or(Some(None), |credentials| credentials.map(Some))?;
        let spec = NatsSpec { url: url?, tls: tls?, credentials, publish_subject: None };
        // Of a URL in a Secret this can't be told before it is read.
        if let UrlSpec::Plain(_) = spec.url
            && let Err(unfit) = spec.url(String::new)
        {
            self.add(path, unfit.to_string());
            return None;
        }
        Some(spec)
    }
}

/// What JetStream takes as a stream's name.
fn is_stream(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c > ' ' && c != '\x7f' && !".*>/\\".contains(c))
}

/// What NATS subscribes to.
fn is_subject(text: &str) -> bool {
    let parts: Vec<_> = text.split('.').collect();
    let is_part = |(index, part): (usize, &&str)| match *part {
        "*" => true,
        ">" => index > 0 && index + 1 == parts.len(),
        part => !part.is_empty() && part.chars().all(|c| c > ' ' && c != '\x7f' && !"*>".contains(c)),
    };
    text.len() <= MAX_SUBJECT && parts.iter().enumerate().all(is_part)
}

/// The form of a subject, as the CRD's rules ask it.
pub(crate) fn subject_rule(text: &str) -> String {
    format!(r"{text}.matches('^([^\\x00-\\x20\\x7f.*>]+|[*])([.]([^\\x00-\\x20\\x7f.*>]+|[*]))*([.]>)?$')")
}

/// What something is published under.
fn is_plain_subject(text: &str) -> bool {
    is_subject(text) && text.split('.').all(|part| !matches!(part, "*" | ">"))
}
