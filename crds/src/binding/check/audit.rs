//! The rules about `spec.audit`.

use super::Faults;
use crate::{
    Audit,
    binding::{AuditSpec, SAMPLE_FORM},
    check_url::CheckUrl,
    quantity,
};

impl Faults {
    /// `None` if anything of it can't be read.
    pub(in crate::binding) fn audit(&mut self, audit: &Audit) -> Option<AuditSpec> {
        let share = quantity::share(&audit.sample);
        if share.is_none() {
            self.add("spec.audit.sample", format!("`{}`: {SAMPLE_FORM}", audit.sample));
        }
        let delay = self.duration("spec.audit.delay", &audit.delay, quantity::MOMENT, "5s");
        let check = match audit.check.as_ref().map(|check| check.url.parse::<CheckUrl>()) {
            None => None,
            Some(Ok(url)) => Some(url),
            Some(Err(invalid)) => {
                self.add("spec.audit.check.url", invalid.to_string());
                return None;
            }
        };
        Some(AuditSpec { share: share?, delay, check })
    }
}
