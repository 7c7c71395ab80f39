//! Cameras with a real worker: the newest picture counts.

mod common;
mod support;

use std::time::Duration;

use inferpipe::{Code, InferOptions, Worker};
use support::{echoed_id, picture};

/// Slow enough that pictures pile up.
const SLOW_ECHO: &str = "fake:echo?size=64&ms=200";

#[tokio::test]
async fn the_newest_picture_takes_the_place_of_the_waiting_one() {
    let Some(config) = support::config(SLOW_ECHO) else { return };
    let worker = Worker::spawn(config).await.unwrap();
    let door = worker.source("door", 0, InferOptions::default());
    let pushed: Vec<_> = (0..5).map(|id| tokio::spawn(door.push(picture(id)))).collect();
    let mut answers = Vec::new();
    for task in pushed {
        answers.push(task.await.unwrap().map(|result| echoed_id(&result)).map_err(|error| error.code()));
    }
    let superseded = Err(Code::Superseded);
    assert_eq!(answers, [Ok(Some(0)), superseded, superseded, superseded, Ok(Some(4))]);
}

#[tokio::test]
async fn the_replaced_picture_is_told_at_once() {
    let Some(config) = support::config("fake:hang?size=64") else { return };
    let worker = Worker::spawn(config).await.unwrap();
    let door = worker.source("door", 0, InferOptions::default());
    let _hangs = tokio::spawn(door.push(picture(0)));
    let replaced = tokio::spawn(door.push(picture(1)));
    let _waits = door.push(picture(2));
    let answer = tokio::time::timeout(Duration::from_secs(5), replaced).await.unwrap().unwrap();
    assert_eq!(answer.unwrap_err().code(), Code::Superseded);
    worker.kill();
}

#[tokio::test]
async fn a_picture_that_is_given_up_makes_room_for_the_next() {
    let Some(config) = support::config(SLOW_ECHO) else { return };
    let worker = Worker::spawn(config).await.unwrap();
    let door = worker.source("door", 0, InferOptions::default());
    let sent = tokio::spawn(door.push(picture(0)));
    let waits = door.push(picture(1));
    tokio::task::yield_now().await;
    sent.abort();
    assert_eq!(echoed_id(&waits.await.unwrap()), Some(1));
}

#[tokio::test]
async fn cameras_do_not_take_each_others_places() {
    let Some(config) = support::config(SLOW_ECHO) else { return };
    let worker = Worker::spawn(config).await.unwrap();
    let door = worker.source("door", 0, InferOptions::default());
    let yard = worker.source("yard", 0, InferOptions::default());
    assert_eq!((door.name(), yard.name()), ("door", "yard"));
    let pushed = [door.push(picture(1)), yard.push(picture(2)), door.push(picture(3)), yard.push(picture(4))];
    let tasks = pushed.map(tokio::spawn);
    for (id, task) in (1..).zip(tasks) {
        assert_eq!(echoed_id(&task.await.unwrap().unwrap()), Some(id));
    }
}

#[tokio::test]
async fn options_hold_for_every_picture_of_a_camera() {
    let Some(config) = support::config(SLOW_ECHO) else { return };
    let worker = Worker::spawn(config).await.unwrap();
    let none = InferOptions { classes: Some(vec![1.into()]), ..InferOptions::default() };
    let door = worker.source("door", 0, none);
    assert_eq!(echoed_id(&door.push(picture(1)).await.unwrap()), Some(1));
    assert_eq!(echoed_id(&door.push(picture(2)).await.unwrap()), None);
}
