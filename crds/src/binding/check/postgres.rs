//! The rules about a `postgresNotify`.

use super::{Faults, url::Given};
use crate::{
    PostgresNotify,
    binding::{PostgresSpec, StreamLayout},
    postgres_url::{PostgresUrl, URL_FORM},
    refusals,
};

/// Longest name of a channel, in bytes: PostgreSQL's identifiers have no more.
const MAX_CHANNEL: usize = 63;

impl Faults {
    pub(super) fn postgres(
        &mut self,
        path: &str,
        postgres: &PostgresNotify,
    ) -> Option<(StreamLayout, PostgresSpec)> {
        let given = Given {
            url: postgres.url.as_ref(),
            from: postgres.url_from.as_ref(),
            is_secret: PostgresUrl::is_secret,
            form: URL_FORM,
            otherwise: refusals::ONE_POSTGRES_URL,
        };
        let url = self.url(path, &given);
        let tls = postgres.tls.as_ref().map(|tls| {
            let (ca, client) = (tls.ca_from.as_ref(), tls.client_certificate_from.as_ref());
            self.tls(&format!("{path}.tls"), ca, client)
        });
        let channel = &postgres.channel;
        if !is_channel(channel) {
            self.add(format!("{path}.channel"), format!("`{channel}`: {}", refusals::NOTIFY_CHANNEL_FORM));
            return None;
        }
        // What is given and can't be read makes all of it unreadable.
        let tls = tls.map_or(Some(None), |tls| tls.map(Some))?;
        Some((StreamLayout::Routed { stream: channel.clone() }, PostgresSpec { url: url?, tls }))
    }
}

fn is_channel(text: &str) -> bool {
    (1..=MAX_CHANNEL).contains(&text.len()) && !text.bytes().any(|byte| byte.is_ascii_control())
}
