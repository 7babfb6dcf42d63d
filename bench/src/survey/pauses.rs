//! How long a sidecar isn't heard.

use std::time::{Duration, Instant};

/// The times between two questions to a sidecar that ended from `from` on until `to`, and what has passed since the last
/// one by then. `times` are in their order.
pub(super) fn pauses(times: &[Instant], from: Instant, to: Instant) -> impl Iterator<Item = Duration> {
    let ends = times[1.min(times.len())..].iter().copied().chain([to]);
    times.iter().zip(ends).filter(move |(_, end)| (from..=to).contains(end)).map(|(begin, end)| end - *begin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_counts_where_it_ends_and_the_last_one_lasts() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let times = [at(0), at(3), at(10), at(30)];
        let seconds = |from, to| pauses(&times, from, to).map(|pause| pause.as_secs()).collect::<Vec<_>>();
        assert_eq!(seconds(at(5), at(40)), [7, 20, 10]);
        assert_eq!(seconds(at(0), at(30)), [3, 7, 20, 0]);
        assert_eq!(pauses(&[], at(0), at(9)).count(), 0);
    }
}
