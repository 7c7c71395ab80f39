//! Signals: open streams may finish, within the time of grace.

use std::time::{Duration, Instant};

use tonic::transport::Endpoint;

use crate::client::{connect, fetch, Transfer};
use crate::process::{wait_until, Folder, Server, LIMIT};

/// Much more than connection and server hold between them, in bytes.
const SIZE: u64 = 64 << 20;

/// A server with a large file and a stream of it that has just begun.
async fn with_open_stream(options: &[&str]) -> (Folder, Server, Transfer) {
    let folder = Folder::new();
    folder.sparse("demo/m/large.bin", SIZE);
    let server = Server::tcp(&folder, options);
    let mut transfer = Transfer::open(&connect(&server).await, "demo/m", "large.bin").await.unwrap();
    assert!(transfer.step().await.unwrap());
    (folder, server, transfer.count_only())
}

/// Signals, and waits until nobody can connect any more.
async fn stop_listening(server: &Server, signal: &str) {
    server.signal(signal);
    wait_until(|| std::net::TcpStream::connect(&server.address).err()).await;
}

#[tokio::test]
async fn an_open_stream_finishes_and_nobody_new_comes_in() {
    for signal in ["TERM", "INT"] {
        let (_folder, mut server, transfer) = with_open_stream(&["--grace", "60"]).await;
        stop_listening(&server, signal).await;
        let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
        assert!(endpoint.connect().await.is_err());
        assert_eq!(transfer.finish().await.received, SIZE);
        assert!(server.wait().await.success());
        assert!(server.log().contains("stopping: open streams may finish"));
    }
}

#[tokio::test]
async fn a_stream_that_nobody_reads_is_cut_when_the_grace_is_over() {
    let (_folder, mut server, transfer) = with_open_stream(&["--grace", "0.2"]).await;
    server.signal("TERM");
    assert!(server.wait().await.success());
    assert!(server.log().contains("the grace time is over"), "{}", server.log());
    transfer.fail().await;
}

#[tokio::test]
async fn a_second_signal_cuts_at_once() {
    let (_folder, mut server, transfer) = with_open_stream(&["--grace", "3600"]).await;
    server.signal("TERM");
    server.wait_for_log("stopping").await;
    server.signal("INT");
    assert!(server.wait().await.success());
    assert!(server.log().contains("told twice"), "{}", server.log());
    transfer.fail().await;
}

#[tokio::test]
async fn idle_connections_do_not_keep_it_up() {
    let folder = Folder::new();
    folder.write("demo/m/small.bin", b"small");
    let mut server = Server::tcp(&folder, &["--grace", "3600"]);
    let client = connect(&server).await;
    assert_eq!(fetch(&client, "demo/m", "small.bin").await.bytes, b"small");
    let began = Instant::now();
    server.signal("TERM");
    assert!(server.wait().await.success());
    assert!(began.elapsed() < LIMIT.min(Duration::from_secs(5)));
    drop(client);
}
