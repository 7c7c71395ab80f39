//! A process that takes another one's place while that serves.
#![cfg(unix)]

mod common;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::Arc;
use std::time::Duration;

use common::{echoed, exists, numbered_picture, pid_of, raw, signal, watched};
use inferpipe::{CacheOptions, Code, Event, Image, InferOptions, Picture, PixelFormat, Reason, Worker};
use rustix::process::Signal;

fn picture(number: u16) -> Picture {
    Picture::raw(numbered_picture(number, 64, 48), 64, 48, PixelFormat::Rgb)
}

#[tokio::test]
async fn a_recycle_under_load_loses_nothing() {
    let Some(config) = common::fakes(&["fake:echo?size=64&ms=2"]) else { return };
    let (config, mut seen) = watched(config.set("concurrency", 2));
    let worker = Worker::spawn(config).await.unwrap();
    worker.cache_frame(77, picture(77), CacheOptions::default()).await.unwrap();
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let load: Vec<_> = (0..8_u16)
        .map(|lane| {
            let (worker, stop, answered) = (worker.clone(), stop.clone(), answered.clone());
            tokio::spawn(async move {
                let mut number = lane;
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(echoed(&worker.infer(0, raw(number)).await.unwrap()), number);
                    assert_eq!(echoed(&worker.infer(0, Image::frame(77)).await.unwrap()), 77);
                    answered.fetch_add(2, Ordering::Relaxed);
                    number += 8;
                }
            })
        })
        .collect();
    let mut pids = vec![pid_of(&worker)];
    for _ in 0..3 {
        worker.recycle().await.unwrap();
        pids.push(pid_of(&worker));
        let before = answered.load(Ordering::Relaxed);
        while answered.load(Ordering::Relaxed) < before + 50 {
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for lane in load {
        lane.await.unwrap();
    }
    let last = |event: &Event| matches!(event, Event::Exit(death) if death.generation == 3);
    let story = common::names(&seen.until(last).await);
    assert!(story.contains(&"exit 3 recycled".to_owned()), "{story:?}");
    worker.close().await.unwrap();
    assert!(pids.iter().all(|pid| !exists(*pid)));
    pids.dedup();
    assert_eq!(pids.len(), 4);
}

#[tokio::test]
async fn changes_wait_for_a_recycle_and_are_not_lost() {
    let Some(config) = common::fakes(&["fake:noop?size=64&load_ms=400"]) else { return };
    let worker = Worker::spawn(config).await.unwrap();
    let before = pid_of(&worker);
    let recycle = worker.recycle();
    let changes = async {
        tokio::task::yield_now().await;
        worker.load(1, "fake:echo?size=64").await.unwrap();
        assert_ne!(pid_of(&worker), before, "it was loaded into the old one");
        worker.cache_frame(1, picture(1), CacheOptions::default()).await.unwrap();
    };
    tokio::join!(async { recycle.await.unwrap() }, changes);
    assert_eq!(echoed(&worker.infer(1, Image::frame(1)).await.unwrap()), 1);
    worker.close().await.unwrap();
}

#[tokio::test]
async fn a_recycle_that_fails_leaves_the_old_one_serving() {
    let Some(config) = common::config() else { return };
    let folder = std::env::temp_dir().join(format!("inferpipe-recycle-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let model = folder.join("shapes.onnx");
    std::fs::copy(common::root().join("models/shapes.onnx"), &model).unwrap();
    let (config, mut seen) = watched(config.model(model.to_str().unwrap()));
    let worker = Worker::spawn(config).await.unwrap();
    let pid = pid_of(&worker);
    std::fs::remove_dir_all(&folder).unwrap();
    let error = worker.recycle().await.unwrap_err();
    assert_eq!(error.code(), Code::ModelNotLoaded, "{error}");
    seen.until(|event| matches!(event, Event::Exit(death) if death.generation == 2)).await;
    assert_eq!(pid_of(&worker), pid);
    assert!(worker.infer(0, raw(1)).await.is_ok());
    worker.close().await.unwrap();
}

#[tokio::test]
async fn a_worker_that_dies_during_its_recycle_is_replaced_once() {
    let Some(config) = common::fakes(&["fake:echo?size=64&load_ms=300"]) else { return };
    let (config, mut seen) = watched(config);
    let worker = Worker::spawn(config).await.unwrap();
    let pid = pid_of(&worker);
    let recycle = worker.recycle();
    let death = async {
        tokio::task::yield_now().await;
        signal(pid, Signal::KILL);
        let options = InferOptions { retries: 1, ..InferOptions::default() };
        assert_eq!(echoed(&worker.infer_with(0, raw(5), options).await.unwrap()), 5);
    };
    tokio::join!(async { recycle.await.unwrap() }, death);
    worker.close().await.unwrap();
    let story = common::names(&seen.rest());
    let exits: Vec<_> = story.iter().filter(|name| name.starts_with("exit")).collect();
    let closed = exits.iter().filter(|name| name.ends_with("closed")).count();
    assert!(story.contains(&"exit 1 exited".to_owned()) && closed == 1, "{story:?}");
    assert!(exits.len() <= 3, "one died, one of two that were started may be too many: {story:?}");
}

#[tokio::test]
async fn one_that_is_old_or_large_is_recycled_by_itself() {
    let Some(config) = common::fakes(&["fake:noop?size=64"]) else { return };
    let often = Duration::from_millis(100);
    let (old, mut seen_old) = watched(config.clone().heartbeat(often).max_age(Duration::from_millis(300)));
    let (large, mut seen_large) = watched(config.heartbeat(often).max_rss_bytes(1 << 20));
    let (old, large) = (Worker::spawn(old).await.unwrap(), Worker::spawn(large).await.unwrap());
    for seen in [&mut seen_old, &mut seen_large] {
        seen.until(|event| matches!(event, Event::Exit(death) if death.reason == Reason::Recycled)).await;
    }
    for worker in [old, large] {
        assert!(worker.infer(0, raw(1)).await.is_ok());
        worker.close().await.unwrap();
    }
}

#[tokio::test]
async fn close_during_a_recycle_ends_it() {
    let Some(config) = common::fakes(&["fake:noop?size=64"]) else { return };
    let Some(config) = common::never_again(config, "recycle-closed") else { return };
    let (config, mut seen) = watched(config);
    let worker = Worker::spawn(config).await.unwrap();
    let close = async {
        tokio::task::yield_now().await;
        worker.close().await
    };
    let both = async { tokio::join!(worker.recycle(), close) };
    let (recycled, closed) = tokio::time::timeout(common::PATIENCE, both).await.unwrap();
    closed.unwrap();
    assert_eq!(recycled.unwrap_err().code(), Code::Closed);
    let killed = |event: &Event| matches!(event, Event::Exit(death) if death.generation == 2);
    seen.until(killed).await;
}
