//! Numbers as JSON writes them, compared exactly: `9007199254740993` is more than `9007199254740992`, `1.10` is `1.1`.

use std::cmp::Ordering;

/// A number of any size and precision. An exponent beyond 10^18 is taken for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    is_negative: bool,
    /// Where the point is, counted from before the first digit.
    point: i64,
    /// Without zeros at either end; none at all: the number is zero.
    digits: Box<[u8]>,
}

impl Decimal {
    /// Reads a text that is one number, written as JSON has it.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        const FARTHEST: i64 = 1_000_000_000_000_000_000;
        let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, exponent),
            None => (text, "0"),
        };
        let (whole, fraction) = match number.split_once('.') {
            Some((_, "")) => return None,
            Some((whole, fraction)) => (whole, fraction),
            None => (number, ""),
        };
        let are_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let (is_less, exponent) = match exponent.as_bytes().first() {
            Some(b'-') => (true, &exponent[1..]),
            Some(b'+') => (false, &exponent[1..]),
            _ => (false, exponent),
        };
        if whole.is_empty()
            || (whole.len() > 1 && whole.starts_with('0'))
            || exponent.is_empty()
            || ![whole, fraction, exponent].into_iter().all(are_digits)
        {
            return None;
        }
        let exponent = exponent.parse().unwrap_or(FARTHEST).min(FARTHEST);
        let exponent: i64 = if is_less { -exponent } else { exponent };
        let all = [whole.as_bytes(), fraction.as_bytes()].concat();
        let Some(first) = all.iter().position(|digit| *digit != b'0') else {
            return Some(Self { is_negative: false, point: 0, digits: Box::default() });
        };
        let last = all.iter().rposition(|digit| *digit != b'0').unwrap_or(first);
        let places = |count: usize| i64::try_from(count).unwrap_or(i64::MAX / 4);
        let point = exponent + places(whole.len()) - places(first);
        Some(Self { is_negative, point, digits: all[first..=last].into() })
    }

    /// Whether it is negative, its digits in ASCII without zeros at either end (zero has one: itself), and the power of ten
    /// of the last one.
    pub(crate) fn parts(&self) -> (bool, &[u8], i64) {
        if self.digits.is_empty() {
            return (false, b"0", 0);
        }
        let digits = i64::try_from(self.digits.len()).unwrap_or(i64::MAX / 4);
        (self.is_negative, &self.digits, self.point - digits)
    }

    /// Bytes that it holds beside itself.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.digits.len() as u64
    }

    /// How it is to another one without regard to signs.
    fn magnitude(&self, other: &Self) -> Ordering {
        match (self.digits.is_empty(), other.digits.is_empty()) {
            (false, false) => self.point.cmp(&other.point).then_with(|| self.digits.cmp(&other.digits)),
            (is_zero, other_is) => other_is.cmp(&is_zero),
        }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.is_negative, other.is_negative) {
            (false, false) => self.magnitude(other),
            (true, true) => other.magnitude(self),
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Decimal;

    fn read(text: &str) -> Decimal {
        Decimal::read(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn numbers_are_compared_exactly() {
        let ascending = [
            "-1e999999999999999999999",
            "-123456789012345678901234567890",
            "-1e3",
            "-999.5",
            "-0.5",
            "-1e-400",
            "0",
            "1e-400",
            "2e-400",
            "0.1",
            "0.10000000000000000000001",
            "9.99",
            "10",
            "9007199254740992",
            "9007199254740993",
            "9007199254740993.5",
            "18446744073709551616",
            "1e400",
            "1.5e400",
            "1e999999999999999999999",
        ];
        for pair in ascending.windows(2) {
            assert!(read(pair[0]) < read(pair[1]), "{pair:?}");
            assert!(read(pair[1]) > read(pair[0]), "{pair:?}");
        }
        for same in [
            ["0", "-0"],
            ["0", "0.000e5"],
            ["1.10", "1.1"],
            ["100", "1e2"],
            ["1E+2", "1000e-1"],
            ["0.001", "1e-3"],
        ] {
            assert_eq!(read(same[0]), read(same[1]));
        }
        let not = [
            "", "-", "+1", "01", "1.", ".5", "1e", "1e+", "1e1.5", "0x1", "NaN", "Infinity", " 1", "1 ",
            "1_0", "--1", "1.2.3", "1e2e3",
        ];
        for text in not {
            assert_eq!(Decimal::read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_is_the_order_of_integers_wherever_the_point_is(a in any::<i64>(), b in any::<i64>(), places in 0usize..30, zeros in 0usize..5) {
            let plain = |n: i64| read(&n.to_string());
            prop_assert_eq!(plain(a).cmp(&plain(b)), a.cmp(&b));
            let shifted = |n: i64| {
                let digits = format!("{:0>width$}", n.unsigned_abs(), width = places + 1);
                let (whole, fraction) = digits.split_at(digits.len() - places);
                let zeros = "0".repeat(zeros);
                read(&format!("{}{whole}.{fraction}{zeros}0", if n < 0 { "-" } else { "" }))
            };
            prop_assert_eq!(shifted(a).cmp(&shifted(b)), a.cmp(&b));
            prop_assert_eq!(shifted(a), read(&format!("{a}e-{places}")));
        }

        #[test]
        fn what_serde_json_reads_is_a_number(text in "-?[0-9]{1,3}(\\.[0-9]{0,3})?([eE][-+]?[0-9]{0,2})?") {
            let is_json = serde_json::from_str::<serde_json::Number>(&text).is_ok();
            prop_assert_eq!(Decimal::read(&text).is_some(), is_json, "{}", text);
        }
    }
}
