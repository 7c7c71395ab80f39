//! A client that trusts nothing: every rule of the contract is checked on every chunk.

use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use crate::contract::model_management_service_client::ModelManagementServiceClient;
use crate::contract::{ModelFileChunk, ModelFileRequest};
use crate::process::{Server, LIMIT};

/// A client over one connection.
pub type Client = ModelManagementServiceClient<Channel>;

/// Connects to where a server listens.
pub async fn connect(server: &Server) -> Client {
    let address = &server.address;
    let uri = if address.starts_with("unix:") { address.clone() } else { format!("http://{address}") };
    connect_to(Endpoint::from_shared(uri).unwrap()).await
}

/// Connects to an endpoint.
pub async fn connect_to(endpoint: Endpoint) -> Client {
    let channel = timeout(LIMIT, endpoint.connect()).await.unwrap().unwrap();
    // The server's largest chunk is just below the usual limit of 4 MiB, which thereby is tested.
    ModelManagementServiceClient::new(channel)
}

/// A request for a file.
pub fn request(model: &str, file: &str) -> ModelFileRequest {
    ModelFileRequest { model_id: model.to_owned(), file_path: file.to_owned() }
}

/// A file on its way.
pub struct Transfer {
    stream: Streaming<ModelFileChunk>,
    /// The bytes that came.
    pub bytes: Vec<u8>,
    /// Their number: bytes themselves are kept only where `keep` is set.
    pub received: u64,
    /// What the first chunk said.
    pub total: Option<i64>,
    /// Whether the last chunk has come.
    pub is_last: bool,
    /// How many chunks came.
    pub chunks: usize,
    keep: bool,
}

impl Transfer {
    /// Asks for a file; its bytes are kept.
    pub async fn open(client: &Client, model: &str, file: &str) -> Result<Self, Status> {
        let mut client = client.clone();
        let answer = timeout(LIMIT, client.get_model_file(request(model, file))).await.unwrap()?;
        let stream = answer.into_inner();
        let bytes = Vec::new();
        Ok(Self { stream, bytes, received: 0, total: None, is_last: false, chunks: 0, keep: true })
    }

    /// Keeps no bytes from now on.
    pub fn count_only(mut self) -> Self {
        self.keep = false;
        self
    }

    /// Takes one chunk; false at the end of the stream.
    pub async fn step(&mut self) -> Result<bool, Status> {
        let Some(chunk) = timeout(LIMIT, self.stream.message()).await.expect("the stream stalls")? else {
            return Ok(false);
        };
        assert!(!self.is_last, "a chunk after the last one");
        assert_eq!(chunk.offset as u64, self.received, "offsets are contiguous");
        assert_eq!(chunk.total_size, *self.total.get_or_insert(chunk.total_size), "the total is constant");
        self.received += chunk.data.len() as u64;
        self.chunks += 1;
        self.is_last = chunk.is_last;
        assert_eq!(chunk.is_last, self.received == chunk.total_size as u64, "the last chunk ends the file");
        if self.keep {
            self.bytes.extend(chunk.data);
        }
        Ok(true)
    }

    /// Takes the rest; the stream must end well.
    pub async fn finish(mut self) -> Self {
        while self.step().await.unwrap() {}
        assert!(self.is_last, "the stream ended well without a last chunk");
        self
    }

    /// Takes the rest; the stream must end badly, and without a last chunk.
    pub async fn fail(mut self) -> Status {
        let status = loop {
            match self.step().await {
                Ok(true) => {}
                Ok(false) => panic!("the stream ended well"),
                Err(status) => break status,
            }
        };
        assert!(!self.is_last, "a last chunk before the failure");
        status
    }
}

/// Gets a whole file.
pub async fn fetch(client: &Client, model: &str, file: &str) -> Transfer {
    Transfer::open(client, model, file).await.unwrap().finish().await
}

/// Asks for what must be refused.
pub async fn refused(client: &Client, model: &str, file: &str) -> (Code, String) {
    let status = match Transfer::open(client, model, file).await {
        Ok(transfer) => transfer.fail().await,
        Err(status) => status,
    };
    (status.code(), status.message().to_owned())
}
