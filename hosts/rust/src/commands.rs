//! What is asked of a worker beside pictures: models, what it tells of itself.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{json, Value};

use crate::calls::{CallLimits, Notes};
use crate::config::ModelConfig;
use crate::connection::Request;
use crate::protocol::{answer_from_json, Loaded, Pong, Result, Status};
use crate::worker::Worker;

impl Worker {
    /// Forgets a picture, also one that is not there.
    ///
    /// # Errors
    /// `worker_died`, `closed`.
    pub async fn uncache_frame(&self, frame_id: u32) -> Result<()> {
        let _shared = self.supervisor().changes.read().await;
        let note = || self.supervisor().restore.note_uncache(frame_id);
        let command = Request::command(&json!({"cmd": "uncache_frame", "frameId": frame_id}));
        self.command::<Value>(&command, Some(&note)).await.map(drop)
    }

    /// Loads a model into a slot; slots up to it are made.
    ///
    /// # Errors
    /// The load's; `worker_died`, `closed`.
    pub async fn load(&self, index: u8, model: impl Into<ModelConfig> + Send) -> Result<Loaded> {
        self.load_as("load", index, model.into()).await
    }

    /// Loads a model beside the one that serves in a slot, and lets it serve when it is proven.
    ///
    /// # Errors
    /// As [`Worker::load`]: then the old one goes on.
    pub async fn replace(&self, index: u8, model: impl Into<ModelConfig> + Send) -> Result<Loaded> {
        self.load_as("replace", index, model.into()).await
    }

    async fn load_as(&self, cmd: &str, index: u8, model: ModelConfig) -> Result<Loaded> {
        let config = model.into_json();
        let _shared = self.supervisor().changes.read().await;
        let note = || self.supervisor().restore.note_load(index, config.clone());
        let command = Request::long_command(&json!({"cmd": cmd, "index": index, "config": config}));
        self.command(&command, Some(&note)).await
    }

    /// Empties a slot.
    ///
    /// # Errors
    /// `worker_died`, `closed`.
    pub async fn unload(&self, index: u8) -> Result<()> {
        let _shared = self.supervisor().changes.read().await;
        let note = || self.supervisor().restore.note_unload(index);
        let command = Request::command(&json!({"cmd": "unload", "index": index}));
        self.command::<Value>(&command, Some(&note)).await.map(drop)
    }

    /// Runs a slot's model on a blank picture so many times, 1 to 1,000; how long that took.
    ///
    /// # Errors
    /// The worker's; `worker_died`, `closed`.
    pub async fn warmup(&self, index: u8, runs: u32) -> Result<Duration> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Warmed {
            warmup_ms: f64,
        }
        let command = Request::long_command(&json!({"cmd": "warmup", "index": index, "runs": runs}));
        let warmed: Warmed = self.command(&command, None).await?;
        Ok(Duration::try_from_secs_f64(warmed.warmup_ms / 1000.0).unwrap_or_default())
    }

    /// What each slot holds.
    ///
    /// # Errors
    /// `worker_died`, `closed`.
    pub async fn status(&self) -> Result<Status> {
        self.command(&Request::command(&json!({"cmd": "status"})), None).await
    }

    /// Counts and times of all that was answered.
    ///
    /// # Errors
    /// `worker_died`, `closed`.
    pub async fn metrics(&self) -> Result<Value> {
        #[derive(Deserialize)]
        struct Metrics {
            metrics: Value,
        }
        let command = Request::command(&json!({"cmd": "metrics"}));
        self.command::<Metrics>(&command, None).await.map(|answer| answer.metrics)
    }

    /// The same as the text that Prometheus reads.
    ///
    /// # Errors
    /// `unsupported` where prometheus-client is not installed; `worker_died`, `closed`.
    pub async fn metrics_text(&self) -> Result<String> {
        #[derive(Deserialize)]
        struct Text {
            text: String,
        }
        let command = Request::command(&json!({"cmd": "metrics", "format": "prometheus"}));
        self.command::<Text>(&command, None).await.map(|answer| answer.text)
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// `worker_died`, `closed`.
    pub async fn ping(&self) -> Result<Pong> {
        self.command(&Request::command(&json!({"cmd": "ping"})), None).await
    }

    /// Waits until the worker has answered every data request. Those that come after it are `shutting_down`.
    ///
    /// # Errors
    /// `worker_died`, `closed`.
    pub async fn drain(&self) -> Result<()> {
        self.command::<Value>(&Request::command(&json!({"cmd": "drain"})), None).await.map(drop)
    }

    async fn command<T>(&self, request: &Request, notes: Option<Notes<'_>>) -> Result<T>
    where
        T: for<'de> Deserialize<'de>,
    {
        let answer = self.supervisor().call(request, &CallLimits::default(), notes).await?;
        self.supervisor().read(&answer, answer_from_json)
    }
}
