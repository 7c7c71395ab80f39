//! Every call against the real worker.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use inferpipe::{
    CacheOptions, Code, Image, Infer, InferOptions, ModelConfig, Picture, PixelFormat, Priority, Worker,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

async fn with(models: &[&str]) -> Option<Worker> {
    Some(Worker::spawn(common::fakes(models)?).await.unwrap())
}

fn numbered(number: u16) -> Bytes {
    common::numbered_picture(number, 64, 48).into()
}

fn raw(number: u16) -> Image {
    Image::raw(numbered(number), 64, 48, PixelFormat::Rgb)
}

/// What `fake:echo` has read in a picture.
fn echoed(found: &inferpipe::InferResult) -> u16 {
    u16::try_from(found.detections()[0].class_id.unwrap()).unwrap()
}

#[tokio::test]
async fn shapes_are_found_in_every_form_of_a_picture() {
    let Some(config) = common::config() else { return };
    let worker = Worker::spawn(config.model("models/shapes.onnx")).await.unwrap();
    let ready = worker.ready().unwrap();
    assert!(ready.slots[0].loaded && ready.has("shared"), "{ready:?}");
    let scene = std::fs::read(common::root().join("models/scenes/scene-2-640x480.jpg")).unwrap();
    let found = worker.infer(0, Image::encoded(scene.clone())).await.unwrap();
    assert!(found.detections().iter().any(|one| one.class_name.as_deref() == Some("ring")), "{found:?}");
    assert_eq!((found.frame_size.as_str(), found.batch_size), ("640x480", 1));
    assert!(found.timings.predict > 0.0 && found.inference_ms > 0.0);
    let file = Picture::encoded(scene.clone());
    let batch =
        worker.infer_batch(0, vec![file.clone(), file.clone()], InferOptions::default()).await.unwrap();
    let cached = worker.cache_frame(7, file, CacheOptions::default()).await.unwrap();
    assert_eq!((cached.frame_id, cached.width, cached.height), (7, 640, 480));
    let of_frame = worker.infer(0, Image::frame(7)).await.unwrap();
    for other in [batch[0].as_ref().unwrap(), batch[1].as_ref().unwrap(), &of_frame] {
        assert_eq!(other.detections(), found.detections());
    }
    let options =
        InferOptions { classes: Some(vec!["ring".into()]), max_detections: Some(1), ..Default::default() };
    let one = worker.infer_with(0, Image::frame(7), options).await.unwrap();
    assert_eq!(one.detections(), &found.detections()[..1]);
    worker.uncache_frame(7).await.unwrap();
    assert_eq!(worker.infer(0, Image::frame(7)).await.unwrap_err().code(), Code::FrameNotCached);
    worker.close().await.unwrap();
}

#[tokio::test]
async fn hundreds_at_once_are_answered_each_with_its_own() {
    let Some(worker) = with(&["fake:echo?size=64"]).await else { return };
    let asked: Vec<_> = (0..600)
        .map(|number| {
            let worker = worker.clone();
            tokio::spawn(async move { (number, worker.infer(0, raw(number)).await) })
        })
        .collect();
    for answer in asked {
        let (number, found) = answer.await.unwrap();
        assert_eq!(echoed(&found.unwrap()), number);
    }
    worker.close().await.unwrap();
}

#[tokio::test]
async fn models_come_and_go() {
    let Some(worker) = with(&["fake:noop?size=64"]).await else { return };
    let empty = worker.infer(2, raw(1)).await.unwrap_err();
    assert_eq!(empty.code(), Code::ModelNotLoaded);
    assert!(empty.answer().unwrap().answer.get("detections").is_none(), "an error looks like no result");
    let loaded = worker.load(2, "fake:echo?size=64").await.unwrap();
    assert!(loaded.slot.loaded && loaded.index == 2);
    assert_eq!(echoed(&worker.infer(2, raw(9)).await.unwrap()), 9);
    worker.replace(2, ModelConfig::new("fake:noop?size=64").set("confidence", 0.5)).await.unwrap();
    assert!(worker.infer(2, raw(9)).await.unwrap().detections().is_empty());
    let failed = worker.replace(2, "fake:loadfail").await.unwrap_err();
    assert_eq!(failed.code(), Code::ModelNotLoaded);
    assert!(worker.infer(2, raw(9)).await.is_ok(), "the old one serves on");
    assert!(worker.warmup(2, 3).await.unwrap() > Duration::ZERO);
    worker.unload(2).await.unwrap();
    assert_eq!(worker.infer(2, raw(9)).await.unwrap_err().code(), Code::ModelNotLoaded);
    let status = worker.status().await.unwrap();
    assert_eq!(status.slots.iter().map(|slot| slot.loaded).collect::<Vec<_>>(), [true, false, false]);
    worker.close().await.unwrap();
}

#[tokio::test]
async fn a_worker_tells_of_itself() {
    let Some(worker) = with(&["fake:noop?size=64"]).await else { return };
    assert!(worker.ping().await.unwrap().uptime_ms > 0.0);
    worker.infer(0, raw(1)).await.unwrap();
    let metrics = worker.metrics().await.unwrap();
    assert!(metrics.is_object(), "{metrics}");
    match worker.metrics_text().await {
        Ok(text) => assert!(text.contains("# TYPE")),
        Err(error) => assert_eq!(error.code(), Code::Unsupported),
    }
    worker.drain().await.unwrap();
    assert_eq!(worker.infer(0, raw(1)).await.unwrap_err().code(), Code::ShuttingDown);
    worker.close().await.unwrap();
}

#[tokio::test]
async fn an_item_of_a_batch_fails_for_itself() {
    let Some(worker) = with(&["fake:echo?size=64"]).await else { return };
    let good = Picture::raw(numbered(5), 64, 48, PixelFormat::Rgb);
    let broken = Picture::encoded(b"no picture".as_slice());
    let items = worker.infer_batch(0, vec![good, broken], InferOptions::default()).await.unwrap();
    assert_eq!(echoed(items[0].as_ref().unwrap()), 5);
    assert_eq!(items[1].as_ref().unwrap_err().code(), Code::DecodeFailed);
    assert!(worker.infer_batch(0, Vec::new(), InferOptions::default()).await.unwrap().is_empty());
    let many = vec![Picture::raw(vec![0; 3], 1, 1, PixelFormat::Rgb); 256];
    assert_eq!(
        worker.infer_batch(0, many, InferOptions::default()).await.unwrap_err().code(),
        Code::BadRequest
    );
    worker.close().await.unwrap();
}

#[tokio::test]
async fn every_option_of_the_wire_is_one_that_the_worker_knows() {
    let Some(worker) = with(&["fake:echo?size=64&labels=a,b,c"]).await else { return };
    let options = InferOptions {
        confidence: Some(0.5),
        iou: Some(0.3),
        classes: Some(vec![1.into(), "c".into()]),
        max_detections: Some(5),
        agnostic: true,
        roi: Some([0, 0, 64, 48]),
        exif: true,
        color_space: Some(inferpipe::ColorSpace::Bt709),
        deadline_ms: Some(60_000.0),
        priority: Some(Priority::High),
        source: Some("Tür 2".into()),
        supersede: true,
        batch_hint: Some(2),
        batch_hint_ms: Some(0.5),
        ..InferOptions::default()
    };
    assert_eq!(echoed(&worker.infer_with(0, raw(2), options).await.unwrap()), 2);
    worker.load(1, "fake:sleep?size=64&ms=100").await.unwrap();
    // Two are prepared at once, in no certain order: one of these is always before the one with the deadline.
    let before: Vec<_> = (0..4).map(|_| worker.infer(1, raw(1))).collect();
    let late = InferOptions { deadline_ms: Some(20.0), ..InferOptions::default() };
    let late = async {
        tokio::task::yield_now().await;
        worker.infer_with(1, raw(2), late).await
    };
    let (before, late) = tokio::join!(futures_util::future::join_all(before), late);
    assert!(before.iter().all(Result::is_ok));
    assert_eq!(late.unwrap_err().code(), Code::DeadlineExceeded);
    worker.close().await.unwrap();
}

#[tokio::test]
async fn calls_are_given_up_by_token_and_by_the_clock() {
    // The first never answers: nothing of what is given up here has waited for it.
    let Some(worker) = with(&["fake:hang?size=64", "fake:noop?size=64"]).await else { return };
    let token = CancellationToken::new();
    let options = InferOptions { cancel: Some(token.clone()), ..InferOptions::default() };
    let cancelled = worker.infer_with(0, raw(1), options.clone());
    let cancel = async {
        worker.ping().await.unwrap(); // the request is written: commands pass nothing that is
        token.cancel();
    };
    assert_eq!(tokio::join!(cancelled, cancel).0.unwrap_err().code(), Code::Cancelled);
    assert_eq!(worker.infer_with(0, raw(1), options).await.unwrap_err().code(), Code::Cancelled);
    let short = InferOptions { timeout: Some(Duration::from_millis(30)), ..InferOptions::default() };
    assert_eq!(worker.infer_with(0, raw(1), short.clone()).await.unwrap_err().code(), Code::TimedOut);
    let late = worker.try_infer(0, raw(1), short).unwrap();
    assert_eq!(late.await.unwrap_err().code(), Code::TimedOut);
    assert!(worker.infer(1, raw(1)).await.is_ok());
    worker.kill();
}

#[tokio::test]
async fn what_was_given_up_spends_no_predict() {
    let Some(worker) = with(&["fake:sleep?size=64&ms=300"]).await else { return };
    let running = tokio::spawn({
        let worker = worker.clone();
        async move { worker.infer(0, raw(1)).await }
    });
    while worker.try_infer(0, raw(1), InferOptions::default()).is_err() {
        tokio::task::yield_now().await;
    }
    // Each of these is dropped at once; the worker would need a minute for all of them.
    for number in 0..200 {
        drop(worker.try_infer(0, raw(number), InferOptions::default()));
    }
    let started = Instant::now();
    running.await.unwrap().unwrap();
    worker.infer(0, raw(1)).await.unwrap();
    assert!(started.elapsed() < common::PATIENCE, "{:?}", started.elapsed());
    worker.close().await.unwrap();
}

#[tokio::test]
async fn a_budget_holds_back_and_says_so() {
    let Some(config) = common::fakes(&["fake:sleep?size=64&ms=100"]) else { return };
    let worker = Worker::spawn(config.max_in_flight(2)).await.unwrap();
    let (one, two) =
        (worker.try_infer(0, raw(1), Default::default()), worker.try_infer(0, raw(1), Default::default()));
    // The second one waits for the pipe, or for nothing at all: it is in either case within the budget.
    let mut taken = usize::from(one.is_ok()) + usize::from(two.is_ok());
    let mut open: Vec<_> = [one, two].into_iter().flatten().map(tokio::spawn).collect();
    while taken < 2 {
        tokio::task::yield_now().await;
        if let Ok(another) = worker.try_infer(0, raw(1), Default::default()) {
            open.push(tokio::spawn(another));
            taken += 1;
        }
    }
    tokio::task::yield_now().await;
    let busy = worker.try_infer(0, raw(1), Default::default()).err().unwrap();
    assert_eq!(busy.code(), Code::Busy);
    assert!(worker.ping().await.is_ok(), "commands are read all the same");
    assert!(worker.infer(0, raw(1)).await.is_ok(), "who waits gets room");
    for one in open {
        one.await.unwrap().unwrap();
    }
    worker.close().await.unwrap();
}

#[tokio::test]
async fn a_worker_below_its_own_limit_always_reads_commands() {
    let Some(config) = common::fakes(&["fake:hang?size=64"]) else { return };
    let limits: Value = serde_json::json!({"maxInFlight": 4});
    let worker = Worker::spawn(config.set("limits", limits)).await.unwrap();
    let open: Vec<_> = (0..40)
        .map(|_| {
            let worker = worker.clone();
            tokio::spawn(async move { worker.infer(0, raw(1)).await })
        })
        .collect();
    tokio::task::yield_now().await;
    // None of them is ever answered: a command behind more than the worker takes would not be either.
    tokio::time::timeout(common::PATIENCE, worker.ping()).await.unwrap().unwrap();
    worker.kill();
    for one in open {
        let code = one.await.unwrap().unwrap_err().code();
        assert!(matches!(code, Code::WorkerDied | Code::Closed), "{code}"); // written, and not
    }
}

#[tokio::test]
async fn large_packets_and_large_answers_pass() {
    let Some(config) = common::fakes(&[]) else { return };
    let raw_model = ModelConfig::new("fake:noop?size=640").set("postprocessor", "raw");
    let worker = Arc::new(Worker::spawn(config.model(raw_model)).await.unwrap());
    let pixels = Bytes::from(vec![0; 3840 * 2160 * 3]);
    let open: Vec<_> = (0..6)
        .map(|_| {
            let (worker, image) = (worker.clone(), Image::raw(pixels.clone(), 3840, 2160, PixelFormat::Rgb));
            tokio::spawn(async move { worker.infer(0, image).await })
        })
        .collect();
    for one in open {
        let found = one.await.unwrap().unwrap();
        let inferpipe::Output::Raw(raw) = &found.output else { panic!("{found:?}") };
        assert_eq!(raw.tensors["output0"].data.len(), 300 * 6 * 4);
    }
    worker.close().await.unwrap();
}

/// What is written for both kinds of worker.
async fn through<I: Infer>(any: &I) {
    assert_eq!(echoed(&any.infer(0, raw(3)).await.unwrap()), 3);
    let waited = any.try_infer(0, raw(4), InferOptions::default()).unwrap();
    assert_eq!(echoed(&waited.await.unwrap()), 4);
}

#[tokio::test]
async fn a_worker_is_one_of_those_that_infer() {
    let Some(worker) = with(&["fake:echo?size=64"]).await else { return };
    through(&worker).await;
    Infer::close(&worker).await.unwrap();
}
