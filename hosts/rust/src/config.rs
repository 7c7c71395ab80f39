//! How a worker is started, what it serves, and how it is looked after.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::event::{Event, Listener};

/// How a worker is started, what it serves, and how it is looked after.
///
/// ```
/// # use inferpipe::{Config, ModelConfig};
/// let config = Config::default()
///     .command(["/opt/inferpipe/bin/python", "-m", "worker"])
///     .model("shapes.onnx")
///     .model(ModelConfig::new("people.onnx").set("confidence", 0.4))
///     .set("concurrency", "auto");
/// ```
#[derive(Clone)]
pub struct Config {
    pub(crate) command: Vec<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) handshake: Map<String, Value>,
    pub(crate) models: Vec<Value>,
    pub(crate) limits: RequestLimits,
    pub(crate) start_stall: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) unresponsive: Duration,
    pub(crate) restart: Restart,
    pub(crate) max_age: Option<Duration>,
    pub(crate) max_rss_bytes: Option<u64>,
    pub(crate) on_event: Option<Listener>,
}

/// How much the library lets be in flight; `None`: what the worker allows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestLimits {
    pub(crate) max_in_flight: Option<usize>,
    pub(crate) max_in_flight_bytes: Option<usize>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            command: [PYTHON, "-m", "worker"].map(OsString::from).to_vec(),
            env: Vec::new(),
            cwd: None,
            handshake: Map::new(),
            models: Vec::new(),
            limits: RequestLimits::default(),
            start_stall: Duration::from_secs(60),
            heartbeat: Duration::from_secs(5),
            unresponsive: Duration::from_secs(15),
            restart: Restart::default(),
            max_age: None,
            max_rss_bytes: None,
            on_event: None,
        }
    }
}

const PYTHON: &str = if cfg!(windows) { "python" } else { "python3" };

impl Config {
    /// Adds a model: its path, or a [`ModelConfig`]. Requests name models by their number, from 0.
    #[must_use]
    pub fn model(mut self, model: impl Into<ModelConfig>) -> Self {
        self.models.push(model.into().into_json());
        self
    }

    /// What starts the worker: a program and its arguments. By default `python3 -m worker`.
    #[must_use]
    pub fn command<I: IntoIterator<Item = S>, S: Into<OsString>>(mut self, command: I) -> Self {
        self.command = command.into_iter().map(Into::into).collect();
        self
    }

    /// A variable of the worker's environment, beside those of this process.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// The worker's working directory; by default this process's.
    #[must_use]
    pub fn cwd(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cwd = Some(folder.into());
        self
    }

    /// A key of the worker's configuration, as `runtime`, `concurrency` or `limits`. "models" replaces every
    /// model that was added before.
    ///
    /// `protocol` is the library's; `parentPid`, and `runtime` as "auto", are so where they are not set.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        match (key.into(), value.into()) {
            (key, Value::Array(models)) if key == "models" => self.models = models,
            (key, value) => drop(self.handshake.insert(key, value)),
        }
        self
    }

    /// Sets every key of an object by [`Config::set`].
    #[must_use]
    pub fn set_all(self, keys: Map<String, Value>) -> Self {
        keys.into_iter().fold(self, |config, (key, value)| config.set(key, value))
    }

    /// Most data requests in flight; by default one below the worker's own limit, so that commands are always
    /// read.
    #[must_use]
    pub fn max_in_flight(mut self, requests: usize) -> Self {
        self.limits.max_in_flight = Some(requests);
        self
    }

    /// Most payload bytes in flight; by default one below the worker's own limit. One request is always let
    /// through when nothing is in flight.
    #[must_use]
    pub fn max_in_flight_bytes(mut self, bytes: usize) -> Self {
        self.limits.max_in_flight_bytes = Some(bytes);
        self
    }

    /// How long a worker that starts may give no sign of life; by default 60 s.
    #[must_use]
    pub fn start_stall(mut self, time: Duration) -> Self {
        self.start_stall = time;
        self
    }

    /// After how long without bytes from the worker a `ping` goes out; by default 5 s.
    #[must_use]
    pub fn heartbeat(mut self, time: Duration) -> Self {
        self.heartbeat = time;
        self
    }

    /// How long there may be no sign of life after that `ping`; by default 15 s.
    #[must_use]
    pub fn unresponsive(mut self, time: Duration) -> Self {
        self.unresponsive = time;
        self
    }

    /// How a worker that died is replaced.
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// Recycle a worker that is older than this; looked at every heartbeat.
    #[must_use]
    pub fn max_age(mut self, time: Duration) -> Self {
        self.max_age = Some(time);
        self
    }

    /// Recycle a worker that takes more memory than this (Linux); looked at every heartbeat.
    #[must_use]
    pub fn max_rss_bytes(mut self, bytes: u64) -> Self {
        self.max_rss_bytes = Some(bytes);
        self
    }

    /// Called with every event, in the order in which they happen, by a task of the library's: must not block.
    ///
    /// Other than [`Worker::events`](crate::Worker::events) it also hears of the first start.
    #[must_use]
    pub fn on_event(mut self, listener: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.on_event = Some(Arc::new(listener));
        self
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The environment is left out: there may be secrets in it.
        to.debug_struct("Config")
            .field("command", &self.command)
            .field("cwd", &self.cwd)
            .field("handshake", &self.handshake)
            .field("models", &self.models)
            .field("restart", &self.restart)
            .finish_non_exhaustive()
    }
}

/// How a worker that died is replaced: at once, then after `initial`, then each time `factor` times later, with
/// 20 % of jitter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Restart {
    /// The delay before the second attempt in a row.
    pub initial: Duration,
    /// How much longer each later delay is.
    pub factor: f64,
    /// The longest delay.
    pub max: Duration,
    /// After so many in a row the worker has failed for good.
    pub max_restarts: u32,
    /// A process that served for so long begins the count anew.
    pub healthy: Duration,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(200),
            factor: 2.0,
            max: Duration::from_secs(30),
            max_restarts: 10,
            healthy: Duration::from_secs(30),
        }
    }
}

impl Restart {
    /// A worker that dies stays dead.
    pub fn never() -> Self {
        Self { max_restarts: 0, ..Self::default() }
    }
}

/// A model as the worker is configured with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelConfig(Map<String, Value>);

impl ModelConfig {
    /// A model by its path or URI.
    pub fn new(path: impl Into<String>) -> Self {
        Self::default().set("path", path.into())
    }

    /// Sets a key, as `confidence`, `device` or `labels`.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.insert(key.into(), value.into());
        self
    }

    pub(crate) fn into_json(self) -> Value {
        Value::Object(self.0)
    }
}

impl From<&str> for ModelConfig {
    fn from(path: &str) -> Self {
        Self::new(path)
    }
}

impl From<String> for ModelConfig {
    fn from(path: String) -> Self {
        Self::new(path)
    }
}

impl From<Map<String, Value>> for ModelConfig {
    fn from(keys: Map<String, Value>) -> Self {
        Self(keys)
    }
}
