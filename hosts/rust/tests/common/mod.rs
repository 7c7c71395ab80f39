//! What the tests against the real worker have in common.
#![allow(dead_code, unreachable_pub)] // each test uses its part

use std::path::PathBuf;
use std::time::Duration;

use inferpipe::Config;
use serde_json::json;

/// Longer than anything here takes, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The root of the repository: two folders above this package.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// The interpreter that has the worker's packages.
///
/// `None`, said aloud, where there is none; a failure where tests must not be skipped.
pub fn python() -> Option<PathBuf> {
    let python = std::env::var_os("INFERPIPE_PYTHON").map(PathBuf::from);
    let python = python.unwrap_or_else(|| root().join(".venv/bin/python"));
    if python.exists() {
        return Some(python);
    }
    assert!(
        std::env::var_os("INFERPIPE_CI").is_none_or(|ci| ci != "1"),
        "no interpreter at {}",
        python.display()
    );
    eprintln!("skipped: there is no interpreter at {}; name one by INFERPIPE_PYTHON", python.display());
    None
}

/// A configuration with the real worker; `None` where it cannot run.
pub fn config() -> Option<Config> {
    let python = python()?;
    let command = [python.into_os_string(), "-m".into(), "worker".into()];
    Some(Config::default().command(command).cwd(root()))
}

/// A configuration with fake models: `fake:NAME?key=value`.
pub fn fakes(models: &[&str]) -> Option<Config> {
    let config = config()?.set("runtime", "fake");
    Some(models.iter().fold(config, |config, model| config.model(*model)))
}

/// Has the real worker started once; what is started later never gets ready.
pub fn never_again(config: Config, name: &str) -> Option<Config> {
    let once = std::env::temp_dir().join(format!("inferpipe-{name}-{}", std::process::id()));
    std::fs::write(&once, "").unwrap();
    let (once, python) = (once.display(), python()?);
    let script = format!("rm '{once}' && exec '{}' -m worker; exec sleep 600", python.display());
    Some(config.command(["sh", "-c", &script]))
}

/// A configuration with a script that plays the worker: a double.
pub fn double(name: &str, arguments: &[&str]) -> Option<Config> {
    let python = python()?;
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/doubles").join(name);
    let command = [python.into_os_string(), "-u".into(), script.into_os_string()];
    let arguments = arguments.iter().map(Into::into);
    Some(Config::default().command(command.into_iter().chain(arguments)).cwd(root()))
}

/// An RGB picture that carries a number up to 65,535, as runtimes/picture_ids.py draws it: what `fake:echo` reads.
pub fn numbered_picture(number: u16, width: usize, height: usize) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(width * height * 3);
    for row in 0..height {
        for column in 0..width {
            let block = row * 4 / height * 4 + column * 4 / width;
            let level = if number >> block & 1 == 1 { 239 } else { 16 };
            pixels.extend_from_slice(&[level; 3]);
        }
    }
    pixels
}

/// The configuration of a restart that does not keep a test waiting.
pub fn quick_restart() -> inferpipe::Restart {
    inferpipe::Restart {
        initial: Duration::from_millis(50),
        max: Duration::from_millis(200),
        max_restarts: 100,
        ..inferpipe::Restart::default()
    }
}

/// A model config of the default model, without its folder.
pub fn shapes() -> serde_json::Value {
    json!({"path": "models/shapes.onnx"})
}

/// Sends a signal to a process.
pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Whether a process is there, be it as a zombie.
pub fn exists(pid: u32) -> bool {
    PathBuf::from(format!("/proc/{pid}")).exists()
}

/// A small picture that carries a number.
pub fn raw(number: u16) -> inferpipe::Image {
    inferpipe::Image::raw(numbered_picture(number, 64, 48), 64, 48, inferpipe::PixelFormat::Rgb)
}

/// The number that `fake:echo` has read.
pub fn echoed(found: &inferpipe::InferResult) -> u16 {
    u16::try_from(found.detections()[0].class_id.unwrap()).unwrap()
}

/// The process that serves.
pub fn pid_of(worker: &inferpipe::Worker) -> u32 {
    worker.pid().expect("a process that serves")
}

/// Events as they happen, from the first start on.
pub struct Seen(tokio::sync::mpsc::UnboundedReceiver<inferpipe::Event>);

/// Has a configuration tell its events.
pub fn watched(config: Config) -> (Config, Seen) {
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    (config.on_event(move |event| drop(tell.send(event.clone()))), Seen(told))
}

impl Seen {
    /// Waits for an event; gives it and those before it, lines of stderr left out.
    pub async fn until(&mut self, wanted: impl Fn(&inferpipe::Event) -> bool) -> Vec<inferpipe::Event> {
        let mut seen = Vec::new();
        let look = async {
            loop {
                let event = self.0.recv().await.expect("an event");
                let found = wanted(&event);
                if found || !matches!(event, inferpipe::Event::Log { .. }) {
                    seen.push(event);
                }
                if found {
                    return;
                }
            }
        };
        let done = tokio::time::timeout(PATIENCE, look).await;
        assert!(done.is_ok(), "waited for an event in vain; so far: {:?}", names(&seen));
        seen
    }
}

impl Seen {
    /// What is there now.
    pub fn rest(&mut self) -> Vec<inferpipe::Event> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }
}

/// Events as short texts.
pub fn names(events: &[inferpipe::Event]) -> Vec<String> {
    use inferpipe::Event::{Exit, Failed, Log, Ready, Restart};
    let name = |event: &inferpipe::Event| match event {
        Ready { generation, .. } => format!("ready {generation}"),
        Log { line, .. } => format!("log {line}"),
        Exit(death) => format!("exit {} {}", death.generation, death.reason.as_str()),
        Restart { attempt, .. } => format!("restart {attempt}"),
        Failed(error) => format!("failed {}", error.code()),
        _ => "another".into(),
    };
    events.iter().map(name).collect()
}

/// Whether a worker's metrics tell of requests in flight.
pub fn has_in_flight(metrics: &str) -> bool {
    let metrics: serde_json::Value = serde_json::from_str(metrics).unwrap();
    metrics.pointer("/inFlight/requests").or(metrics.pointer("/inFlight")).and_then(serde_json::Value::as_u64)
        > Some(0)
}
