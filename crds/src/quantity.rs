//! Durations and byte sizes as they are written in a binding.

use std::time::Duration;

/// The regular expression of a duration; the CRD's rules use it too.
pub const DURATION: &str = "^([0-9]{1,9}(ms|s|m|h|d))+$";
/// The regular expression of a byte size; the CRD's rules use it too.
pub const BYTES: &str = "^[0-9]{1,12}(k|Ki|M|Mi|G|Gi)?$";

/// Longest duration that is accepted: 366 days. Anything longer is a mistake in the unit.
pub const MAX_DURATION: Duration = Duration::from_hours(366 * 24);

/// Reads a duration such as `10m`, `1h30m` or `500ms`; `None` if it isn't one or exceeds [`MAX_DURATION`].
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|n| (1..=9).contains(n))?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let number: u64 = number.parse().ok()?;
        let part = match unit {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number * 60),
            "h" => Duration::from_secs(number * 3600),
            "d" => Duration::from_secs(number * 86_400),
            _ => return None,
        };
        total = total.checked_add(part).filter(|total| *total <= MAX_DURATION)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

/// Reads a byte size such as `64Mi`, `1M` or `4096`; `None` if it isn't one.
#[must_use]
pub fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if !(1..=12).contains(&number.len()) {
        return None;
    }
    let factor = match unit {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}
