//! What a run took.

use std::time::Duration;

/// Return what `share` of the times, 0 to 1, do not exceed, in milliseconds; 0 of none.
pub(crate) fn percentile_ms(times: &mut [Duration], share: f64) -> f64 {
    if times.is_empty() {
        return 0.0;
    }
    let index = ((times.len() - 1) as f64 * share).round() as usize;
    let (_, time, _) = times.select_nth_unstable(index);
    milliseconds(*time)
}

/// Return a duration in milliseconds.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
