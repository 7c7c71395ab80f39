//! How streams begin, go on beside each other, and end.

use std::time::{Duration, Instant};

use inferpipe::{
    Code, EndReason, Event, Infer, InferOptions, StreamEvent, StreamOptions, StreamSource, Worker, WorkerPool,
};
use rustix::process::Signal;
use serde_json::json;
use tokio::time::timeout;
use tokio_stream::StreamExt;

use crate::common::{self, exists, pid_of, signal, watched};
use crate::told::{clip, narrow, noop, open, push, rest, upload, upload_much, with, CREDIT, NOISE};

#[tokio::test]
async fn what_cannot_be_opened_is_told_at_once() {
    let Some(config) = common::fakes(&["fake:noop?size=64"]) else { return };
    let worker = Worker::spawn(config.set("limits", json!({"maxStreams": 1}))).await.unwrap();
    let every_zeroth = StreamOptions { every_nth: Some(0), ..StreamOptions::default() };
    let refused = [
        (worker.open_stream(StreamSource::Push, &[7], StreamOptions::default()).await, Code::ModelNotLoaded),
        (worker.open_stream(StreamSource::Push, &[0], every_zeroth).await, Code::BadRequest),
    ];
    for (opened, code) in refused {
        assert_eq!(opened.unwrap_err().code(), code);
    }
    let only = open(&worker, StreamSource::Push).await;
    let second = worker.open_stream(StreamSource::Push, &[0], StreamOptions::default()).await;
    assert_eq!(second.unwrap_err().code(), Code::Overloaded);
    drop(only); // which ends it in the worker
    drop(open(&worker, StreamSource::Push).await);
    worker.close().await.unwrap();
}

#[tokio::test]
async fn streams_do_not_hold_each_other_up() {
    let (Some(worker), Some(noise), Some(small)) =
        (noop().await, clip(NOISE), clip("container='webm', codec='libvpx'"))
    else {
        return;
    };
    assert!(noise.len() > 3 * CREDIT, "{} bytes are not much", noise.len());
    let mut unread = open(&worker, StreamSource::Push).await;
    let held_up = tokio::spawn(upload(unread.input(), noise.clone()));
    let others = (0..6).map(|number| {
        let (worker, file) = (worker.clone(), if number % 2 == 0 { noise.clone() } else { small.clone() });
        tokio::spawn(async move { push(&worker, file).await })
    });
    for (number, other) in others.collect::<Vec<_>>().into_iter().enumerate() {
        let story = other.await.unwrap();
        let count = if number % 2 == 0 { 60 } else { 30 };
        assert_eq!(story.numbers(), (0..count).collect::<Vec<_>>());
        assert_eq!(story.end, Some((count, 0, EndReason::Eof)));
    }
    assert!(!held_up.is_finished(), "credit is among the events that nobody takes");
    assert_eq!(rest(&mut unread).await.numbers(), (0..60).collect::<Vec<_>>());
    held_up.await.unwrap().unwrap();
    worker.close().await.unwrap();
}

#[tokio::test]
async fn a_stream_that_is_closed_ends_in_the_middle() {
    let (Some(worker), Some(noise)) = (with("fake:sleep?size=64&ms=100").await, clip(NOISE)) else { return };
    let mut stream = open(&worker, StreamSource::Push).await;
    let input = stream.input();
    let sending = upload_much(input.clone(), &noise);
    let started = Instant::now();
    while !matches!(stream.next().await, Some(Ok(StreamEvent::Frame(_)))) {}
    stream.close();
    let story = rest(&mut stream).await;
    assert!(matches!(story.end, Some((1..=30, 0, EndReason::Closed))), "{story:?}");
    assert_eq!(sending.await.unwrap().unwrap_err().code(), Code::Closed);
    assert_eq!(input.finish().unwrap_err().code(), Code::Closed);
    input.close(); // once more does nothing
    let mut left = open(&worker, StreamSource::Push).await;
    let sending = upload_much(left.input(), &noise);
    while !matches!(left.next().await, Some(Ok(StreamEvent::Frame(_)))) {}
    drop(left);
    assert_eq!(sending.await.unwrap().unwrap_err().code(), Code::Closed);
    // Nothing of them is left that the end would wait for: 60 frames take 6 seconds.
    worker.close().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_stream_dies_with_its_worker() {
    let (Some(config), Some(noise)) = (narrow("fake:sleep?size=64&ms=20"), clip(NOISE)) else {
        return;
    };
    let worker = Worker::spawn(config.restart(common::quick_restart())).await.unwrap();
    let infer = InferOptions { retries: 3, ..InferOptions::default() };
    let options = StreamOptions { infer, ..StreamOptions::default() };
    let mut stream = worker.open_stream(StreamSource::Push, &[0], options).await.unwrap();
    let sending = upload_much(stream.input(), &noise);
    while !matches!(stream.next().await, Some(Ok(StreamEvent::Frame(_)))) {}
    signal(pid_of(&worker), Signal::KILL);
    let story = rest(&mut stream).await;
    assert_eq!(story.error.unwrap().code(), Code::WorkerDied);
    assert_eq!(sending.await.unwrap().unwrap_err().code(), Code::WorkerDied);
    assert_eq!(push(&worker, noise).await.frames.len(), 60, "the next process has streams of its own");
    worker.close().await.unwrap();
}

#[tokio::test]
async fn a_stream_stays_with_its_process_through_a_recycle() {
    let (Some(config), Some(noise)) = (common::fakes(&["fake:noop?size=64"]), clip(NOISE)) else { return };
    let (config, mut seen) = watched(config);
    let worker = Worker::spawn(config).await.unwrap();
    let old = pid_of(&worker);
    let mut stream = open(&worker, StreamSource::Push).await;
    let (half, input) = (noise.len() / 2, stream.input());
    input.send(noise.slice(..1000)).await.unwrap();
    worker.recycle().await.unwrap();
    let sending = tokio::spawn(async move {
        input.send(noise.slice(1000..half)).await.unwrap();
        upload(input, noise.slice(half..)).await.unwrap();
    });
    assert!(exists(old) && pid_of(&worker) != old);
    assert_eq!(rest(&mut stream).await.numbers(), (0..60).collect::<Vec<_>>());
    sending.await.unwrap();
    let ended = seen.until(|event| matches!(event, Event::Exit(_))).await;
    assert_eq!(common::names(&ended).last().unwrap(), "exit 1 recycled");
    worker.close().await.unwrap();
}

#[tokio::test]
async fn the_end_does_not_wait_for_streams() {
    let Some(worker) = noop().await else { return };
    let mut old = open(&worker, StreamSource::Push).await;
    worker.recycle().await.unwrap();
    let mut new = open(&worker, StreamSource::Push).await;
    let started = Instant::now();
    worker.close().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    for stream in [&mut old, &mut new] {
        assert_eq!(rest(stream).await.end, Some((0, 0, EndReason::Drained)));
    }
}

#[tokio::test]
async fn a_pool_spreads_streams_and_leaves_each_where_it_is() {
    let (Some(config), Some(noise)) = (common::fakes(&["fake:noop?size=64"]), clip(NOISE)) else { return };
    let pool = WorkerPool::spawn(config, 2).await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..2 {
        streams.push(pool.open_stream(StreamSource::Push, &[0], StreamOptions::default()).await.unwrap());
    }
    let kill = pid_of(&pool.workers()[0]);
    signal(kill, Signal::KILL);
    let mut told = Vec::new();
    for mut stream in streams {
        let _sending = tokio::spawn(upload(stream.input(), noise.clone()));
        let story = rest(&mut stream).await;
        told.push((story.frames.len(), story.error.map(|error| error.code())));
    }
    told.sort_by_key(|(frames, _)| *frames);
    assert_eq!(told, [(0, Some(Code::WorkerDied)), (60, None)]);
    pool.close().await.unwrap();
}

#[tokio::test]
async fn a_place_that_cannot_be_reached_is_tried_again() {
    let Some(worker) = noop().await else { return };
    // Bound and not listened at: every connection is refused.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let source = StreamSource::Url {
        url: format!("http://{nobody}/clip.mp4"),
        reconnect: Some(true),
        timeout: Some(Duration::from_secs(2)),
    };
    let mut stream = open(&worker, source.clone()).await;
    let first = timeout(common::PATIENCE, stream.next()).await.unwrap().unwrap().unwrap();
    let StreamEvent::Reconnecting { attempt: 1, reason, error, .. } = first else { panic!("{first:?}") };
    assert!(!reason.is_empty() && !error.is_empty());
    stream.close();
    assert_eq!(rest(&mut stream).await.end, Some((0, 0, EndReason::Closed)));
    // It may go on for ever, so the process that is to end does not wait for it.
    let mut endless = open(&worker, source).await;
    worker.recycle().await.unwrap();
    assert_eq!(rest(&mut endless).await.end, Some((0, 0, EndReason::Drained)));
    worker.close().await.unwrap();
}
