//! The rules about `caches[].upstream`.

use std::time::Duration;

use super::Faults;
use crate::{
    AuthFrom, Cache, FillDependencies, OnChange, Rate, Upstream,
    binding::{
        AUTH_HEADER_FORM, AuthSpec, LEAST_REFRESH, MAX_BYTES_FORM, MAX_VALUE, REFRESH_FORM, RateSpec,
        UpstreamSpec, is_auth_header,
    },
    path_pattern::{PATTERN_FORM, PathPattern},
    quantity, refusals,
    upstream_url::{CA_NEEDS_TLS, UpstreamUrl},
};

/// The range of a rate's numbers.
const TOKENS: std::ops::RangeInclusive<u32> = 1..=1_000_000;
/// The range of `maxPages`.
const PAGES: std::ops::RangeInclusive<u32> = 1..=1000;

impl Faults {
    /// `None` if anything of it can't be read.
    pub(in crate::binding) fn upstream(
        &mut self,
        cache: &Cache,
        upstream: &Upstream,
    ) -> Option<UpstreamSpec> {
        let path = format!("spec.caches[{}]", cache.name);
        self.cache_name(&path, &cache.name);
        let of_tables = cache.table.is_some()
            || cache.key.is_some()
            || cache.source.is_some()
            || cache.on_change != OnChange::Invalidate
            || cache.fill_dependencies != FillDependencies::Optional
            || !cache.depends_on.is_empty()
            || !cache.may_depend_on.is_empty();
        if cache.published {
            self.add(&path, refusals::PUBLISHED_ALONE);
        }
        if of_tables {
            self.add(&path, refusals::UPSTREAM_ALONE);
        }
        let ttl = self.duration(&format!("{path}.ttl"), &cache.ttl, quantity::MOMENT, "10m");
        let ttl_jitter = self.ttl_jitter(&path, &cache.ttl_jitter);
        let share = self.share(&path, cache);
        let path = format!("{path}.upstream");
        let url = upstream.url.parse::<UpstreamUrl>();
        if let Err(why) = &url {
            self.add(format!("{path}.url"), why.to_string());
        }
        if upstream.ca_from.is_some() && url.as_ref().is_ok_and(|url| !url.tls) {
            self.add(format!("{path}.caFrom"), CA_NEEDS_TLS);
        }
        let refresh = upstream.refresh.as_ref().map(|text| {
            let read = quantity::duration(text).filter(|refresh| *refresh >= LEAST_REFRESH);
            if read.is_none() {
                self.add(format!("{path}.refresh"), format!("`{text}`: {REFRESH_FORM}"));
            }
            read.unwrap_or_default()
        });
        let mut stale = |field: &str, text: &Option<String>| match text {
            Some(text) => self.duration(&format!("{path}.{field}"), text, Duration::ZERO, "1h"),
            None => Duration::ZERO,
        };
        let stale_if_error = stale("staleIfError", &upstream.stale_if_error);
        let stale_while_revalidate = stale("staleWhileRevalidate", &upstream.stale_while_revalidate);
        let allow = self.patterns(&format!("{path}.allow"), &upstream.allow);
        let auth = upstream.auth_from.as_ref().map(|from| self.auth(&format!("{path}.authFrom"), from));
        let ca = upstream.ca_from.as_ref().map(|from| self.ca(&format!("{path}.caFrom"), from));
        let rate = upstream.rate.as_ref().map(|rate| self.rate(&format!("{path}.rate"), rate));
        let max_pages = upstream.paginate.as_ref().map(|paginate| paginate.max_pages);
        if max_pages.is_some_and(|pages| !PAGES.contains(&pages)) {
            self.add(format!("{path}.paginate.maxPages"), "maxPages is a number from 1 to 1000");
        }
        let max_bytes = upstream
            .max_bytes
            .as_ref()
            .and_then(|text| self.bytes(&format!("{path}.maxBytes"), text, MAX_VALUE, MAX_BYTES_FORM));
        let timeout = self.duration(&format!("{path}.timeout"), &upstream.timeout, quantity::MOMENT, "10s");
        // What is given and can't be read makes all of it unreadable.
        let (auth, ca) =
            (auth.map_or(Some(None), |auth| auth.map(Some))?, ca.map_or(Some(None), |ca| ca.map(Some))?);
        Some(UpstreamSpec {
            name: cache.name.clone(),
            url: url.ok()?,
            ttl,
            ttl_jitter,
            share,
            refresh,
            stale_if_error,
            stale_while_revalidate,
            allow,
            auth,
            ca,
            rate,
            max_pages,
            max_bytes,
            timeout,
        })
    }

    fn patterns(&mut self, path: &str, texts: &[String]) -> Vec<PathPattern> {
        self.unique(path, texts.iter().map(String::as_str));
        if texts.len() > 32 {
            self.add(path, "allow has at most 32 paths");
        }
        let mut patterns = Vec::with_capacity(texts.len());
        for text in texts {
            match text.parse() {
                Ok(pattern) => patterns.push(pattern),
                Err(_) => self.add(path, format!("`{text}`: {PATTERN_FORM}")),
            }
        }
        patterns
    }

    fn auth(&mut self, path: &str, from: &AuthFrom) -> Option<AuthSpec> {
        if !is_auth_header(&from.header) {
            self.add(format!("{path}.header"), format!("`{}`: {AUTH_HEADER_FORM}", from.header));
            return None;
        }
        let secret = self.secret_key(path, &from.secret_key_ref)?;
        Some(AuthSpec { secret, header: from.header.to_ascii_lowercase().into() })
    }

    fn rate(&mut self, path: &str, rate: &Rate) -> RateSpec {
        let burst = rate.burst.unwrap_or(rate.requests);
        for (field, number) in [("requests", rate.requests), ("burst", burst)] {
            if !TOKENS.contains(&number) {
                self.add(format!("{path}.{field}"), format!("{field} is a number from 1 to 1000000"));
            }
        }
        let per = self.duration(&format!("{path}.per"), &rate.per, quantity::MOMENT, "1s");
        RateSpec { requests: rate.requests, per, burst }
    }
}
