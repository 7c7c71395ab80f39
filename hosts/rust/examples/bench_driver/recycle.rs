//! Requests while one worker after another takes the place of the last.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{json, Value};
use tokio::time::{interval_at, MissedTickBehavior};

use crate::load::{closed_loop, tell, Until};
use crate::setup::Subject;
use crate::statistics::percentile_ms;
use crate::Result;

/// What is to be done.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Recycle {
    /// How long the worker is recycled again and again.
    seconds: f64,
    /// From one recycle to the next.
    every_ms: u64,
    /// How long it is left in peace before.
    calm_seconds: f64,
}

/// Measure in peace, then while the worker is recycled.
pub(crate) async fn run(subject: &Arc<Subject>, order: Recycle) -> Result<Value> {
    let calm_end = Instant::now() + Duration::from_secs_f64(order.calm_seconds);
    let mut calm = closed_loop(subject, Until::Time(calm_end)).await?;

    let end = Instant::now() + Duration::from_secs_f64(order.seconds);
    let every = Duration::from_millis(order.every_ms);
    let (outcome, recycles) =
        tokio::join!(closed_loop(subject, Until::Time(end)), recycle(subject, every, end));
    let mut outcome = outcome?;
    tell(&outcome);
    Ok(json!({
        "failed": calm.failed + outcome.failed,
        "recycles": recycles?,
        "answered": outcome.times.len(),
        "calmPerSecond": calm.per_second(),
        "perSecond": outcome.per_second(),
        "calmP99Ms": percentile_ms(&mut calm.times, 0.99),
        "p99Ms": percentile_ms(&mut outcome.times, 0.99),
    }))
}

/// Recycle until a moment, and return how often that was.
async fn recycle(subject: &Subject, every: Duration, end: Instant) -> Result<u64> {
    let mut ticks = interval_at(tokio::time::Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut recycles = 0;
    while ticks.tick().await.into_std() < end {
        subject.worker.recycle().await?;
        recycles += 1;
    }
    Ok(recycles)
}
