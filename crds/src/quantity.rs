//! Durations, byte sizes and amounts of CPU as they are written in a binding, and the CRD's rules about them.

use std::time::Duration;

/// The regular expression of a duration; the CRD's rules use it too.
pub const DURATION: &str = "^([0-9]{1,9}(ms|s|m|h|d))+$";
/// The regular expression of a byte size; the CRD's rules use it too.
pub const BYTES: &str = "^[0-9]{1,12}(k|Ki|M|Mi|G|Gi)?$";

/// The regular expression of an amount of CPU; the CRD's rules use it too.
pub const CPU: &str = "^([0-9]{1,6}m|[0-9]{1,3}([.][0-9]{1,3})?)$";

/// The regular expression of a share in percent; the CRD's rules use it too.
pub const SHARE: &str = "^([0-9]{1,2}([.][0-9]{1,3})?|100([.]0{1,3})?)%$";

/// All of something, in thousandths of a percent.
pub const WHOLE: u32 = 100_000;

/// Longest duration that is accepted: 366 days. Anything longer is a mistake in the unit.
pub const MAX_DURATION: Duration = Duration::from_hours(366 * 24);

/// The least of a duration that is more than zero.
pub(crate) const MOMENT: Duration = Duration::from_millis(1);

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

/// Reads an amount of CPU such as `10m`, `0.5` or `2` in thousandths of one; `None` if it isn't one.
#[must_use]
pub fn cpu(text: &str) -> Option<u64> {
    let digits = |text: &str, most: usize| -> Option<u64> {
        let plain = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| text.parse().ok()).flatten()
    };
    if let Some(thousandths) = text.strip_suffix('m') {
        return digits(thousandths, 6);
    }
    let Some((whole, fraction)) = text.split_once('.') else { return Some(digits(text, 3)? * 1000) };
    Some(digits(whole, 3)? * 1000 + digits(&format!("{fraction:0<3}"), 3).filter(|_| !fraction.is_empty())?)
}

/// Reads a share such as `1%` or `0.25%` in thousandths of a percent; `None` if it isn't one, is zero, or more than all.
#[must_use]
pub fn share(text: &str) -> Option<u32> {
    part(text).filter(|share| *share > 0)
}

/// The same, or none of it.
#[must_use]
pub fn part(text: &str) -> Option<u32> {
    let percent = text.strip_suffix('%')?;
    let (whole, fraction) = percent.split_once('.').map_or((percent, None), |(w, f)| (w, Some(f)));
    let digits = |text: &str| (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let leading = whole.len() == 3 && !whole.starts_with('1');
    if !digits(whole) || leading || fraction.is_some_and(|fraction| !digits(fraction)) {
        return None;
    }
    let thousandths: u32 = format!("{whole}{:0<3}", fraction.unwrap_or_default()).parse().ok()?;
    Some(thousandths).filter(|part| *part <= WHOLE)
}

/// The CEL rule of a share that is more than nothing.
pub(crate) fn share_rule(this: &str) -> String {
    format!("{this}.matches('{SHARE}') && {this}.matches('[1-9]')")
}

/// The CEL rule of a share between nothing and so many percent.
pub(crate) fn part_rule(this: &str, most: u32) -> String {
    format!("{this}.matches('{SHARE}') && double({this}.substring(0, {this}.size() - 1)) <= {most}.0")
}

/// The CEL rule of a duration of at least so much and at most [`MAX_DURATION`].
pub(crate) fn duration_rule(least: Duration) -> String {
    // `ms` becomes one letter, so that each part is a number and its last character.
    let sum = "self.replace('ms', 'x').findAll('[0-9]+[xsmhd]').map(p, int(p.substring(0, p.size() - 1)) * \
               (p.endsWith('d') ? 86400000 : p.endsWith('h') ? 3600000 : p.endsWith('m') ? 60000 : \
               p.endsWith('s') ? 1000 : 1)).sum()";
    let at_least = match least.as_millis() {
        0 => String::new(),
        // More than nothing is told without adding up.
        1 => "self.matches('[1-9]') && ".into(),
        least => format!("{sum} >= {least} && "),
    };
    format!("self.matches('{DURATION}') && {at_least}{sum} <= {}", MAX_DURATION.as_millis())
}

/// The CEL rule that this text is a byte size between two others.
pub(crate) fn size_rule(text: &str, least: &str, most: &str) -> String {
    format!(
        "{text}.matches('{BYTES}') && quantity({text}).compareTo(quantity('{least}')) >= 0 && \
         quantity({text}).compareTo(quantity('{most}')) <= 0"
    )
}

/// The CEL rule that one field compares to another plus something in this way, if both are quantities: of those that
/// aren't, their own rules tell.
pub(crate) fn if_sizes(left: &str, operator: &str, right: &str, plus: &str) -> String {
    format!(
        "!isQuantity({left}) || !isQuantity({right}) || \
         quantity({left}).compareTo(quantity({right}).add(quantity('{plus}'))) {operator} 0"
    )
}
