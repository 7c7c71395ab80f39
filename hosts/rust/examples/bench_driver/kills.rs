//! Requests while the worker is killed at random moments, every answer held against its picture.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use inferpipe::{Code, InferOptions, InferResult, Worker};
use serde::Deserialize;
use serde_json::{json, Value};
use tokio::sync::{mpsc, Notify};
use tokio::task::JoinSet;

use crate::inputs::Inputs;
use crate::setup::Subject;
use crate::statistics::milliseconds;
use crate::Result;

/// The longest pause between the moment drawn for a kill and the kill.
const MAX_PAUSE_MS: f64 = 20.0;

/// What is to be done.
#[derive(Deserialize)]
pub(crate) struct Kills {
    /// How many requests there are in all.
    requests: u64,
    /// How often the worker is killed meanwhile.
    kills: usize,
    /// How often the library may send a request again.
    retries: u32,
}

/// What became of the requests.
#[derive(Default)]
struct Tally {
    answered: u64,
    rejected: u64,
    /// Answered, but not for the picture that was sent.
    wrong: u64,
    slowest_rejection: Duration,
    /// What the first one said.
    rejection: Option<String>,
}

/// What the lanes and the killer have in common.
struct Trial {
    worker: Worker,
    inputs: Inputs,
    order: Kills,
    started: AtomicU64,
    /// Told of every request that starts.
    start: Notify,
    epoch: Mutex<Epoch>,
}

/// The time from one kill to the next.
struct Epoch {
    /// When the last kill was.
    begin: Instant,
    /// Each request that was sent in this time holds a clone.
    open: mpsc::Sender<()>,
}

/// Send so many requests, and kill the worker so often.
pub(crate) async fn run(subject: &Arc<Subject>, order: Kills) -> Result<Value> {
    let (open, requests) = mpsc::channel(1);
    let trial = Arc::new(Trial {
        worker: subject.worker.clone(),
        inputs: subject.varied_inputs().await?,
        order,
        started: AtomicU64::new(0),
        start: Notify::new(),
        epoch: Mutex::new(Epoch { begin: Instant::now(), open }),
    });
    let mut lanes = JoinSet::new();
    for _ in 0..subject.in_flight {
        lanes.spawn(lane(Arc::clone(&trial)));
    }
    trial.kill_all(requests).await?;
    let mut all = Tally::default();
    while let Some(tally) = lanes.join_next().await {
        let tally = tally??;
        all.answered += tally.answered;
        all.rejected += tally.rejected;
        all.wrong += tally.wrong;
        all.slowest_rejection = all.slowest_rejection.max(tally.slowest_rejection);
        all.rejection = all.rejection.or(tally.rejection);
    }
    if let Some(rejection) = all.rejection {
        eprintln!("{} requests were rejected, one so: {rejection}", all.rejected);
    }
    Ok(json!({
        "answered": all.answered,
        "rejected": all.rejected,
        "wrong": all.wrong,
        "slowestRejectionMs": milliseconds(all.slowest_rejection),
    }))
}

/// Send one request after another.
async fn lane(trial: Arc<Trial>) -> Result<Tally> {
    let mut tally = Tally::default();
    loop {
        let number = trial.started.fetch_add(1, Ordering::Relaxed);
        if number >= trial.order.requests {
            return Ok(tally);
        }
        trial.start.notify_one();
        let (image, id) = trial.inputs.next(number).await?;
        let options = InferOptions { retries: trial.order.retries, ..InferOptions::default() };
        let open = trial.epoch().open.clone();
        match trial.worker.infer_with(0, image, options).await {
            Ok(result) if carries(&result, id) => tally.answered += 1,
            Ok(_) => tally.wrong += 1,
            Err(error) => {
                // The next kill waits for this request, so the last one is the one that it died of.
                tally.slowest_rejection = tally.slowest_rejection.max(trial.epoch().begin.elapsed());
                tally.rejected += 1;
                tally.rejection.get_or_insert_with(|| error.to_string());
            }
        }
        drop(open);
    }
}

/// `fake:echo` answers with one object, whose class is the number that the picture carries.
fn carries(result: &InferResult, id: u16) -> bool {
    matches!(result.detections(), [object] if object.class_id == Some(i64::from(id)))
}

impl Trial {
    fn epoch(&self) -> MutexGuard<'_, Epoch> {
        self.epoch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kill at moments that are spread over the requests at random.
    async fn kill_all(&self, mut requests: mpsc::Receiver<()>) -> Result<()> {
        let mut moments: Vec<u64> =
            (0..self.order.kills).map(|_| fastrand::u64(0..self.order.requests.max(1))).collect();
        moments.sort_unstable();
        for moment in moments {
            while self.started.load(Ordering::Relaxed) < moment {
                self.start.notified().await;
            }
            tokio::time::sleep(Duration::from_secs_f64(fastrand::f64() * MAX_PAUSE_MS / 1000.0)).await;
            requests = self.kill(requests).await?;
        }
        Ok(())
    }

    /// Kill the process that serves, and wait until every request of its time has ended and another serves.
    async fn kill(&self, mut requests: mpsc::Receiver<()>) -> Result<mpsc::Receiver<()>> {
        let pid = self.worker.pid().ok_or("no worker to kill")?;
        let (open, later_requests) = mpsc::channel(1);
        {
            let mut epoch = self.epoch();
            kill_process(pid)?;
            *epoch = Epoch { begin: Instant::now(), open };
        }
        while requests.recv().await.is_some() {}
        // A ping that is written before the death is seen goes with it; the next one waits for the next process.
        while let Err(error) = self.worker.ping().await {
            if error.code() != Code::WorkerDied {
                return Err(error.into());
            }
        }
        Ok(later_requests)
    }
}

#[cfg(unix)]
fn kill_process(pid: u32) -> Result<()> {
    use rustix::process::{kill_process, Pid, Signal};
    let pid = Pid::from_raw(i32::try_from(pid)?).ok_or("no process has the id 0")?;
    Ok(kill_process(pid, Signal::KILL)?)
}

#[cfg(not(unix))]
fn kill_process(_pid: u32) -> Result<()> {
    Err("unsupported".into())
}
