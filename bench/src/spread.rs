//! How measured times are spread.

use std::fmt;
use std::time::Duration;

/// Times, from the shortest to the longest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread(Vec<Duration>);

impl Spread {
    /// The time that so many of a thousand don't exceed; nothing is known of no times.
    #[must_use]
    pub fn at(&self, thousandth: usize) -> Duration {
        let rank = (self.0.len() * thousandth).div_ceil(1000).max(1);
        self.0.get(rank - 1).or(self.0.last()).copied().unwrap_or_default()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// How many times as long this took as `peer`, at that place of both.
    #[must_use]
    pub fn ratio(&self, peer: &Self, thousandth: usize) -> f64 {
        self.at(thousandth).as_secs_f64() / peer.at(thousandth).as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl FromIterator<Duration> for Spread {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        let mut times: Vec<_> = times.into_iter().collect();
        times.sort_unstable();
        Self(times)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |thousandth| self.at(thousandth).as_secs_f64() * 1000.0;
        write!(f, "{:7.1} {:7.1} {:7.1} {:7.1}", ms(500), ms(900), ms(990), ms(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let spread: Spread = (1..=200).rev().map(Duration::from_millis).collect();
        let ms = |thousandth| spread.at(thousandth).as_millis();
        assert_eq!([ms(0), ms(500), ms(900), ms(990), ms(1000)], [1, 100, 180, 198, 200]);
        let twice: Spread = (1..=200).map(|n| Duration::from_millis(2 * n)).collect();
        assert!((twice.ratio(&spread, 500) - 2.0).abs() < 1e-9);
        assert_eq!(Spread::default().at(500), Duration::ZERO);
    }
}
