//! Answers in several parts, over pipes in memory.

use bytes::Bytes;
use serde_json::json;

use super::tests::{connect, picture, WIDE};
use super::*;
use crate::protocol::Message;

fn task() -> Request {
    let message = Message::Task { model: 0, params: Bytes::from_static(b"{}"), attachments: Vec::new() };
    Request { message, kind: Kind::Data, options: Vec::new(), lease: None }
}

async fn next_part(parts: &mut Parts) -> Option<Part> {
    std::future::poll_fn(|context| parts.poll_next(context)).await
}

#[tokio::test]
async fn parts_come_in_order_and_end_with_the_final_one() {
    let (connection, mut peer) = connect(WIDE, 1 << 20);
    let mut parts = connection.submit_for_parts(&task()).unwrap().unwrap();
    let id = peer.next().await.id;
    for index in 0..3 {
        peer.answer(id, &json!({"event": "token", "index": index})).await;
    }
    peer.answer(id, &json!({"event": "done", "final": true})).await;
    for _ in 0..3 {
        assert!(matches!(next_part(&mut parts).await, Some(Part::Answer { last: false, .. })));
    }
    assert!(matches!(next_part(&mut parts).await, Some(Part::Answer { last: true, .. })));
    assert!(next_part(&mut parts).await.is_none());
    drop(parts);
    assert!(peer.is_silent().await, "there is nothing to cancel");
    assert_eq!(connection.load(), (0, 0));
}

#[tokio::test]
async fn parts_that_are_dropped_cancel_their_request() {
    let (connection, mut peer) = connect(WIDE, 1 << 20);
    let mut parts = connection.submit_for_parts(&task()).unwrap().unwrap();
    let id = peer.next().await.id;
    peer.answer(id, &json!({"event": "token", "index": 0})).await;
    assert!(next_part(&mut parts).await.is_some());
    drop(parts);
    assert_eq!(peer.next_command().await.1, json!({"cmd": "cancel", "requestId": id}));
    // What is under way is of no interest to anybody, and does no harm.
    peer.answer(id, &json!({"event": "token", "index": 1})).await;
    peer.answer(id, &json!({"event": "done", "final": true})).await;
    let other = connection.submit(&picture(1), None).unwrap();
    let came = peer.next().await;
    peer.answer(came.id, &json!({})).await;
    other.await.unwrap();
}

#[tokio::test]
async fn parts_that_nobody_takes_are_given_up_at_a_bound() {
    let (connection, mut peer) = connect(WIDE, 1 << 20);
    let mut parts = connection.submit_for_parts(&task()).unwrap().unwrap();
    let id = peer.next().await.id;
    let text = "x".repeat(128 << 10);
    for index in 0..9 {
        peer.answer(id, &json!({"event": "token", "index": index, "text": text})).await;
    }
    assert_eq!(peer.next_command().await.1, json!({"cmd": "cancel", "requestId": id}));
    for _ in 0..7 {
        assert!(matches!(next_part(&mut parts).await, Some(Part::Answer { .. })));
    }
    assert!(matches!(next_part(&mut parts).await, Some(Part::Overrun)));
}

#[tokio::test]
async fn data_of_streams_does_not_wait_for_the_room_of_requests() {
    let (connection, mut peer) = connect(Budget { requests: 1, ..WIDE }, 1 << 20);
    let in_flight = connection.submit(&picture(1), None).unwrap();
    let first = peer.next().await;
    let waiting = connection.submit(&picture(2), None).unwrap();
    let data = Message::StreamData { stream_id: 3, head: Bytes::new(), data: Bytes::from_static(b"abc") };
    for _ in 0..2 {
        assert!(connection.send_unanswered(77, &data).unwrap());
        assert_eq!(peer.next().await.id, 77);
    }
    peer.answer(first.id, &json!({})).await;
    in_flight.await.unwrap();
    let second = peer.next().await;
    peer.answer(second.id, &json!({})).await;
    waiting.await.unwrap();
}
