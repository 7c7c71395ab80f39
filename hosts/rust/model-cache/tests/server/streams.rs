//! Files arrive byte for byte, many at once, in constant memory.

use tokio::task::JoinSet;

use crate::client::{connect, fetch, refused, Transfer};
use crate::process::{pattern, Folder, Server};
use tonic::Code;

/// The chunk's size in these tests, in bytes.
const CHUNK: usize = 1024;
/// Sizes around every border of a chunk, in bytes.
const SIZES: [usize; 8] = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 100_000, 1_000_000];

/// Gets a file of every size and compares it.
async fn every_size_arrives(folder: &Folder, server: &Server) {
    let client = connect(server).await;
    for (seed, size) in SIZES.into_iter().enumerate() {
        let bytes = pattern(seed as u64, size);
        folder.write("demo/sizes/onnx/model.bin", &bytes);
        let got = fetch(&client, "demo/sizes", "onnx/model.bin").await;
        assert!(got.bytes == bytes, "{size} bytes differ");
        assert_eq!(got.total, Some(size as i64));
        // An empty file is one chunk of no bytes.
        assert_eq!(got.chunks, size.div_ceil(CHUNK).max(1));
    }
}

#[tokio::test]
async fn every_size_arrives_over_tcp() {
    let folder = Folder::new();
    let server = Server::tcp(&folder, &["--chunk-bytes", "1024"]);
    every_size_arrives(&folder, &server).await;
}

#[tokio::test]
async fn every_size_arrives_over_a_unix_socket() {
    let folder = Folder::new();
    let listen = format!("unix:{}", folder.path("m.sock").display());
    let server = Server::start(&folder.root(), &["--listen", &listen, "--chunk-bytes", "1024"]);
    assert_eq!(server.address, listen);
    every_size_arrives(&folder, &server).await;
}

#[tokio::test]
async fn a_model_may_have_one_segment_and_any_name() {
    let folder = Folder::new();
    folder.write("solo/model.onnx", b"one");
    folder.write("ow ner/ü/a/b/c/模型.onnx", b"two");
    let server = Server::tcp(&folder, &[]);
    let client = connect(&server).await;
    assert_eq!(fetch(&client, "solo", "model.onnx").await.bytes, b"one");
    assert_eq!(fetch(&client, "ow ner/ü", "a/b/c/模型.onnx").await.bytes, b"two");
}

#[tokio::test]
async fn the_largest_chunk_fits_a_client_s_usual_limit() {
    let folder = Folder::new();
    let bytes = pattern(1, 9_000_000);
    folder.write("demo/m/large.bin", &bytes);
    let server = Server::tcp(&folder, &["--chunk-bytes", "4000000"]);
    let got = fetch(&connect(&server).await, "demo/m", "large.bin").await;
    assert!(got.bytes == bytes && got.chunks == 3);
}

/// Ten files at once, over one connection or one each.
async fn ten_arrive(shared: bool) {
    let folder = Folder::new();
    let files: Vec<Vec<u8>> = (0..10).map(|seed| pattern(seed, 2_000_000)).collect();
    for (number, bytes) in files.iter().enumerate() {
        folder.write(&format!("demo/m/{number}.bin"), bytes);
    }
    let server = Server::tcp(&folder, &["--chunk-bytes", "10000"]);
    let first = connect(&server).await;
    // Every stream is open before any is read.
    let mut open = Vec::new();
    for number in 0..files.len() {
        let client = if shared { first.clone() } else { connect(&server).await };
        open.push(Transfer::open(&client, "demo/m", &format!("{number}.bin")).await.unwrap());
    }
    let mut tasks = JoinSet::new();
    for (transfer, bytes) in open.into_iter().zip(files) {
        tasks.spawn(async move { transfer.finish().await.bytes == bytes });
    }
    assert!(tasks.join_all().await.into_iter().all(|same| same));
}

#[tokio::test]
async fn ten_streams_at_once_over_one_connection() {
    ten_arrive(true).await;
}

#[tokio::test]
async fn ten_streams_at_once_over_ten_connections() {
    ten_arrive(false).await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_does_not_hold_up_others() {
    let folder = Folder::new();
    folder.sparse("demo/m/large.bin", 64 << 20);
    folder.write("demo/m/small.bin", b"small");
    let server = Server::tcp(&folder, &[]);
    let mut stalled = Vec::new();
    for _ in 0..20 {
        let client = connect(&server).await;
        stalled.push(Transfer::open(&client, "demo/m", "large.bin").await.unwrap());
    }
    assert_eq!(fetch(&connect(&server).await, "demo/m", "small.bin").await.bytes, b"small");
}

#[tokio::test]
async fn more_streams_than_allowed_are_sent_away_until_one_is_free() {
    let folder = Folder::new();
    folder.sparse("demo/m/large.bin", 32 << 20);
    folder.write("demo/m/small.bin", b"small");
    let server = Server::tcp(&folder, &["--max-streams", "1"]);
    let open = Transfer::open(&connect(&server).await, "demo/m", "large.bin").await.unwrap();
    let other = connect(&server).await;
    let (code, text) = refused(&other, "demo/m", "small.bin").await;
    assert_eq!(code, Code::Unavailable);
    assert_eq!(text, "all 1 streams of this server are taken; try again later");
    open.count_only().finish().await;
    // The end of a stream is seen only after its place is free: no call is sent away in between.
    for _ in 0..50 {
        assert_eq!(fetch(&other, "demo/m", "small.bin").await.bytes, b"small");
    }
}

#[tokio::test]
async fn one_connection_s_calls_wait_for_each_other_by_themselves() {
    let folder = Folder::new();
    folder.sparse("demo/m/large.bin", 8 << 20);
    let server = Server::tcp(&folder, &["--max-streams", "1"]);
    let client = connect(&server).await;
    // From here on the client knows the limit.
    fetch(&client, "demo/m", "large.bin").await;
    let one = || fetch(&client, "demo/m", "large.bin");
    let (first, second, third) = tokio::join!(one(), one(), one());
    assert!([first, second, third].iter().all(|got| got.received == 8 << 20));
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_stream_back() {
    let folder = Folder::new();
    folder.sparse("demo/m/large.bin", 32 << 20);
    folder.write("demo/m/small.bin", b"small");
    let server = Server::tcp(&folder, &["--max-streams", "1"]);
    let client = connect(&server).await;
    drop(Transfer::open(&client, "demo/m", "large.bin").await.unwrap());
    server.wait_for_log("\"large.bin\" to 127.0.0.1").await;
    assert!(server.log().contains("the client went away"), "{}", server.log());
    assert_eq!(fetch(&client, "demo/m", "small.bin").await.bytes, b"small");
}

/// A figure of the process's memory, in KiB.
#[cfg(target_os = "linux")]
fn memory_kib(server: &Server, figure: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(figure)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn three_hundred_megabytes_stream_in_constant_memory() {
    let folder = Folder::new();
    folder.sparse("demo/m/large.bin", 300_000_000);
    let server = Server::tcp(&folder, &[]);
    let client = connect(&server).await;
    let before = memory_kib(&server, "VmRSS:");
    let got = Transfer::open(&client, "demo/m", "large.bin").await.unwrap().count_only().finish().await;
    assert_eq!(got.received, 300_000_000);
    let grown = memory_kib(&server, "VmHWM:") - before;
    assert!(grown < 64 << 10, "it grew by {grown} KiB");
    println!("300 MB streamed, resident memory grew by {grown} KiB");
}
