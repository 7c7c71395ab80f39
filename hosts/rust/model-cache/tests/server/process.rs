//! The server as a child process, and folders for it to serve.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// No step of a test takes longer, however busy the machine is.
pub const LIMIT: Duration = Duration::from_secs(20);

/// A folder that holds a root to serve and what is not to be served, beside it.
pub struct Folder {
    temp: TempDir,
}

impl Folder {
    pub fn new() -> Self {
        let temp = TempDir::new().unwrap();
        fs::create_dir(temp.path().join("root")).unwrap();
        Self { temp }
    }

    /// The served folder.
    pub fn root(&self) -> PathBuf {
        self.path("root")
    }

    /// A path beside the root.
    pub fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// Writes a file within the root, with the folders that it needs.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Makes a file of zeroes within the root that takes no room on the disk.
    pub fn sparse(&self, name: &str, bytes: u64) -> PathBuf {
        let path = self.write(name, b"");
        File::options().write(true).open(&path).unwrap().set_len(bytes).unwrap();
        path
    }
}

/// Bytes in which every place differs from its neighbours and from other seeds' bytes.
pub fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

/// The command that starts the program.
pub fn command(root: &Path, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_model-cache"));
    command.arg("--root").arg(root).args(options).stdin(Stdio::null());
    command
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    /// What it printed behind `listening on `.
    pub address: String,
    /// What it wrote to stderr.
    stderr: tempfile::NamedTempFile,
}

impl Server {
    /// Starts a server and waits until it listens.
    pub fn start(root: &Path, options: &[&str]) -> Self {
        let stderr = tempfile::NamedTempFile::new().unwrap();
        let mut command = command(root, options);
        let output = stderr.reopen().unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(output).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on ").and_then(|it| it.strip_suffix('\n'));
        let address = address.unwrap_or_else(|| panic!("it printed {line:?}")).to_owned();
        Self { child, address, stderr }
    }

    /// Starts a server on a free TCP port.
    pub fn tcp(folder: &Folder, options: &[&str]) -> Self {
        let listen = ["--listen", "127.0.0.1:0"];
        Self::start(&folder.root(), &[&listen, options].concat())
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Everything on stderr so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.stderr.path()).unwrap()
    }

    /// Waits for a text on stderr.
    pub async fn wait_for_log(&self, text: &str) -> String {
        wait_until(|| Some(self.log()).filter(|log| log.contains(text))).await
    }

    /// Waits for the process to end.
    pub async fn wait(&mut self) -> ExitStatus {
        wait_until(|| self.child.try_wait().unwrap()).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again and again until there is an answer.
pub async fn wait_until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < LIMIT, "it never came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
