//! A worker's process: spawned, its stderr kept, ended and reaped.

use std::collections::VecDeque;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use crate::config::Config;
use crate::connection::Life;
use crate::death::STDERR_TAIL_LINES;

/// What the pipe of requests is enlarged to, where the system allows it: a picture then takes fewer turns.
#[cfg(target_os = "linux")]
const PIPE_BYTES: usize = 1 << 20;

/// The longest line of stderr; longer ones are cut into pieces.
const MAX_LINE_BYTES: usize = 8 << 10;

/// A process and the three pipes that lead to it.
pub(crate) struct Process {
    pub(crate) child: Reaped,
    pub(crate) stdin: ChildStdin,
    pub(crate) stdout: ChildStdout,
    pub(crate) stderr: ChildStderr,
    pub(crate) pid: u32,
}

impl Process {
    /// Starts the configured command.
    pub(crate) fn spawn(config: &Config) -> io::Result<Self> {
        let (program, arguments) =
            config.command.split_first().ok_or_else(|| io::Error::other("there is no command"))?;
        let mut command = Command::new(program);
        command.args(arguments).envs(config.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        if let Some(folder) = &config.cwd {
            command.current_dir(folder);
        }
        let mut child = command.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", program.to_string_lossy()))
        })?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take(), child.id());
        let (Some(stdin), Some(stdout), Some(stderr), Some(pid)) = pipes else {
            return Err(io::Error::other("a process without its pipes"));
        };
        enlarge(&stdin);
        Ok(Self { child: Reaped(Some(child)), stdin, stdout, stderr, pid })
    }
}

#[cfg(target_os = "linux")]
fn enlarge(pipe: &ChildStdin) {
    // Over the user's limit: then it stays as it is.
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES);
}

#[cfg(not(target_os = "linux"))]
fn enlarge(_: &ChildStdin) {}

/// A child that is killed and reaped in any case, also where its runtime ends first.
pub(crate) struct Reaped(Option<Child>);

impl Reaped {
    /// Waits for its end.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        match &mut self.0 {
            Some(child) => {
                let status = child.wait().await;
                self.0 = None;
                status
            }
            // Once is enough: whoever asks again learns nothing new.
            None => std::future::pending().await,
        }
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        if let Some(child) = &mut self.0 {
            // It may have ended already.
            let _ = child.start_kill();
        }
    }
}

impl Drop for Reaped {
    fn drop(&mut self) {
        let Some(mut child) = self.0.take() else { return };
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        // The task that waited was dropped with its runtime: nobody else would reap the process.
        let _ = child.start_kill();
        let wait = move || {
            while matches!(child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        // Without a thread the process is killed, and reaped by tokio as soon as it may.
        let _ = std::thread::Builder::new().name("inferpipe-reap".into()).spawn(wait);
    }
}

/// Exit status and signal of a process that has ended.
pub(crate) fn how_it_ended(status: ExitStatus) -> (Option<i32>, Option<i32>) {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    let signal = None;
    (status.code(), signal)
}

/// The last lines of a process's stderr.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail(Arc<Mutex<VecDeque<Arc<str>>>>);

impl Tail {
    fn push(&self, line: Arc<str>) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == STDERR_TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| line.to_string()).collect()
    }
}

/// Reads stderr to its end, line by line.
pub(crate) async fn follow_stderr<R: AsyncRead + Unpin>(
    mut from: R,
    life: Arc<Life>,
    tail: Tail,
    told: impl Fn(Arc<str>),
) {
    let mut lines = Lines::default();
    let mut buffer = vec![0; 16 << 10];
    loop {
        let count = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        life.bytes_came();
        lines.feed(&buffer[..count], |line| {
            tail.push(line.clone());
            told(line);
        });
    }
    lines.finish(|line| {
        tail.push(line.clone());
        told(line);
    });
}

/// Cuts bytes into lines.
#[derive(Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8], mut take: impl FnMut(Arc<str>)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.begun.len() >= MAX_LINE_BYTES {
                self.finish(&mut take);
            }
        }
    }

    fn finish(&mut self, mut take: impl FnMut(Arc<str>)) {
        let line = std::mem::take(&mut self.begun);
        for piece in line.chunks(MAX_LINE_BYTES) {
            let text = String::from_utf8_lossy(piece);
            take(text.trim_end_matches(['\n', '\r']).into());
        }
    }
}

/// What the system says of a process.
#[cfg(target_os = "linux")]
pub(crate) mod figures {
    use std::fs;

    /// Processor time used so far, in clock ticks.
    pub(crate) fn cpu_ticks(pid: u32) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in brackets, may hold anything; user and system time are the 12th and 13th behind it.
        let mut fields = text.rsplit_once(") ")?.1.split(' ').skip(11);
        Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
    }

    /// Memory that is resident, in bytes.
    pub(crate) fn rss_bytes(pid: u32) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? << 10)
    }
}

/// What the system says of a process: nothing here.
#[cfg(not(target_os = "linux"))]
pub(crate) mod figures {
    pub(crate) fn cpu_ticks(_: u32) -> Option<u64> {
        None
    }

    pub(crate) fn rss_bytes(_: u32) -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Lines, MAX_LINE_BYTES};

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut found = Vec::new();
        let mut lines = Lines::default();
        for piece in pieces {
            lines.feed(piece, |line| found.push(line.to_string()));
        }
        lines.finish(|line| found.push(line.to_string()));
        found
    }

    #[test]
    fn lines_are_found_wherever_reads_cut_them() {
        assert_eq!(lines(&[b"one\r\ntw", b"o\n\nthree"]), ["one", "two", "", "three"]);
        assert_eq!(lines(&[b"whole\n"]), ["whole"]);
        assert_eq!(lines(&[b"\xff\n"]), ["\u{fffd}"]);
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let found = lines(&[&vec![b'x'; MAX_LINE_BYTES + 5], b"y\n"]);
        assert!(found.iter().all(|line| line.len() <= MAX_LINE_BYTES));
        assert_eq!(found.concat().len(), MAX_LINE_BYTES + 6);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_knows_this_process() {
        let pid = std::process::id();
        assert!(super::figures::cpu_ticks(pid).is_some());
        assert!(super::figures::rss_bytes(pid).unwrap() > 1 << 20);
        assert_eq!(super::figures::cpu_ticks(u32::MAX), None);
    }
}
