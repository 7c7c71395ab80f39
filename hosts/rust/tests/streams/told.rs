//! Clips, workers, and what streams tell.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use bytes::Bytes;
use inferpipe::{
    Config, EndReason, Error, Frame, InferStream, Result, StreamEvent, StreamInput, StreamOptions,
    StreamSource, Worker,
};
use serde_json::json;
use tokio::time::timeout;
use tokio_stream::StreamExt;

use crate::common;

const CHUNK: usize = 64 << 10;

pub(crate) const CREDIT: usize = 1 << 20;

/// 60 pictures of noise: several times the credit that a stream begins with.
pub(crate) const NOISE: &str = "container='matroska', frames=60, width=320, height=240, encoder={'crf': '4'}, \
    picture=lambda number, height, width: np.random.default_rng(number).integers(16, 235, (height, width), np.uint8)";

/// A clip made with the worker's own libraries, from the fields of `Clip` in tests/streaming/clips.py.
///
/// `None`, said aloud, where these are not installed; a failure where tests must not be skipped.
pub(crate) fn clip(fields: &'static str) -> Option<Bytes> {
    static MADE: Mutex<BTreeMap<&str, Option<Bytes>>> = Mutex::new(BTreeMap::new());
    MADE.lock().unwrap().entry(fields).or_insert_with(|| make_clip(fields)).clone()
}

fn make_clip(fields: &str) -> Option<Bytes> {
    let code = format!(
        "import sys; sys.path.insert(0, 'tests/streaming'); import numpy as np, clips; \
         sys.stdout.buffer.write(clips.encode(clips.Clip({fields})))"
    );
    let made =
        Command::new(common::python()?).args(["-c", &code]).current_dir(common::root()).output().unwrap();
    if made.status.success() {
        return Some(made.stdout.into());
    }
    let said = String::from_utf8_lossy(&made.stderr);
    let missing = said.contains("ModuleNotFoundError");
    assert!(missing && std::env::var_os("INFERPIPE_CI").is_none_or(|ci| ci != "1"), "{said}");
    eprintln!("skipped: no clip can be made: {said}");
    None
}

/// A clip as a file that goes with the value.
pub(crate) struct ClipFile(pub(crate) PathBuf);

impl ClipFile {
    pub(crate) fn new(name: &str, bytes: &[u8]) -> Self {
        let name = format!("{name}-{}", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }

    pub(crate) fn source(&self) -> StreamSource {
        StreamSource::file(&self.0)
    }
}

impl Drop for ClipFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub(crate) async fn noop() -> Option<Worker> {
    with("fake:noop?size=64").await
}

pub(crate) async fn with(model: &str) -> Option<Worker> {
    Some(Worker::spawn(narrow(model)?).await.unwrap())
}

/// A worker that gives little credit.
pub(crate) fn narrow(model: &str) -> Option<Config> {
    Some(common::fakes(&[model])?.set("limits", json!({"streamCreditBytes": CREDIT})))
}

pub(crate) async fn open(worker: &Worker, source: StreamSource) -> InferStream {
    worker.open_stream(source, &[0], StreamOptions::default()).await.unwrap()
}

pub(crate) async fn upload(input: StreamInput, file: Bytes) -> Result<()> {
    for at in (0..file.len()).step_by(CHUNK) {
        input.send(file.slice(at..file.len().min(at + CHUNK))).await?;
    }
    input.finish()
}

/// Uploads more than a worker takes that has much to do with the first part of it.
pub(crate) fn upload_much(input: StreamInput, file: &Bytes) -> tokio::task::JoinHandle<Result<()>> {
    tokio::spawn(upload(input, Bytes::from(file.repeat(10))))
}

/// What a stream told, sorted.
#[derive(Debug, Default)]
pub(crate) struct Story {
    pub(crate) names: Vec<String>,
    pub(crate) frames: Vec<Frame>,
    pub(crate) end: Option<(u64, u64, EndReason)>,
    pub(crate) error: Option<Error>,
}

impl Story {
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.frames.iter().map(|frame| frame.number).collect()
    }

    fn take(&mut self, event: Result<StreamEvent>) {
        match event {
            Ok(StreamEvent::Frame(frame)) => self.frames.push(*frame),
            Ok(StreamEvent::NeedsTail) => self.names.push("needs tail".into()),
            Ok(StreamEvent::Started(started)) => {
                self.names.push(format!("started {}", started.codec.unwrap_or_default()));
            }
            Ok(StreamEvent::End { frames, dropped, reason }) => self.end = Some((frames, dropped, reason)),
            Ok(other) => self.names.push(format!("{other:?}")),
            Err(error) => self.error = Some(error),
        }
    }
}

/// Takes events until there are no more.
pub(crate) async fn rest(stream: &mut InferStream) -> Story {
    let mut story = Story::default();
    let all = async {
        while let Some(event) = stream.next().await {
            assert!(story.end.is_none() && story.error.is_none(), "nothing comes after the last event");
            story.take(event);
        }
    };
    let done = timeout(common::PATIENCE, all).await;
    assert!(done.is_ok(), "the stream does not end; so far: {story:?}");
    story
}

/// Uploads a file while its events are taken.
pub(crate) async fn push(worker: &Worker, file: Bytes) -> Story {
    let mut stream = open(worker, StreamSource::Push).await;
    let uploaded = tokio::spawn(upload(stream.input(), file));
    let story = rest(&mut stream).await;
    // One that failed may have taken no more before all of it was sent.
    assert!(uploaded.await.unwrap().is_ok() || story.error.is_some(), "{story:?}");
    story
}
