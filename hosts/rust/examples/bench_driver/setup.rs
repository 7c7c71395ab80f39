//! The first line: which worker, and what it is shown.

use std::path::PathBuf;
use std::time::Duration;

use inferpipe::{Config, InferResult, Restart, Worker};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::inputs::{Inputs, Kind, Pictures};
use crate::pictures::rgb_bytes;
use crate::Result;

/// As many as the bench's own generator sends in turn.
const PICTURES: u16 = 4;

/// What pictures may take where each request should have another.
const VARIED_BYTES: usize = 256 << 20;
const MAX_VARIED: usize = 1024;

/// The first line.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Setup {
    /// What starts the worker.
    command: Vec<String>,
    /// The handshake.
    config: Map<String, Value>,
    /// How pictures come to the worker.
    input: Kind,
    /// Of every picture, in pixels.
    width: u32,
    /// Of every picture, in pixels.
    height: u32,
    /// How many requests are open at once.
    in_flight: usize,
    /// The worker's working directory.
    cwd: Option<PathBuf>,
}

/// A worker that serves, and what it is shown.
pub(crate) struct Subject {
    pub worker: Worker,
    pub in_flight: usize,
    kind: Kind,
    width: u32,
    height: u32,
    inputs: Inputs,
}

impl Subject {
    /// Start the worker, and make sure that it answers with a result.
    pub(crate) async fn start(setup: Setup) -> Result<Self> {
        let Setup { command, config, input: kind, width, height, in_flight, cwd } = setup;
        // It will be killed more often than a worker is allowed to die by itself.
        let restart =
            Restart { max_restarts: u32::MAX, max: Duration::from_millis(200), ..Restart::default() };
        let mut host = Config::default().command(command).set_all(config).restart(restart);
        if let Some(cwd) = cwd {
            host = host.cwd(cwd);
        }
        let worker = Worker::spawn(host).await?;
        let pictures = Pictures { width, height, count: PICTURES };
        let inputs = Inputs::prepare(&worker, kind, pictures, in_flight).await?;
        let subject = Self { worker, in_flight, kind, width, height, inputs };
        subject.infer(0).await?;
        Ok(subject)
    }

    /// Send the next picture, and wait for its answer.
    pub(crate) async fn infer(&self, number: u64) -> Result<InferResult> {
        let (image, _) = self.inputs.next(number).await?;
        Ok(self.worker.infer(0, image).await?)
    }

    /// Return inputs of the same kind with as many pictures as memory is worth, to tell answers apart.
    pub(crate) async fn varied_inputs(&self) -> Result<Inputs> {
        let bytes = rgb_bytes(self.width, self.height).max(1);
        let count = (VARIED_BYTES / bytes).clamp(1, MAX_VARIED) as u16;
        let pictures = Pictures { width: self.width, height: self.height, count };
        Inputs::prepare(&self.worker, self.kind, pictures, self.in_flight).await
    }
}
