//! A connection over pipes in memory, with a double of a worker that answers what the test says.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{json, Value};
use tokio::io::{duplex, AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::timeout;

use super::*;
use crate::death::Reason;
use crate::protocol::{Image, PixelFormat};

/// The worker's ends of the pipes.
pub(super) struct Peer {
    requests: DuplexStream,
    answers: DuplexStream,
}

/// A request as it came.
#[derive(Debug, PartialEq)]
pub(super) struct Came {
    pub(super) id: u32,
    kind: u8,
    payload: Vec<u8>,
}

impl Peer {
    pub(super) async fn next(&mut self) -> Came {
        let length = self.requests.read_u32_le().await.unwrap() as usize;
        let id = self.requests.read_u32_le().await.unwrap();
        let kind = self.requests.read_u8().await.unwrap();
        let mut payload = vec![0; length - 5];
        self.requests.read_exact(&mut payload).await.unwrap();
        Came { id, kind, payload }
    }

    pub(super) async fn next_command(&mut self) -> (u32, Value) {
        let came = self.next().await;
        assert_eq!(came.kind, 0, "{came:?}");
        (came.id, serde_json::from_slice(&came.payload).unwrap())
    }

    pub(super) async fn answer(&mut self, id: u32, body: &Value) {
        let body = body.to_string();
        self.answers.write_u32_le(u32::try_from(4 + body.len()).unwrap()).await.unwrap();
        self.answers.write_u32_le(id).await.unwrap();
        self.answers.write_all(body.as_bytes()).await.unwrap();
    }

    pub(super) async fn is_silent(&mut self) -> bool {
        timeout(Duration::from_millis(50), self.next()).await.is_err()
    }
}

pub(super) const WIDE: Budget = Budget { requests: 100, bytes: 1 << 30, untaken: 1 << 20 };

pub(super) fn connect(budget: Budget, pipe_bytes: usize) -> (Connection, Peer) {
    let connection = Connection::new(budget, Arc::new(Life::new()));
    let (ours, requests) = duplex(pipe_bytes);
    let (answers, theirs) = duplex(1 << 20);
    tokio::spawn(connection.write_to(ours));
    tokio::spawn(connection.read_from(theirs));
    (connection, Peer { requests, answers })
}

pub(super) fn picture(bytes: usize) -> Request {
    let width = u32::try_from(bytes).unwrap();
    let image = Image::raw(vec![bytes as u8; bytes], width, 1, PixelFormat::Gray);
    Request {
        message: Message::Infer { model: 0, image },
        kind: Kind::Data,
        options: Vec::new(),
        lease: None,
    }
}

fn ping() -> Request {
    Request::command(&json!({"cmd": "ping"}))
}

fn death() -> Arc<Death> {
    Arc::new(Death {
        generation: 1,
        reason: Reason::Exited,
        exit_code: None,
        signal: Some(9),
        stderr_tail: Vec::new(),
        in_flight: 0,
    })
}

#[tokio::test]
async fn answers_find_their_requests_in_any_order() {
    let (connection, mut peer) = connect(WIDE, 1 << 20);
    let sent: Vec<Sent> = (1..=5).map(|_| connection.submit(&picture(9), None).unwrap()).collect();
    let mut ids = Vec::new();
    for _ in 1..=5 {
        ids.push(peer.next().await.id);
    }
    for id in ids.iter().rev() {
        peer.answer(*id, &json!({"mine": id})).await;
    }
    for (sent, id) in sent.into_iter().zip(ids) {
        assert_eq!(sent.await.unwrap(), Bytes::from(json!({"mine": id}).to_string()));
    }
    assert_eq!(connection.load(), (0, 0));
}

#[tokio::test]
async fn what_is_over_the_budget_of_requests_waits_in_order_and_commands_pass_it() {
    let (connection, mut peer) = connect(Budget { requests: 2, ..WIDE }, 1 << 20);
    let _sent: Vec<Sent> = (1..=4).map(|bytes| connection.submit(&picture(bytes), None).unwrap()).collect();
    let (one, two) = (peer.next().await, peer.next().await);
    assert_eq!((one.payload.len(), two.payload.len()), (11, 12));
    assert!(peer.is_silent().await);
    let _ping = connection.submit(&ping(), None).unwrap();
    assert_eq!(peer.next_command().await.1, json!({"cmd": "ping"}));
    peer.answer(two.id, &json!({})).await;
    assert_eq!(peer.next().await.payload.len(), 13);
    assert!(peer.is_silent().await);
}

#[tokio::test]
async fn bytes_have_a_budget_too_but_one_request_always_passes() {
    let (connection, mut peer) = connect(Budget { bytes: 50, ..WIDE }, 1 << 20);
    let _large = connection.submit(&picture(1000), None).unwrap();
    let large = peer.next().await;
    let _small = connection.submit(&picture(5), None).unwrap();
    assert!(peer.is_silent().await);
    peer.answer(large.id, &json!({})).await;
    assert_eq!(peer.next().await.payload.len(), 15);
}

#[tokio::test]
async fn a_try_never_waits() {
    let (connection, mut peer) = connect(Budget { requests: 1, ..WIDE }, 1 << 20);
    let first = connection.try_submit(&picture(1)).unwrap();
    assert!(first.is_some());
    assert!(connection.try_submit(&picture(1)).unwrap().is_none(), "the first takes the last place");
    let came = peer.next().await;
    assert!(connection.try_submit(&picture(1)).unwrap().is_none());
    peer.answer(came.id, &json!({})).await;
    first.unwrap().await.unwrap();
    assert!(connection.try_submit(&picture(1)).unwrap().is_some());
}

#[tokio::test]
async fn at_most_one_packet_waits_for_a_pipe_that_is_full() {
    let (connection, mut peer) = connect(WIDE, 64);
    let _written = connection.try_submit(&picture(100_000)).unwrap().unwrap();
    tokio::task::yield_now().await; // the writer takes it
    let _waits = connection.try_submit(&picture(100_000)).unwrap().unwrap();
    assert!(connection.try_submit(&picture(1)).unwrap().is_none());
    peer.next().await;
}

#[tokio::test]
async fn what_is_dropped_before_it_is_written_never_is() {
    let (connection, mut peer) = connect(Budget { requests: 1, ..WIDE }, 1 << 20);
    let _one = connection.submit(&picture(1), None).unwrap();
    let two = connection.submit(&picture(2), None).unwrap();
    let _three = connection.submit(&picture(3), None).unwrap();
    let came = peer.next().await;
    drop(two);
    peer.answer(came.id, &json!({})).await;
    assert_eq!(peer.next().await.payload.len(), 13, "the third, and no cancel");
    assert!(peer.is_silent().await);
}

#[tokio::test]
async fn what_is_dropped_after_it_is_cancelled_and_stays_booked_until_its_answer() {
    let (connection, mut peer) = connect(Budget { requests: 1, ..WIDE }, 1 << 20);
    let lease: crate::protocol::Lease = Arc::new(());
    let request = Request { lease: Some(lease.clone()), ..picture(1) };
    let sent = connection.submit(&request, None).unwrap();
    drop(request);
    let came = peer.next().await;
    drop(sent);
    let (cancel_id, cancel) = peer.next_command().await;
    assert_eq!(cancel, json!({"cmd": "cancel", "requestId": came.id}));
    assert!(connection.try_submit(&picture(1)).unwrap().is_none(), "it still takes its place");
    assert_eq!(Arc::strong_count(&lease), 2, "the worker may still read the pixels");
    peer.answer(cancel_id, &json!({"cmd": "cancel", "status": "ok", "cancelled": 1})).await;
    peer.answer(came.id, &json!({"error": "cancelled", "code": "cancelled"})).await;
    connection.idle().await;
    assert_eq!(Arc::strong_count(&lease), 1);
    assert!(connection.try_submit(&picture(1)).unwrap().is_some());
}

#[tokio::test]
async fn many_that_wait_and_are_dropped_leave_nothing_behind() {
    let (connection, mut peer) = connect(Budget { requests: 1, ..WIDE }, 1 << 20);
    let first = connection.submit(&picture(1), None).unwrap();
    let came = peer.next().await;
    for _ in 0..10_000 {
        drop(connection.submit(&picture(2), None).unwrap());
    }
    assert_eq!(connection.load().1, 1);
    assert!(connection.shared.lock().queue_lengths().1 < 1000);
    peer.answer(came.id, &json!({})).await;
    first.await.unwrap();
    assert!(peer.is_silent().await);
}

#[tokio::test]
async fn the_end_of_a_worker_rejects_what_was_written_and_gives_back_the_rest() {
    let (connection, mut peer) = connect(Budget { requests: 1, ..WIDE }, 1 << 20);
    let written = connection.submit(&picture(1), None).unwrap();
    let waiting = connection.submit(&picture(1), None).unwrap();
    peer.next().await;
    connection.end(&death());
    assert!(matches!(written.await, Err(Lost::Died(death)) if death.signal == Some(9)));
    assert!(matches!(waiting.await, Err(Lost::NotSent)));
    assert!(matches!(connection.submit(&ping(), None).unwrap().await, Err(Lost::NotSent)));
}

#[tokio::test]
async fn the_writer_does_not_wait_for_a_pipe_whose_worker_is_gone() {
    let connection = Connection::new(WIDE, Arc::new(Life::new()));
    let (ours, _held_by_somebody_else) = duplex(64);
    let writing = tokio::spawn(connection.write_to(ours));
    let _stuck = connection.submit(&picture(100_000), None).unwrap();
    tokio::task::yield_now().await;
    connection.end(&death());
    timeout(Duration::from_secs(5), writing).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_drain_writes_what_waits_and_takes_nothing_new() {
    let (connection, mut peer) = connect(Budget { requests: 1, ..WIDE }, 1 << 20);
    let sent: Vec<Sent> = (0..2).map(|_| connection.submit(&picture(1), None).unwrap()).collect();
    connection.drain();
    assert!(matches!(connection.submit(&picture(1), None).unwrap().await, Err(Lost::NotSent)));
    for sent in sent {
        let came = peer.next().await;
        peer.answer(came.id, &json!({})).await;
        sent.await.unwrap();
    }
    connection.idle().await;
    connection.close();
    assert_eq!(peer.requests.read(&mut [0]).await.unwrap(), 0, "the stream has ended");
}

async fn ends_with(bytes: &[u8]) -> StreamEnd {
    let connection = Connection::new(WIDE, Arc::new(Life::new()));
    let _open = connection.submit(&picture(1), None).unwrap();
    connection.read_from(bytes).await
}

#[tokio::test]
async fn what_cannot_be_an_answer_ends_the_reading() {
    let answer = |id: u32, body: &str| {
        let length = u32::try_from(4 + body.len()).unwrap();
        [&length.to_le_bytes(), &id.to_le_bytes(), body.as_bytes()].concat()
    };
    assert_eq!(ends_with(b"").await, StreamEnd::Whole);
    assert_eq!(ends_with(&answer(1, "{}")).await, StreamEnd::Whole);
    assert!(matches!(ends_with(&answer(1, "{}")[..9]).await, StreamEnd::Cut(_)));
    assert_eq!(ends_with(&answer(2, "{}")).await, StreamEnd::Whole, "of a stream that has ended");
    assert!(matches!(ends_with(&answer(0, "{}")).await, StreamEnd::Violated(_)));
    let lost = answer(0, r#"{"error":"packet length 4","code":"bad_request"}"#);
    assert!(matches!(ends_with(&lost).await, StreamEnd::Violated(text) if text.contains("packet length 4")));
    assert!(matches!(ends_with(b"Segmentation fault").await, StreamEnd::Violated(_)));
}
