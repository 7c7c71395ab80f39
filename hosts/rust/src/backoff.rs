//! When a worker that died is started again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::config::Restart;

/// How much a delay may be longer or shorter: many workers that died together are not to start together.
const JITTER: f64 = 0.2;

/// Counts the restarts in a row.
#[derive(Debug)]
pub(crate) struct Backoff {
    rule: Restart,
    in_a_row: u32,
}

impl Backoff {
    pub(crate) fn new(rule: Restart) -> Self {
        Self { rule, in_a_row: 0 }
    }

    /// A process has served for so long.
    pub(crate) fn served(&mut self, time: Duration) {
        if time >= self.rule.healthy {
            self.in_a_row = 0;
        }
    }

    /// The number of the next restart, and the delay before it; `None` when there have been enough.
    pub(crate) fn next(&mut self) -> Option<(u32, Duration)> {
        if self.in_a_row >= self.rule.max_restarts {
            return None;
        }
        self.in_a_row += 1;
        let jitter = 1.0 - JITTER + 2.0 * JITTER * random();
        let delay = self.plain_delay().as_secs_f64() * jitter;
        Some((self.in_a_row, Duration::try_from_secs_f64(delay).unwrap_or(self.rule.max)))
    }

    /// The first comes at once.
    fn plain_delay(&self) -> Duration {
        let Some(times) = self.in_a_row.checked_sub(2) else { return Duration::ZERO };
        let seconds =
            self.rule.initial.as_secs_f64() * self.rule.factor.powi(times.try_into().unwrap_or(i32::MAX));
        Duration::try_from_secs_f64(seconds).unwrap_or(self.rule.max).min(self.rule.max)
    }
}

/// 0 to 1. The standard library's only source of it is the one that protects its maps.
fn random() -> f64 {
    let number = RandomState::new().hash_one(0);
    f64::from(u32::try_from(number >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_longest_and_end() {
        let rule = Restart { max: Duration::from_secs(1), max_restarts: 6, ..Restart::default() };
        let mut backoff = Backoff::new(rule);
        for (number, plain) in [(1, 0), (2, 200), (3, 400), (4, 800), (5, 1000), (6, 1000)] {
            let (attempt, delay) = backoff.next().unwrap();
            let plain = Duration::from_millis(plain);
            assert_eq!(attempt, number);
            assert!(delay >= plain.mul_f64(0.79) && delay <= plain.mul_f64(1.21), "{attempt}: {delay:?}");
        }
        assert_eq!(backoff.next(), None);
    }

    #[test]
    fn one_that_served_long_begins_the_count_anew() {
        let mut backoff = Backoff::new(Restart { max_restarts: 1, ..Restart::default() });
        assert!(backoff.next().is_some());
        backoff.served(Duration::from_secs(29));
        assert!(backoff.next().is_none());
        backoff.served(Duration::from_secs(30));
        assert_eq!(backoff.next(), Some((1, Duration::ZERO)));
    }
}
