//! One process after another: what is restored, and how a worker ends.
#![cfg(unix)]

mod common;

use std::time::{Duration, Instant};

use common::{echoed, exists, numbered_picture, pid_of, raw, signal, watched, PATIENCE};
use inferpipe::{CacheOptions, Code, Event, Image, InferOptions, Picture, PixelFormat, Reason, Worker};
use rustix::process::Signal;
use tokio::time::timeout;
use tokio_stream::StreamExt;

fn picture(number: u16) -> Picture {
    Picture::raw(numbered_picture(number, 64, 48), 64, 48, PixelFormat::Rgb)
}

async fn kill_and_wait(worker: &Worker, seen: &mut common::Seen, next: u64) {
    signal(pid_of(worker), Signal::KILL);
    seen.until(|event| matches!(event, Event::Ready { generation, .. } if *generation == next)).await;
}

#[tokio::test]
async fn the_next_process_has_models_and_frames_as_they_were() {
    let Some(config) = common::fakes(&["fake:noop?size=64", "fake:noop?size=64"]) else { return };
    let (config, mut seen) = watched(config);
    let worker = Worker::spawn(config).await.unwrap();
    worker.replace(0, "fake:echo?size=64").await.unwrap();
    worker.unload(1).await.unwrap();
    worker.load(3, "fake:echo?size=64").await.unwrap();
    assert!(worker.load(4, "fake:loadfail").await.is_err());
    worker.cache_frame(10, picture(10), CacheOptions::default()).await.unwrap();
    worker.cache_frame(11, picture(11), CacheOptions { restore: false, ..Default::default() }).await.unwrap();
    worker.cache_frame(12, picture(12), CacheOptions::default()).await.unwrap();
    worker.uncache_frame(12).await.unwrap();
    for next in 2..=3 {
        kill_and_wait(&worker, &mut seen, next).await;
        assert_eq!(echoed(&worker.infer(0, Image::frame(10)).await.unwrap()), 10);
        assert_eq!(echoed(&worker.infer(3, raw(3)).await.unwrap()), 3);
        for gone in [11, 12] {
            let error = worker.infer(0, Image::frame(gone)).await.unwrap_err();
            assert_eq!(error.code(), Code::FrameNotCached);
        }
        let loaded: Vec<bool> = worker.status().await.unwrap().slots.iter().map(|slot| slot.loaded).collect();
        assert_eq!(loaded, [true, false, false, true]);
    }
    worker.close().await.unwrap();
}

#[tokio::test]
async fn the_default_model_is_restored() {
    let Some(config) = common::config() else { return };
    let (config, mut seen) = watched(config.model("models/shapes.onnx"));
    let worker = Worker::spawn(config).await.unwrap();
    let scene = std::fs::read(common::root().join("models/scenes/scene-6-640x640.jpg")).unwrap();
    let before = worker.infer(0, Image::encoded(scene.clone())).await.unwrap();
    kill_and_wait(&worker, &mut seen, 2).await;
    assert_eq!(worker.infer(0, Image::encoded(scene)).await.unwrap().detections(), before.detections());
    worker.close().await.unwrap();
}

#[tokio::test]
async fn close_answers_what_is_in_flight_and_refuses_the_rest() {
    let Some(config) = common::fakes(&["fake:sleep?size=64&ms=150"]) else { return };
    let worker = Worker::spawn(config.max_in_flight(2)).await.unwrap();
    let pid = pid_of(&worker);
    let open: Vec<_> = (0..6)
        .map(|_| {
            let worker = worker.clone();
            tokio::spawn(async move { worker.infer(0, raw(1)).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let closing = worker.close();
    let late = async {
        tokio::task::yield_now().await;
        worker.infer(0, raw(1)).await
    };
    let (closed, late) = tokio::join!(closing, late);
    closed.unwrap();
    assert_eq!(late.unwrap_err().code(), Code::Closed);
    for one in open {
        assert!(one.await.unwrap().is_ok(), "it came before");
    }
    assert!(!exists(pid), "it is reaped when close returns");
    worker.close().await.unwrap();
    assert_eq!(worker.recycle().await.unwrap_err().code(), Code::Closed);
    assert_eq!(worker.load(0, "fake:noop").await.unwrap_err().code(), Code::Closed);
}

#[tokio::test]
async fn close_does_not_wait_for_ever() {
    let Some(config) = common::fakes(&["fake:hang?size=64"]) else { return };
    let config = config.set("limits", serde_json::json!({"drainTimeoutMs": 300}));
    let worker = Worker::spawn(config).await.unwrap();
    let pid = pid_of(&worker);
    let open = tokio::spawn({
        let worker = worker.clone();
        async move { worker.infer(0, raw(1)).await }
    });
    worker.ping().await.unwrap();
    let started = Instant::now();
    worker.close().await.unwrap();
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    assert_eq!(open.await.unwrap().unwrap_err().code(), Code::ShuttingDown);
    assert!(!exists(pid));
}

#[tokio::test]
async fn close_ends_one_that_is_stopped() {
    let Some(config) = common::fakes(&["fake:noop?size=64"]) else { return };
    let config = config.set("limits", serde_json::json!({"drainTimeoutMs": 200}));
    let worker = Worker::spawn(config).await.unwrap();
    let pid = pid_of(&worker);
    signal(pid, Signal::STOP);
    timeout(PATIENCE, worker.close()).await.unwrap().unwrap();
    assert!(!exists(pid));
}

#[tokio::test]
async fn a_kill_and_a_drop_end_the_process_at_once() {
    let Some(config) = common::fakes(&["fake:hang?size=64"]) else { return };
    let (config, mut seen) = watched(config);
    let worker = Worker::spawn(config).await.unwrap();
    let open = tokio::spawn({
        let worker = worker.clone();
        async move { worker.infer(0, raw(1)).await }
    });
    worker.ping().await.unwrap();
    worker.kill();
    let error = open.await.unwrap().unwrap_err();
    assert_eq!((error.code(), &error.death().unwrap().reason), (Code::WorkerDied, &Reason::Killed));
    assert_eq!(worker.infer(0, raw(1)).await.unwrap_err().code(), Code::Closed);
    worker.close().await.unwrap();
    let story = seen.until(|event| matches!(event, Event::Exit(_))).await;
    assert_eq!(common::names(&story), ["ready 1", "exit 1 killed"], "nothing is restarted");

    let Some(config) = common::fakes(&["fake:noop?size=64"]) else { return };
    let (config, mut seen) = watched(config);
    let worker = Worker::spawn(config).await.unwrap();
    let pid = pid_of(&worker);
    drop(worker);
    seen.until(|event| matches!(event, Event::Exit(death) if death.reason == Reason::Killed)).await;
    assert!(!exists(pid));
}

#[tokio::test]
async fn close_during_an_outage_ends_it() {
    let Some(config) = common::fakes(&["fake:noop?size=64"]) else { return };
    let Some(config) = common::never_again(config, "outage") else { return };
    let (config, mut seen) = watched(config);
    let worker = Worker::spawn(config).await.unwrap();
    signal(pid_of(&worker), Signal::KILL);
    seen.until(|event| matches!(event, Event::Restart { .. })).await;
    let waiting = tokio::spawn({
        let worker = worker.clone();
        async move { worker.infer(0, raw(1)).await }
    });
    tokio::task::yield_now().await;
    timeout(PATIENCE, worker.close()).await.unwrap().unwrap();
    assert_eq!(waiting.await.unwrap().unwrap_err().code(), Code::WorkerDied);
}

#[test]
fn a_runtime_that_ends_leaves_no_process_and_no_zombie() {
    let Some(config) = common::fakes(&["fake:noop?size=64"]) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let worker = runtime.block_on(Worker::spawn(config)).unwrap();
    let pid = pid_of(&worker);
    drop(runtime);
    let started = Instant::now();
    while exists(pid) {
        assert!(started.elapsed() < PATIENCE, "it is still there");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(worker);
}

#[tokio::test]
async fn events_can_be_had_as_a_stream() {
    let Some(config) = common::fakes(&["fake:noop?size=64"]) else { return };
    let worker = Worker::spawn(config).await.unwrap();
    let mut events = worker.events();
    worker.close().await.unwrap();
    let found = async {
        loop {
            if let Some(Event::Exit(death)) = events.next().await {
                return death;
            }
        }
    };
    assert_eq!(timeout(PATIENCE, found).await.unwrap().reason, Reason::Closed);
}

#[tokio::test]
async fn frames_beyond_the_workers_budget_are_not_kept_for_it() {
    let Some(config) = common::fakes(&["fake:echo?size=64"]) else { return };
    // Room for three pictures of 64 by 48, and what else the worker keeps of them.
    let config = config.set("limits", serde_json::json!({"frameCacheBytes": 4 * 64 * 48 * 3}));
    let (config, mut seen) = watched(config);
    let worker = Worker::spawn(config).await.unwrap();
    for number in 1..=9 {
        worker.cache_frame(u32::from(number), picture(number), CacheOptions::default()).await.unwrap();
    }
    kill_and_wait(&worker, &mut seen, 2).await;
    let options = InferOptions::default;
    assert_eq!(
        worker.infer_with(0, Image::frame(1), options()).await.unwrap_err().code(),
        Code::FrameNotCached
    );
    assert_eq!(echoed(&worker.infer_with(0, Image::frame(9), options()).await.unwrap()), 9);
    worker.close().await.unwrap();
}
