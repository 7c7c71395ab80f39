//! What tells the server to stop: SIGTERM and SIGINT, or Ctrl-C where there are no signals.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{signal, Signal, SignalKind};

/// The signals that end the program, caught from `new` on.
#[cfg(unix)]
#[derive(Debug)]
pub struct Signals {
    /// What a service manager sends.
    terminate: Signal,
    /// What a terminal sends.
    interrupt: Signal,
}

#[cfg(unix)]
impl Signals {
    /// Catches the signals.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Ctrl-C.
#[cfg(not(unix))]
#[derive(Debug)]
pub struct Signals;

#[cfg(not(unix))]
impl Signals {
    /// Nothing to prepare here.
    ///
    /// # Errors
    ///
    /// None.
    pub fn new() -> io::Result<Self> {
        Ok(Self)
    }

    /// Waits for the next Ctrl-C.
    pub async fn next(&mut self) {
        // Without a handler only the system's own end remains, which needs no word from here.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
