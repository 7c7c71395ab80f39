//! Requests in a closed loop.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{json, Value};
use tokio::task::JoinSet;

use crate::setup::Subject;
use crate::statistics::percentile_ms;
use crate::Result;

/// When a loop ends.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// After so many requests.
    Requests(u64),
    /// At this moment.
    Time(Instant),
}

/// What a loop has measured.
#[derive(Default)]
pub(crate) struct Outcome {
    /// How long each answered request took.
    pub times: Vec<Duration>,
    /// Requests that were not answered with a result.
    pub failed: u64,
    /// What the first of them said.
    pub failure: Option<String>,
    /// How long all of it took.
    pub elapsed: Duration,
}

impl Outcome {
    /// Answered requests a second.
    pub(crate) fn per_second(&self) -> f64 {
        self.times.len() as f64 / self.elapsed.as_secs_f64()
    }
}

/// Send so many requests.
pub(crate) async fn run(subject: &Arc<Subject>, requests: u64) -> Result<Value> {
    let mut outcome = closed_loop(subject, Until::Requests(requests)).await?;
    tell(&outcome);
    Ok(json!({
        "seconds": outcome.elapsed.as_secs_f64(),
        "p50Ms": percentile_ms(&mut outcome.times, 0.5),
        "p99Ms": percentile_ms(&mut outcome.times, 0.99),
        "failed": outcome.failed,
    }))
}

/// Keep requests open, as many as the setup says, each followed by the next.
pub(crate) async fn closed_loop(subject: &Arc<Subject>, until: Until) -> Result<Outcome> {
    let begin = Instant::now();
    let numbers = Arc::new(AtomicU64::new(0));
    let mut lanes = JoinSet::new();
    for _ in 0..subject.in_flight {
        lanes.spawn(lane(Arc::clone(subject), Arc::clone(&numbers), until));
    }
    let mut all = Outcome::default();
    while let Some(lane) = lanes.join_next().await {
        let lane = lane?;
        all.times.extend(lane.times);
        all.failed += lane.failed;
        all.failure = all.failure.or(lane.failure);
    }
    all.elapsed = begin.elapsed();
    Ok(all)
}

/// Say on stderr why requests have failed.
pub(crate) fn tell(outcome: &Outcome) {
    if let Some(failure) = &outcome.failure {
        eprintln!("{} requests failed, the first one so: {failure}", outcome.failed);
    }
}

async fn lane(subject: Arc<Subject>, numbers: Arc<AtomicU64>, until: Until) -> Outcome {
    let mut outcome = Outcome::default();
    loop {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let begin = Instant::now();
        let over = match until {
            Until::Requests(requests) => number >= requests,
            Until::Time(end) => begin >= end,
        };
        if over {
            return outcome;
        }
        match subject.infer(number).await {
            Ok(_) => outcome.times.push(begin.elapsed()),
            Err(error) => {
                outcome.failed += 1;
                outcome.failure.get_or_insert_with(|| error.to_string());
            }
        }
    }
}
