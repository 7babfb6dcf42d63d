//! The fleet's numbers, rounded so that status isn't written for noise.

use freshet_crds::{CacheBindingStatus, WorstLag};

use crate::survey::Findings;

/// Lags up to this are as good as none, in milliseconds.
const LEAST_LAG: u64 = 100;

/// Puts the numbers into `status`; those of `before` where hardly any sidecar has been asked yet.
pub(super) fn add(status: &mut CacheBindingStatus, findings: &Findings, before: Option<&CacheBindingStatus>) {
    let early = findings.is_early();
    if let Some(before) = before.filter(|_| early) {
        status.worst_lag.clone_from(&before.worst_lag);
        status.hit_ratio.clone_from(&before.hit_ratio);
        (status.entries, status.bytes) = (before.entries, before.bytes);
        return;
    }
    if early || findings.answered == 0 {
        return;
    }
    status.worst_lag = findings.worst_lag.as_ref().map(|lag| WorstLag {
        milliseconds: lag.milliseconds,
        source: lag.source.clone(),
        pod: lag.pod.clone(),
    });
    status.hit_ratio = percent(findings.hits, findings.reads);
    status.entries = Some(two_digits(findings.entries));
    status.bytes = Some(two_digits(findings.bytes));
}

/// A lag in milliseconds: 0 up to 100, because a stream in use is caught up at one moment and not at the next; else
/// rounded up to 1, 2 or 5 times a power of ten.
#[must_use]
pub fn lag(milliseconds: u64) -> u64 {
    if milliseconds <= LEAST_LAG {
        return 0;
    }
    let mut step = LEAST_LAG;
    loop {
        for rounded in [1, 2, 5].map(|digit| step.saturating_mul(digit)) {
            if milliseconds <= rounded {
                return rounded;
            }
        }
        step = step.saturating_mul(10);
    }
}

/// A part of a whole in whole percent, down: 100 % is all of it. `None` of nothing.
fn percent(part: u64, whole: u64) -> Option<String> {
    let hundredfold = u128::from(part.min(whole)) * 100;
    Some(format!("{}%", hundredfold.checked_div(u128::from(whole))?))
}

/// The first two digits, the others zero.
fn two_digits(number: u64) -> u64 {
    let places = number.checked_ilog10().unwrap_or_default().saturating_sub(1);
    let unit = 10_u64.pow(places);
    number / unit * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lags_are_coarse() {
        let all = [0, 99, 100, 101, 200, 201, 501, 1000, 1001, 59_000, 3_600_000, u64::MAX];
        let wanted = [0, 0, 0, 200, 200, 500, 1000, 1000, 2000, 100_000, 5_000_000, u64::MAX];
        assert_eq!(all.map(lag), wanted);
    }

    #[test]
    fn ratios_are_whole_percents_and_never_better_than_true() {
        let all = [(0, 0), (0, 9), (1, 3), (999, 1000), (7, 7), (u64::MAX, u64::MAX), (9, 3)];
        let said = all.map(|(part, whole)| percent(part, whole).unwrap_or_default());
        assert_eq!(said, ["", "0%", "33%", "99%", "100%", "100%", "100%"]);
    }

    #[test]
    fn counts_have_two_digits() {
        let all = [0, 7, 42, 99, 123, 1999, 123_456, u64::MAX];
        assert_eq!(all.map(two_digits), [0, 7, 42, 99, 120, 1900, 120_000, 18_000_000_000_000_000_000]);
    }
}
