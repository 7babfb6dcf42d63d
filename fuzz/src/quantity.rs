//! Durations, sizes and amounts of CPU: what is read is what the arithmetic says.

use std::time::Duration;

use freshet_crds::quantity::{MAX_DURATION, bytes, cpu, duration};

use crate::Bound;

/// Reads the text as each of them.
pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let bound = Bound::of(16, input);
    let (duration, bytes, cpu) = (duration(text), bytes(text), cpu(text));
    drop(bound);
    if let Some(duration) = duration {
        assert!(duration <= MAX_DURATION);
        assert_eq!(Some(duration), sum(text), "{text}");
    }
    if let Some(bytes) = bytes {
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let factor = [("", 0), ("k", 3), ("M", 6), ("G", 9)].iter().find(|(name, _)| *name == unit);
        let factor = factor.map(|(_, power)| 10_u128.pow(*power));
        let binary = ["", "Ki", "Mi", "Gi"].iter().position(|name| *name == unit);
        let factor = factor.or(binary.map(|power| 1024_u128.pow(u32::try_from(power).unwrap_or(0))));
        assert_eq!(
            u128::from(bytes),
            number.parse::<u128>().expect("digits") * factor.expect("a unit"),
            "{text}"
        );
    }
    if let Some(cpu) = cpu {
        assert!(cpu < 1_000_000, "{text}");
        let exact = text.strip_suffix('m').map_or_else(
            || text.parse::<f64>().expect("a decimal") * 1000.0,
            |thousandths| thousandths.parse().expect("a number"),
        );
        #[expect(clippy::cast_precision_loss, reason = "a million thousandths fit")]
        let read = cpu as f64;
        assert!((exact - read).abs() < 0.5, "{text} is {cpu}m");
    }
}

/// The sum of a duration's parts, read from its end.
fn sum(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u128); 5] =
        [("ms", 1), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    let (mut rest, mut total) = (text, 0);
    while !rest.is_empty() {
        let (unit, worth) = UNITS.iter().find(|(unit, _)| rest.ends_with(unit))?;
        rest = &rest[..rest.len() - unit.len()];
        let number = rest.len() - rest.bytes().rev().take_while(u8::is_ascii_digit).count();
        total += rest[number..].parse::<u128>().ok()? * worth;
        rest = &rest[..number];
    }
    Some(Duration::from_millis(u64::try_from(total).ok()?))
}

/// All units, all edges.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let texts = "10m 1h30m 500ms 0s 366d 367d 999999999d 1000000000s 1m1ms1m 1 m 64Mi 1M 4096 999999999999Gi 1Ti 0 0.5 2 \
                 10m 999.999 1000 0.0001 1e3 .5 5. -1 +1 ٣s";
    texts.split(' ').map(|text| text.as_bytes().to_vec()).collect()
}
