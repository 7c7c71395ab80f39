//! TCP, TLS and unix sockets; serving until told to stop.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::oneshot::Receiver;
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::server::{Connected, TcpIncoming};
use tonic::transport::{Identity, Server, ServerTlsConfig};

use crate::args::{Options, TlsFiles};
use crate::contract::model_management_service_server::ModelManagementServiceServer;
use crate::service::ModelFiles;
use crate::Failure;

#[cfg(unix)]
mod unix;

/// The longest request, in bytes: two names and what is around them.
const MAX_REQUEST: usize = 16 * 1024;
/// How often a silent connection is asked whether it is alive, and how long its answer may take.
/// A client that is gone without a word gives its streams back after both.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// How long no connection is taken after one failed, where the reason (no file left) stays.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `HOST:PORT`; a host may be a name.
    Tcp(String),
    /// A socket's path.
    #[cfg(unix)]
    Unix(std::path::PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            #[cfg(unix)]
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Nobody can connect.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct ListenError {
    /// Where.
    address: Address,
    /// The system's reason.
    source: io::Error,
}

/// A file of the command line cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the {what} {path:?} cannot be read")]
struct TlsFileError {
    /// Which of the two.
    what: &'static str,
    /// Where it should be.
    path: String,
    /// The system's reason.
    source: io::Error,
}

/// TLS cannot be offered. No text of the key is in the reason.
#[derive(Debug, thiserror::Error)]
#[error("the certificate or its key is unusable")]
struct TlsError(#[from] tonic::transport::Error);

/// A socket that clients can connect to.
#[derive(Debug)]
pub enum Listener {
    /// On TCP.
    Tcp(TcpListener),
    /// On a unix socket.
    #[cfg(unix)]
    Unix(unix::UnixIncoming),
}

impl Listener {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// When the address is taken, unknown or forbidden.
    pub async fn bind(address: &Address) -> Result<Self, ListenError> {
        let bound = match address {
            Address::Tcp(host) => TcpListener::bind(host).await.map(Self::Tcp),
            #[cfg(unix)]
            Address::Unix(path) => unix::UnixIncoming::bind(path).await.map(Self::Unix),
        };
        bound.map_err(|source| ListenError { address: address.clone(), source })
    }

    /// Where clients connect to, with the real port where 0 was asked.
    ///
    /// # Errors
    ///
    /// When the system does not tell.
    pub fn address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(|it| Address::Tcp(it.to_string())),
            #[cfg(unix)]
            Self::Unix(incoming) => Ok(Address::Unix(incoming.path().to_owned())),
        }
    }

    /// Prepares to serve until `stop`, then until the last connection has ended.
    ///
    /// # Errors
    ///
    /// When the certificate or the key is unusable.
    pub fn serve(
        self,
        service: ModelFiles,
        options: &Options,
        stop: Receiver<()>,
    ) -> Result<impl std::future::Future<Output = Result<(), Failure>>, Failure> {
        let server = server(options)?;
        let service = ModelManagementServiceServer::new(service).max_decoding_message_size(MAX_REQUEST);
        Ok(async move {
            match self {
                Self::Tcp(listener) => {
                    // A chunk's end goes out at once, and a peer that vanished is noticed even
                    // before it has spoken HTTP/2.
                    let incoming = TcpIncoming::from(listener);
                    let incoming = incoming.with_nodelay(Some(true)).with_keepalive(Some(KEEPALIVE));
                    run(server, service, incoming, stop).await
                }
                #[cfg(unix)]
                Self::Unix(incoming) => run(server, service, incoming, stop).await,
            }
        })
    }
}

/// The HTTP/2 server as the options want it.
fn server(options: &Options) -> Result<Server, Failure> {
    // No connection needs more than the whole server gives; clients keep the rest in a queue.
    let streams = u32::try_from(options.max_streams)?;
    let server = Server::builder()
        .max_concurrent_streams(streams)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE));
    match &options.tls {
        None => Ok(server),
        Some(files) => Ok(server.tls_config(tls(files)?).map_err(TlsError)?),
    }
}

/// Reads the certificate chain and its key.
fn tls(files: &TlsFiles) -> Result<ServerTlsConfig, TlsFileError> {
    let cert = read("certificate", &files.cert)?;
    let key = read("key", &files.key)?;
    Ok(ServerTlsConfig::new().identity(Identity::from_pem(cert, key)))
}

/// Reads a file, or says which one it was.
fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsFileError> {
    fs::read(path).map_err(|source| TlsFileError { what, path: path.display().to_string(), source })
}

/// Serves connections until `stop`, then lets those that are open end.
async fn run<I, IO>(
    server: Server,
    service: ModelManagementServiceServer<ModelFiles>,
    incoming: I,
    stop: Receiver<()>,
) -> Result<(), Failure>
where
    I: Stream<Item = io::Result<IO>>,
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let incoming = incoming.then(pause_after_error);
    let stopped = async { drop(stop.await) };
    let serving = server.serve_with_incoming_shutdown(service, incoming, stopped);
    serving.await.map_err(Failure::from)
}

/// Keeps a lasting failure (no file descriptor left) from taking a whole core.
async fn pause_after_error<IO>(accepted: io::Result<IO>) -> io::Result<IO> {
    if accepted.is_err() {
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
    accepted
}

/// Reads an address of the command line: `unix:/path` or `HOST:PORT`.
///
/// # Errors
///
/// What is wrong with it, as a sentence.
pub fn parse_address(text: &str) -> Result<Address, String> {
    match text.strip_prefix("unix:") {
        Some(path) => parse_unix(path),
        None => parse_tcp(text),
    }
}

/// `HOST:PORT`, with brackets around an IPv6 host.
fn parse_tcp(text: &str) -> Result<Address, String> {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let plain_host = !host.is_empty() && !host.contains(':');
    let good_host = plain_host || text.parse::<SocketAddr>().is_ok();
    if good_host && port.parse::<u16>().is_ok() {
        return Ok(Address::Tcp(text.to_owned()));
    }
    Err(format!("{text:?} is neither HOST:PORT nor unix:/path"))
}

/// The path of a unix socket; `unix:///path` is the same as `unix:/path`.
#[cfg(unix)]
fn parse_unix(path: &str) -> Result<Address, String> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() {
        return Err("unix: needs a path".to_owned());
    }
    Ok(Address::Unix(path.into()))
}

/// There are no unix sockets here.
#[cfg(not(unix))]
fn parse_unix(_: &str) -> Result<Address, String> {
    Err("unix sockets are not served on this system".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for text in ["127.0.0.1:0", "localhost:50052", "[::1]:50052", "0.0.0.0:65535"] {
            assert_eq!(parse_address(text), Ok(Address::Tcp(text.to_owned())));
        }
        for text in ["", ":1", "host", "host:", "host:65536", "host:x", "::1:5", "[::1]"] {
            assert!(parse_address(text).is_err(), "{text:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn unix_addresses_are_read() {
        for text in ["unix:/run/m.sock", "unix:///run/m.sock"] {
            let address = Address::Unix("/run/m.sock".into());
            assert_eq!(parse_address(text), Ok(address));
        }
        let relative = Address::Unix("m.sock".into());
        assert_eq!(parse_address("unix:m.sock"), Ok(relative));
        assert!(parse_address("unix:").is_err());
    }
}
