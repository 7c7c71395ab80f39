//! Several real workers behind the interface of one.

mod common;
mod support;

use std::time::Duration;

use inferpipe::{
    CacheOptions, Code, Image, Infer, InferOptions, Picture, PixelFormat, Restart, RingOptions, WorkerPool,
};
use support::{echoed_id, picture, pixels, ECHO, RGB_BYTES, SIDE};

const SLOW_ECHO: &str = "fake:echo?size=64&ms=300";

/// How many pictures each worker has had.
async fn served(pool: &WorkerPool) -> Vec<u64> {
    let count = |metrics: &serde_json::Value| metrics["slots"][0]["requests"].as_u64().unwrap();
    pool.metrics().await.unwrap().iter().map(count).collect()
}

#[tokio::test]
async fn requests_go_where_the_least_is_to_be_done() {
    let Some(config) = support::config(SLOW_ECHO) else { return };
    let pool = WorkerPool::spawn(config, 2).await.unwrap();
    let requests: Vec<_> = (0..6)
        .map(|id| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.infer(0, picture(id)).await })
        })
        .collect();
    for (id, request) in (0..).zip(requests) {
        assert_eq!(echoed_id(&request.await.unwrap().unwrap()), Some(id));
    }
    assert_eq!(served(&pool).await, [3, 3]);
    pool.close().await.unwrap();
}

#[tokio::test]
async fn a_source_stays_with_its_worker_and_sources_are_spread() {
    let Some(config) = support::config(ECHO) else { return };
    let pool = WorkerPool::spawn(config, 2).await.unwrap();
    for name in ["door", "yard", "door", "gate", "door"] {
        let options = InferOptions { source: Some(name.into()), ..InferOptions::default() };
        pool.infer_with(0, picture(1), options).await.unwrap();
    }
    // door and gate, yard
    assert_eq!(served(&pool).await, [4, 1]);
    pool.source("yard", 0, InferOptions::default()).push(picture(2)).await.unwrap();
    assert_eq!(served(&pool).await, [4, 2]);
}

#[tokio::test]
async fn a_cached_frame_is_found_in_the_worker_that_keeps_it() {
    let Some(config) = support::config(ECHO) else { return };
    let pool = WorkerPool::spawn(config, 2).await.unwrap();
    for id in 0..4 {
        let frame = Picture::raw(pixels(id), SIDE, SIDE, PixelFormat::Rgb);
        pool.cache_frame(id.into(), frame, CacheOptions::default()).await.unwrap();
    }
    for id in 0..4 {
        let source = InferOptions { source: Some("door".into()), ..InferOptions::default() };
        let result = pool.infer_with(0, Image::frame(id.into()), source).await.unwrap();
        assert_eq!(echoed_id(&result), Some(id));
    }
    assert_eq!(served(&pool).await, [2, 2]);
    pool.uncache_frame(3).await.unwrap();
    let error = pool.infer(0, Image::frame(3)).await.unwrap_err();
    assert_eq!(error.code(), Code::FrameNotCached);
}

#[tokio::test]
async fn models_are_loaded_in_every_worker() {
    let Some(config) = support::config("fake:noop?size=64") else { return };
    let pool = WorkerPool::spawn(config, 2).await.unwrap();
    let loaded = pool.load(1, ECHO).await.unwrap();
    assert_eq!(loaded.len(), 2);
    let replaced = pool.replace(0, ECHO).await.unwrap();
    assert!(replaced.iter().all(|each| each.slot.path.as_deref() == Some(ECHO)));
    pool.unload(1).await.unwrap();
    for status in pool.status().await.unwrap() {
        assert_eq!(status.slots.iter().map(|slot| slot.loaded).collect::<Vec<_>>(), [true, false]);
    }
    let error = pool.load(2, "fake:loadfail").await.unwrap_err();
    assert_eq!(error.code(), Code::ModelNotLoaded);
}

#[tokio::test]
async fn a_batch_goes_to_one_worker() {
    let Some(config) = support::config(ECHO) else { return };
    let pool = WorkerPool::spawn(config, 2).await.unwrap();
    let pictures = (0..3).map(|id| Picture::raw(pixels(id), SIDE, SIDE, PixelFormat::Rgb)).collect();
    let results = pool.infer_batch(0, pictures, InferOptions::default()).await.unwrap();
    let ids: Vec<_> = results.iter().map(|item| echoed_id(item.as_ref().unwrap())).collect();
    assert_eq!(ids, [Some(0), Some(1), Some(2)]);
}

#[tokio::test]
async fn what_has_no_room_in_any_worker_is_busy() {
    let Some(config) = support::config(SLOW_ECHO) else { return };
    let pool = WorkerPool::spawn(config.max_in_flight(1), 2).await.unwrap();
    let attempt = |id| pool.try_infer(0, picture(id), InferOptions::default());
    let (first, second) = (attempt(1).unwrap(), attempt(2).unwrap());
    assert_eq!(attempt(3).err().map(|error| error.code()), Some(Code::Busy));
    let (first, second) = tokio::join!(first, second);
    assert_eq!([echoed_id(&first.unwrap()), echoed_id(&second.unwrap())], [Some(1), Some(2)]);
}

#[tokio::test]
async fn every_worker_reads_the_pools_ring() {
    let Some(config) = support::config(ECHO) else { return };
    let pool = WorkerPool::spawn(config, 2).await.unwrap();
    let ring = pool.shared_ring(RingOptions { slots: 2, slot_bytes: RGB_BYTES }).await.unwrap();
    for (id, worker) in (1..).zip(pool.workers()) {
        let mut slot = ring.lease().await;
        slot.copy_from_slice(&pixels(id));
        let image = slot.image(SIDE, SIDE, PixelFormat::Rgb).unwrap();
        assert_eq!(echoed_id(&worker.infer(0, image).await.unwrap()), Some(id));
    }
}

#[tokio::test]
async fn recycling_every_worker_loses_nothing() {
    let Some(config) = support::config(ECHO) else { return };
    let pool = WorkerPool::spawn(config, 2).await.unwrap();
    let before: Vec<_> = pool.workers().iter().map(|worker| worker.pid()).collect();
    let load = tokio::spawn({
        let pool = pool.clone();
        async move {
            for id in (0..u16::MAX).cycle() {
                assert_eq!(echoed_id(&pool.infer(0, picture(id)).await.unwrap()), Some(id));
            }
        }
    });
    pool.recycle().await.unwrap();
    assert!(!load.is_finished(), "a request has failed");
    load.abort();
    let after: Vec<_> = pool.workers().iter().map(|worker| worker.pid()).collect();
    assert!(before.iter().all(|pid| !after.contains(pid)));
}

#[cfg(unix)]
#[tokio::test]
async fn a_worker_that_has_failed_for_good_gets_no_requests() {
    let Some(config) = support::config(ECHO) else { return };
    let pool = WorkerPool::spawn(config.restart(Restart::never()), 2).await.unwrap();
    support::kill(pool.workers()[0].pid().unwrap());
    let gone = async { while pool.workers()[0].ping().await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(5), gone).await.unwrap();
    for id in 0..4 {
        assert_eq!(echoed_id(&pool.infer(0, picture(id)).await.unwrap()), Some(id));
    }
}

#[tokio::test]
async fn signs_of_life_come_from_each_and_the_end_is_everyones() {
    let Some(config) = support::config(ECHO) else { return };
    let pool = WorkerPool::spawn(config, 2).await.unwrap();
    assert_eq!(pool.ping().await.unwrap().len(), 2);
    pool.drain().await.unwrap();
    assert_eq!(pool.infer(0, picture(1)).await.unwrap_err().code(), Code::ShuttingDown);
    pool.close().await.unwrap();
    assert_eq!(pool.infer(0, picture(1)).await.unwrap_err().code(), Code::Closed);
}

#[tokio::test]
async fn a_pool_that_cannot_be_is_refused() {
    let Some(config) = support::config(ECHO) else { return };
    let error = WorkerPool::spawn(config.clone(), 0).await.unwrap_err();
    assert_eq!(error.code(), Code::BadRequest);
    let error = WorkerPool::spawn(config.command(["/no/such/program"]), 2).await.unwrap_err();
    assert_eq!(error.code(), Code::HandshakeRefused);
}
