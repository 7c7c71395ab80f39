//! One call: open the file, stream it, log how it went.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::{self, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::contract::model_management_service_server::ModelManagementService;
use crate::contract::{ModelFileChunk, ModelFileRequest};
use crate::files::{FileReader, Root};
use crate::log::Log;
use crate::paths::{echo, ModelPath};
use crate::refusal::Refusal;

/// Chunks read ahead of what HTTP/2 has taken. One is read while another is sent; more would
/// only cost memory, since a client that is slow takes no more for it.
const READ_AHEAD: usize = 1;

/// What a stream carries.
type Item = Result<ModelFileChunk, Status>;

/// The service over one root.
#[derive(Debug)]
pub struct ModelFiles {
    /// What is served.
    root: Arc<Root>,
    /// The most bytes of one chunk.
    chunk_bytes: usize,
    /// One permit a stream.
    streams: Arc<Semaphore>,
    /// How many permits there are.
    max_streams: usize,
    /// Where calls are told.
    log: Log,
}

impl ModelFiles {
    /// A service that hands out the root's files.
    pub fn new(root: Root, chunk_bytes: usize, max_streams: usize, log: Log) -> Self {
        Self {
            root: Arc::new(root),
            chunk_bytes,
            streams: Arc::new(Semaphore::new(max_streams)),
            max_streams,
            log,
        }
    }

    /// Checks the names, takes a permit and opens the file.
    async fn open(&self, request: ModelFileRequest) -> Result<(FileReader, OwnedSemaphorePermit), Refusal> {
        let path = ModelPath::new(request.model_id, request.file_path)?;
        let permit = Arc::clone(&self.streams).try_acquire_owned();
        let permit = permit.map_err(|_| Refusal::Busy(self.max_streams))?;
        let (root, chunk_bytes) = (Arc::clone(&self.root), self.chunk_bytes);
        let reader = blocking(move || root.open_file(&path, chunk_bytes)).await?;
        Ok((reader, permit))
    }
}

#[tonic::async_trait]
impl ModelManagementService for ModelFiles {
    type GetModelFileStream = ReceiverStream<Item>;

    async fn get_model_file(
        &self,
        request: Request<ModelFileRequest>,
    ) -> Result<Response<Self::GetModelFileStream>, Status> {
        let call = Call::new(&request);
        match self.open(request.into_inner()).await {
            Ok((reader, permit)) => {
                let (chunks, stream) = mpsc::channel(READ_AHEAD);
                let log = self.log.clone();
                tokio::spawn(async move { log.line(call.told(&pump(reader, permit, chunks).await)) });
                Ok(Response::new(ReceiverStream::new(stream)))
            }
            Err(refusal) => {
                let status = Status::from(&refusal);
                self.log.line(call.told(&Outcome::Refused(refusal)));
                Err(status)
            }
        }
    }
}

/// How a call went.
#[derive(Debug)]
enum Outcome {
    /// All of the file's bytes were handed to the connection.
    Served(u64),
    /// The client went away.
    Left,
    /// It was told why not.
    Refused(Refusal),
}

/// Reads chunk after chunk into the stream, as fast as the client takes them.
async fn pump(mut reader: FileReader, permit: OwnedSemaphorePermit, chunks: Sender<Item>) -> Outcome {
    let total = reader.total();
    loop {
        let (item, next) = match blocking(move || reader.next()).await {
            Ok((chunk, Some(rest))) => (Ok(chunk), Ok(rest)),
            Ok((chunk, None)) => (Ok(chunk), Err(Outcome::Served(total))),
            Err(refusal) => (Err(Status::from(&refusal)), Err(Outcome::Refused(refusal))),
        };
        match next {
            Ok(rest) => reader = rest,
            Err(outcome) => {
                // Before the client can see the end: its next call shall find a free stream.
                drop(permit);
                let sent = chunks.send(item).await;
                return sent.map_or(Outcome::Left, |()| outcome);
            }
        }
        if chunks.send(item).await.is_err() {
            return Outcome::Left;
        }
    }
}

/// Runs what waits for a disk on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let joined = spawn_blocking(work).await;
    joined.unwrap_or_else(|error| Err(Refusal::Io(error.into())))
}

/// What is logged of a call: who asked for what, and for how long it went.
#[derive(Debug)]
struct Call {
    /// The client's address, or what kind it is.
    peer: String,
    /// What was asked, quoted and cut.
    names: String,
    /// When.
    began: Instant,
}

impl Call {
    /// Notes a call that begins. Metadata is left out: it may hold tokens.
    fn new(request: &Request<ModelFileRequest>) -> Self {
        let peer = request.remote_addr();
        let asked = request.get_ref();
        Self {
            peer: peer.map_or_else(|| "unix".to_owned(), |address| address.to_string()),
            names: format!("{} {}", echo(&asked.model_id), echo(&asked.file_path)),
            began: Instant::now(),
        }
    }

    /// The line about a call that has ended.
    fn told(&self, outcome: &Outcome) -> String {
        let seconds = self.began.elapsed().as_secs_f64();
        format!("{} to {}: {outcome} in {seconds:.3} s", self.names, self.peer)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Served(bytes) => write!(f, "{bytes} bytes served"),
            Self::Left => f.write_str("the client went away"),
            Self::Refused(refusal) => write!(f, "{:?}, {refusal}", refusal.code()),
        }
    }
}
