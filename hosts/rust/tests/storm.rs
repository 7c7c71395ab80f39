//! Requests while their worker is killed again and again.
#![cfg(unix)]

mod common;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{echoed, raw, signal, watched, PATIENCE};
use inferpipe::{Code, Event, InferOptions, Worker};
use rustix::process::Signal;

const LANES: u32 = 8;

/// How many requests, and how many kills among them.
fn size() -> (u32, u32) {
    match std::env::var_os("INFERPIPE_LONG") {
        Some(_) => (10_000, 20),
        None => (1_200, 3),
    }
}

#[derive(Default)]
struct Outcome {
    answered: u32,
    rejected: u32,
    wrong: u32,
    slowest_rejection: Duration,
}

/// Sends so many requests in a closed loop, and kills the process whenever another share of them is done.
async fn storm(retries: u32) -> Option<Outcome> {
    let (requests, kills) = size();
    let config = common::fakes(&["fake:echo?size=64&ms=1"])?;
    let (config, mut seen) = watched(config.restart(common::quick_restart()));
    let worker = Worker::spawn(config).await.unwrap();
    let next = Arc::new(AtomicU32::new(0));
    let outcome = Arc::new(Mutex::new(Outcome::default()));
    let killed_at = Arc::new(Mutex::new(Instant::now()));
    let done = Arc::new(AtomicBool::new(false));
    let lanes: Vec<_> = (0..LANES)
        .map(|_| {
            let (worker, next, outcome, killed_at) =
                (worker.clone(), next.clone(), outcome.clone(), killed_at.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= requests {
                        return;
                    }
                    let number = u16::try_from(number % 60_000).unwrap();
                    let options = InferOptions { retries, ..InferOptions::default() };
                    let answer = worker.infer_with(0, raw(number), options).await;
                    let mut outcome = outcome.lock().unwrap();
                    match answer {
                        Ok(found) if echoed(&found) == number => outcome.answered += 1,
                        Ok(_) => outcome.wrong += 1,
                        Err(error) => {
                            assert_eq!(error.code(), Code::WorkerDied, "{error}");
                            outcome.rejected += 1;
                            let late = killed_at.lock().unwrap().elapsed();
                            outcome.slowest_rejection = outcome.slowest_rejection.max(late);
                        }
                    }
                }
            })
        })
        .collect();
    let killer = {
        let (worker, next, done) = (worker.clone(), next.clone(), done.clone());
        tokio::spawn(async move {
            for kill in 1..=kills {
                seen.until(|event| matches!(event, Event::Ready { .. })).await;
                while next.load(Ordering::Relaxed) < requests * kill / (kills + 1) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let pid = worker.pid().expect("it was ready");
                *killed_at.lock().unwrap() = Instant::now();
                signal(pid, Signal::KILL);
            }
            done.store(true, Ordering::Relaxed);
        })
    };
    for lane in lanes {
        lane.await.unwrap();
    }
    killer.await.unwrap();
    assert!(done.load(Ordering::Relaxed));
    worker.close().await.unwrap();
    Arc::into_inner(outcome).map(|outcome| outcome.into_inner().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_retries_every_request_is_answered_right() {
    let Some(outcome) = storm(100).await else { return };
    assert_eq!((outcome.answered, outcome.rejected, outcome.wrong), (size().0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_retries_what_is_in_flight_is_rejected_at_once() {
    let Some(outcome) = storm(0).await else { return };
    let (requests, kills) = size();
    assert_eq!((outcome.answered + outcome.rejected, outcome.wrong), (requests, 0));
    assert!(outcome.rejected <= LANES * kills, "{} were rejected", outcome.rejected);
    assert!(outcome.slowest_rejection < PATIENCE, "{:?}", outcome.slowest_rejection);
}
