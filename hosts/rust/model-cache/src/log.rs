//! Lines on stderr that never hold up a stream.
//!
//! A parent that does not read its child's stderr would otherwise stop the whole server as soon
//! as the pipe is full. Lines that find no room are counted, and the count is told.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How many lines may wait to be written.
const WAITING_LINES: usize = 1024;
/// How long the exit waits for a reader of stderr.
const FLUSH_WAIT: Duration = Duration::from_millis(500);

/// What the writing thread is told.
enum Message {
    /// A line to write.
    Line(String),
    /// To answer once everything before is written.
    Flush(SyncSender<()>),
}

/// A log that is cheap to clone and never waits.
#[derive(Clone, Debug)]
pub struct Log {
    /// To the writing thread.
    messages: SyncSender<Message>,
    /// Lines lost since the last that was written.
    lost: Arc<AtomicU64>,
}

impl Log {
    /// Starts the writing thread.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn start() -> io::Result<Self> {
        let (messages, received) = mpsc::sync_channel(WAITING_LINES);
        let lost = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lost);
        thread::Builder::new().name("log".to_owned()).spawn(move || write_lines(&received, &counter))?;
        Ok(Self { messages, lost })
    }

    /// Adds a line, or counts it as lost where too many wait.
    pub fn line(&self, text: String) {
        if self.messages.try_send(Message::Line(text)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits a moment for what was logged to be written.
    pub fn flush(&self) {
        let (done, written) = mpsc::sync_channel(1);
        if self.messages.try_send(Message::Flush(done)).is_ok() {
            let _ = written.recv_timeout(FLUSH_WAIT);
        }
    }
}

/// Writes what comes, until every [`Log`] is gone. Nobody need be reading.
fn write_lines(messages: &Receiver<Message>, lost: &AtomicU64) {
    let mut stderr = io::stderr();
    for message in messages {
        match message {
            Message::Line(text) => {
                let lost = lost.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    let _ = writeln!(stderr, "model-cache: {lost} lines lost, stderr was not read");
                }
                let _ = writeln!(stderr, "model-cache: {text}");
            }
            // Whoever asked may have stopped waiting.
            Message::Flush(done) => drop(done.try_send(())),
        }
    }
}
