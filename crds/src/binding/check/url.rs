//! The rule about where a source's URL is: in the binding, or in a Secret where it carries credentials.

use std::{fmt::Display, str::FromStr};

use super::Faults;
use crate::{UrlFrom, binding::UrlSpec, refusals};

/// What a source says of its URL, and the sentences with which it is refused.
pub(super) struct Given<'s> {
    pub(super) url: Option<&'s String>,
    pub(super) from: Option<&'s UrlFrom>,
    /// Whether a URL carries credentials.
    pub(super) is_secret: fn(&str) -> bool,
    pub(super) form: &'static str,
    pub(super) otherwise: &'static str,
}

impl Faults {
    pub(super) fn url<U: FromStr<Err: Display>>(
        &mut self,
        path: &str,
        given: &Given<'_>,
    ) -> Option<UrlSpec<U>> {
        match (given.url, given.from) {
            (Some(url), None) if (given.is_secret)(url) => {
                self.add(format!("{path}.url"), refusals::URL_CARRIES);
                None
            }
            (Some(url), None) => match url.parse() {
                Ok(url) => Some(UrlSpec::Plain(url)),
                Err(why) => {
                    self.add(format!("{path}.url"), format!("{why}: {}", given.form));
                    None
                }
            },
            (None, Some(from)) => {
                self.secret_key(&format!("{path}.urlFrom"), &from.secret_key_ref).map(UrlSpec::Secret)
            }
            _ => {
                self.add(path, given.otherwise);
                None
            }
        }
    }
}
