//! Answers in several parts, from a double of a worker that has tasks and streams.

mod common;

use std::time::Duration;

use bytes::Bytes;
use inferpipe::{
    CancellationToken, Code, InferOptions, StreamEvent, StreamOptions, StreamSource, TaskEvent, TaskStream,
    Worker,
};
use serde_json::{json, Map, Value};
use tokio::time::timeout;
use tokio_stream::StreamExt;

async fn double() -> Option<Worker> {
    Some(Worker::spawn(common::double("scripted_worker.py", &["tasks"])?).await.unwrap())
}

fn params(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

async fn tokens(task: &mut TaskStream) -> Vec<String> {
    let mut tokens = Vec::new();
    while let Some(event) = task.next().await {
        match event.unwrap() {
            TaskEvent::Token { index, text } => {
                assert_eq!(index, tokens.len() as u64);
                tokens.push(text);
            }
            TaskEvent::Done(done) => {
                assert_eq!((done.text, done.finish_reason.as_str()), (tokens.join(" "), "stop"));
                assert_eq!(done.more["sizes"], json!([3, 0]));
            }
            other => panic!("{other:?}"),
        }
    }
    tokens
}

#[tokio::test]
async fn a_task_gives_its_events_in_order() {
    let Some(worker) = double().await else { return };
    let text = params(json!({"stream": true, "text": "one two three"}));
    let attachments = || vec![Bytes::from_static(b"abc"), Bytes::new()];
    let mut one = worker.task(0, &text, attachments(), InferOptions::default()).await.unwrap();
    let mut two = worker.task(1, &text, attachments(), InferOptions::default()).await.unwrap();
    assert_eq!(tokens(&mut two).await, ["one", "two", "three"]);
    assert_eq!(tokens(&mut one).await, ["one", "two", "three"]);
    assert!(one.next().await.is_none());
    worker.close().await.unwrap();
}

#[tokio::test]
async fn a_task_that_is_left_is_cancelled() {
    let Some(worker) = double().await else { return };
    let endless = params(json!({"text": "one two", "endless": true}));
    let mut left = worker.task(0, &endless, Vec::new(), InferOptions::default()).await.unwrap();
    assert!(matches!(left.next().await, Some(Ok(TaskEvent::Token { index: 0, .. }))));
    drop(left);
    let token = CancellationToken::new();
    let options = InferOptions { cancel: Some(token.clone()), ..InferOptions::default() };
    let mut cancelled = worker.task(0, &endless, Vec::new(), options).await.unwrap();
    assert!(cancelled.next().await.unwrap().is_ok());
    assert!(cancelled.next().await.unwrap().is_ok());
    token.cancel();
    assert_eq!(cancelled.next().await.unwrap().unwrap_err().code(), Code::Cancelled);
    assert!(cancelled.next().await.is_none());
    let options = InferOptions { timeout: Some(Duration::from_millis(100)), ..InferOptions::default() };
    let late = worker.task(0, &endless, Vec::new(), options).await.unwrap();
    let last = late.filter_map(Result::err).next().await.unwrap();
    assert_eq!(last.code(), Code::TimedOut);
    // Nothing of them is left in flight: the end does not wait for anything.
    timeout(Duration::from_secs(5), worker.close()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_task_whose_worker_dies_is_sent_again_only_before_its_first_event() {
    let Some(worker) = double().await else { return };
    let options = || InferOptions { retries: 2, ..InferOptions::default() };
    let late = params(json!({"text": "one two three", "die": 2}));
    let events: Vec<_> = worker.task(0, &late, Vec::new(), options()).await.unwrap().collect().await;
    assert_eq!(events.len(), 3);
    let error = events[2].as_ref().unwrap_err();
    assert_eq!((error.code(), error.death().unwrap().exit_code), (Code::WorkerDied, Some(7)));
    let early = params(json!({"text": "one", "die": 0}));
    let events: Vec<_> = worker.task(0, &early, Vec::new(), options()).await.unwrap().collect().await;
    let death = events[0].as_ref().unwrap_err().death().unwrap().generation;
    assert_eq!((events.len(), death), (1, 4), "three processes died of it, the first two of them in silence");
    worker.close().await.unwrap();
}

#[tokio::test]
async fn a_stream_sends_as_far_as_its_credit_goes() {
    let Some(worker) = double().await else { return };
    let options = StreamOptions { max_fps: Some(5.0), ..StreamOptions::default() };
    let mut stream = worker.open_stream(StreamSource::Push, &[0], options).await.unwrap();
    let input = stream.input();
    // The window is 100 bytes: the rest waits until somebody takes the events that bring credit.
    let mut sending = tokio::spawn(async move {
        input.send(Bytes::from(vec![7; 950])).await.unwrap();
        input.finish().unwrap();
    });
    assert!(timeout(Duration::from_millis(100), &mut sending).await.is_err(), "it was not held up");
    assert!(worker.ping().await.is_ok(), "nothing else is");
    let mut frames = 0;
    while let Some(event) = stream.next().await {
        match event.unwrap() {
            StreamEvent::Frame(frame) => {
                assert_eq!((frame.width, frame.height, frame.timestamp_ms), (4, 2, 1.5));
                frames += 1;
            }
            StreamEvent::End { frames, dropped, .. } => assert_eq!((frames, dropped), (950, 0)),
            other => panic!("{other:?}"),
        }
    }
    sending.await.unwrap();
    assert!(frames >= 10, "{frames}");
    assert_eq!(stream.input().send(Bytes::from_static(b"x")).await.unwrap_err().code(), Code::Closed);
    worker.close().await.unwrap();
}

#[tokio::test]
async fn a_packet_of_a_stream_is_never_cut() {
    let Some(worker) = double().await else { return };
    let mut stream = worker.open_stream(StreamSource::Packets, &[0], StreamOptions::default()).await.unwrap();
    let input = stream.input();
    let sending = tokio::spawn(async move {
        for _ in 0..3 {
            input.send(Bytes::from(vec![7; 60])).await.unwrap();
        }
        input.finish().unwrap();
    });
    let mut numbers = Vec::new();
    while let Some(event) = stream.next().await {
        if let StreamEvent::Frame(frame) = event.unwrap() {
            numbers.push(frame.number);
        }
    }
    sending.await.unwrap();
    assert_eq!(numbers, [0, 60, 120]);
    worker.close().await.unwrap();
}

#[tokio::test]
async fn a_worker_without_the_feature_is_told_at_once() {
    let Some(config) = common::double("scripted_worker.py", &["nonsense"]) else { return };
    let worker = Worker::spawn(config).await.unwrap();
    let task = worker.task(0, &Map::new(), Vec::new(), InferOptions::default()).await.err().unwrap();
    let stream = worker.open_stream(StreamSource::Push, &[0], StreamOptions::default()).await.err().unwrap();
    assert_eq!((task.code(), stream.code()), (Code::Unsupported, Code::Unsupported));
    worker.close().await.unwrap();
}
