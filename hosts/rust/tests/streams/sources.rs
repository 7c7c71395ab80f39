//! What is sent to a stream, and what it reads by itself.

use std::time::Duration;

use bytes::Bytes;
use inferpipe::{Code, EndReason, FrameFormat, FrameHeader, StreamOptions, StreamSource, Worker};
use serde_json::json;
use tokio::time::timeout;

use crate::common::{self, numbered_picture};
use crate::told::{clip, noop, open, push, rest, with, ClipFile, Story, CREDIT};

#[tokio::test]
async fn a_clip_that_is_pushed_gives_each_of_its_frames() {
    let Some(worker) = noop().await else { return };
    assert!(worker.ready().unwrap().limits.max_streams.is_some());
    let kinds = [
        ("muxer={'movflags': 'faststart'}", "h264"),
        ("container='webm', codec='libvpx'", "vp8"),
        ("container='mpegts'", "h264"),
    ];
    for (fields, codec) in kinds {
        let Some(file) = clip(fields) else { return };
        let story = push(&worker, file).await;
        assert_eq!(story.names, [format!("started {codec}")], "{fields}");
        assert_eq!(story.numbers(), (0..30).collect::<Vec<_>>(), "{fields}");
        assert_eq!(story.end, Some((30, 0, EndReason::Eof)));
        for frame in &story.frames {
            assert_eq!((frame.width, frame.height, frame.results.len()), (64, 48, 1));
            assert!(frame.results[0].is_ok(), "{frame:?}");
            let apart = frame.timestamp_ms - story.frames[0].timestamp_ms;
            assert!((apart - frame.number as f64 * 1000.0 / 30.0).abs() < 1.5, "{frame:?}");
        }
    }
    worker.close().await.unwrap();
}

#[tokio::test]
async fn an_index_at_the_end_is_told_of() {
    let (Some(worker), Some(file)) = (noop().await, clip("")) else { return };
    let story = push(&worker, file).await;
    assert_eq!(story.names, ["needs tail", "started h264"]);
    assert_eq!((story.frames.len(), story.end), (30, Some((30, 0, EndReason::Eof))));
    worker.close().await.unwrap();
}

#[tokio::test]
async fn a_file_gives_the_frames_that_are_asked_for() {
    let (Some(worker), Some(bytes)) = (noop().await, clip("")) else { return };
    let file = ClipFile::new("asked-for.mp4", &bytes);
    let every_tenth = StreamOptions { every_nth: Some(10), ..StreamOptions::default() };
    let mut stream = worker.open_stream(file.source(), &[0, 0], every_tenth).await.unwrap();
    let refused = stream.input().send(Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(
        (refused.code(), stream.input().finish().unwrap_err().code()),
        (Code::BadRequest, Code::BadRequest)
    );
    let story = rest(&mut stream).await;
    assert_eq!(story.numbers(), [0, 10, 20]);
    assert!(story.frames.iter().all(|frame| frame.results.len() == 2), "one result a model");
    let part = StreamSource::File { path: file.0.clone(), start_frame: 5, end_frame: Some(8) };
    assert_eq!(rest(&mut open(&worker, part).await).await.numbers(), [5, 6, 7]);
    let mut missing = open(&worker, StreamSource::file("no/such/clip.mp4")).await;
    let story = rest(&mut missing).await;
    assert_eq!(story.error.unwrap().code(), Code::ProviderFailed);
    worker.close().await.unwrap();
}

#[tokio::test]
async fn a_damaged_upload_gives_its_frames_and_then_its_error() {
    let (Some(worker), Some(file)) = (noop().await, clip("container='matroska', frames=60")) else { return };
    let cut = push(&worker, file.slice(..file.len() / 2)).await;
    let count = cut.frames.len() as u64;
    assert!((10..60).contains(&count), "{count}");
    assert_eq!(cut.numbers(), (0..count).collect::<Vec<_>>());
    let error = cut.error.unwrap();
    assert_eq!(
        (error.code(), &error.answer().unwrap().answer["frames"]),
        (Code::DecodeFailed, &json!(count))
    );
    let garbage = push(&worker, Bytes::from(vec![0x5a; 300_000])).await;
    assert!(garbage.error.is_some() && garbage.frames.is_empty(), "{garbage:?}");
    assert!(push(&worker, file).await.end.is_some(), "the worker serves on");
    worker.close().await.unwrap();
}

#[tokio::test]
async fn pixels_larger_than_the_credit_go_in_pieces() {
    let Some(worker) = with("fake:echo?size=64").await else { return };
    let mut stream = open(&worker, StreamSource::Packets).await;
    let input = stream.input();
    let sizes: [(u16, u32, u32); 5] =
        [(1, 64, 48), (2, 1920, 1080), (3, 64, 48), (4, 1600, 1200), (65_535, 1280, 720)];
    let sending = tokio::spawn(async move {
        for (number, width, height) in sizes {
            let header =
                FrameHeader { timestamp_ms: u64::from(number), width, height, format: FrameFormat::Rgb };
            let pixels = numbered_picture(number, width as usize, height as usize);
            if number % 2 == 0 {
                input.send_frame(header, pixels).await.unwrap();
            } else {
                input.send([&header.to_bytes()[..], &pixels].concat()).await.unwrap();
            }
        }
        let short = FrameHeader { timestamp_ms: 0, width: 4, height: 2, format: FrameFormat::Bgr };
        assert_eq!(input.send_frame(short, vec![0; 23]).await.unwrap_err().code(), Code::BadRequest);
        let jpeg = FrameHeader::encoded(FrameFormat::Jpeg, 0);
        assert_eq!(input.send_frame(jpeg, vec![0; CREDIT]).await.unwrap_err().code(), Code::TooLarge);
        input.finish().unwrap();
    });
    let story = rest(&mut stream).await;
    sending.await.unwrap();
    let seen: Vec<_> = story.frames.iter().map(|frame| (frame.width, frame.height)).collect();
    assert_eq!(seen, sizes.map(|(_, width, height)| (width, height)));
    for (frame, (number, ..)) in story.frames.iter().zip(sizes) {
        assert_eq!(common::echoed(frame.results[0].as_ref().unwrap()), number);
    }
    assert_eq!(story.end, Some((5, 0, EndReason::Eof)));
    worker.close().await.unwrap();
}

#[tokio::test]
async fn a_frame_whose_sending_was_dropped_is_sent_to_its_end() {
    let Some(worker) = with("fake:echo?size=64").await else { return };
    let mut stream = open(&worker, StreamSource::Packets).await;
    let input = stream.input();
    let frame = |number: u16| {
        let header = FrameHeader { timestamp_ms: 0, width: 1920, height: 1080, format: FrameFormat::Rgb };
        (header, numbered_picture(number, 1920, 1080))
    };
    {
        let (header, pixels) = frame(5);
        // It waits for credit, which nobody takes from the events.
        let held_up = timeout(Duration::from_millis(100), input.send_frame(header, pixels)).await;
        assert!(held_up.is_err());
    }
    let sending = tokio::spawn(async move {
        let (header, pixels) = frame(6);
        input.send_frame(header, pixels).await.unwrap();
        input.finish().unwrap();
    });
    let story = rest(&mut stream).await;
    sending.await.unwrap();
    let numbers: Vec<_> =
        story.frames.iter().map(|frame| common::echoed(frame.results[0].as_ref().unwrap())).collect();
    assert_eq!(numbers, [5, 6], "{story:?}");
    worker.close().await.unwrap();
}

#[tokio::test]
async fn shapes_are_found_in_packets_of_jpeg() {
    let Some(config) = common::config() else { return };
    let worker = Worker::spawn(config.model("models/shapes.onnx")).await.unwrap();
    let mut stream = open(&worker, StreamSource::Packets).await;
    let scene = std::fs::read(common::root().join("models/scenes/scene-2-640x480.jpg")).unwrap();
    for timestamp_ms in [40, 80] {
        let header = FrameHeader::encoded(FrameFormat::Jpeg, timestamp_ms);
        stream.input().send_frame(header, scene.clone()).await.unwrap();
    }
    stream.input().finish().unwrap();
    let story = rest(&mut stream).await;
    assert_eq!(story.frames.len(), 2, "{story:?}");
    for frame in &story.frames {
        let found = frame.results[0].as_ref().unwrap();
        assert!(found.detections().iter().any(|one| one.class_name.as_deref() == Some("ring")), "{found:?}");
        assert_eq!((frame.width, frame.height), (640, 480));
    }
    let apart = story.frames[1].timestamp_ms - story.frames[0].timestamp_ms;
    assert!((apart - 40.0).abs() < 1e-6, "{apart}");
    worker.close().await.unwrap();
}

#[tokio::test]
async fn a_recording_gives_the_same_frames_pushed_and_read() {
    let path = common::root().join("../shared/data/videos/hand_faststart_aac.mp4");
    let Ok(file) = std::fs::read(&path) else {
        eprintln!("skipped: there is no {}", path.display());
        return;
    };
    let Some(config) = common::fakes(&["fake:noop?size=64"]) else { return };
    let worker = Worker::spawn(config.set("concurrency", 2)).await.unwrap();
    let pushed = push(&worker, file.into()).await;
    let read = rest(&mut open(&worker, StreamSource::file(&path)).await).await;
    let times = |story: &Story| story.frames.iter().map(|frame| frame.timestamp_ms).collect::<Vec<_>>();
    assert!(pushed.frames.len() > 10 && pushed.end == read.end, "{:?} {:?}", pushed.end, read.end);
    assert_eq!(times(&pushed), times(&read));
    worker.close().await.unwrap();
}

#[tokio::test]
async fn the_largest_packet_that_is_taken_arrives() {
    let Some(worker) = noop().await else { return };
    let mut stream = open(&worker, StreamSource::Packets).await;
    let scene = std::fs::read(common::root().join("models/scenes/scene-2-640x480.jpg")).unwrap();
    let input = stream.input();
    let sending = tokio::spawn(async move {
        input.send_frame(FrameHeader::encoded(FrameFormat::Jpeg, 1), scene.clone()).await.unwrap();
        let mut large = scene;
        large.resize(CREDIT / 16 * 15 - FrameHeader::BYTES, 0); // what is behind a picture's end counts for nothing
        input.send_frame(FrameHeader::encoded(FrameFormat::Jpeg, 2), large).await.unwrap();
        input.finish().unwrap();
    });
    let story = rest(&mut stream).await;
    sending.await.unwrap();
    assert_eq!(story.frames.len(), 2, "{story:?}");
    worker.close().await.unwrap();
}
