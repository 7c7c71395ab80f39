//! Unix sockets come and go with the server; TLS; what cannot be listened on is told.

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Output;

use rcgen::{generate_simple_self_signed, CertifiedKey};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use crate::client::{connect, connect_to, fetch};
use crate::process::{command, Folder, Server};

/// A folder with one small file.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("demo/m/model.onnx", b"good");
    folder
}

/// The server on a unix socket beside its root.
fn start(folder: &Folder, socket: &Path) -> Server {
    Server::start(&folder.root(), &["--listen", &format!("unix:{}", socket.display())])
}

/// Runs a server that must not start; its exit status and what it says.
fn fails(folder: &Folder, options: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command(&folder.root(), options).output().unwrap();
    assert!(stdout.is_empty());
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[tokio::test]
async fn a_socket_s_file_goes_with_the_server() {
    let folder = folder();
    let socket = folder.path("m.sock");
    let mut server = start(&folder, &socket);
    assert_eq!(fetch(&connect(&server).await, "demo/m", "model.onnx").await.bytes, b"good");
    server.signal("TERM");
    assert!(server.wait().await.success());
    assert!(!socket.exists());
}

#[tokio::test]
async fn the_socket_of_a_dead_server_is_taken_over() {
    let folder = folder();
    let socket = folder.path("m.sock");
    let mut killed = start(&folder, &socket);
    killed.signal("KILL");
    killed.wait().await;
    assert!(socket.exists());
    let server = start(&folder, &socket);
    assert_eq!(fetch(&connect(&server).await, "demo/m", "model.onnx").await.bytes, b"good");
}

#[tokio::test]
async fn a_socket_in_use_and_a_plain_file_are_left_alone() {
    let folder = folder();
    let (used, plain) = (folder.path("used.sock"), folder.path("plain"));
    let _listener = UnixListener::bind(&used).unwrap();
    fs::write(&plain, b"precious").unwrap();
    for path in [&used, &plain] {
        let (code, text) = fails(&folder, &["--listen", &format!("unix:{}", path.display())]);
        assert_eq!(code, Some(1));
        assert!(text.contains("cannot listen on unix:") && text.contains("in use"), "{text}");
    }
    UnixStream::connect(&used).unwrap();
    assert_eq!(fs::read(&plain).unwrap(), b"precious");
}

#[tokio::test]
async fn a_server_that_stops_leaves_its_successor_s_socket() {
    let folder = folder();
    let socket = folder.path("m.sock");
    let mut old = start(&folder, &socket);
    fs::remove_file(&socket).unwrap();
    let new = start(&folder, &socket);
    old.signal("TERM");
    old.wait().await;
    assert_eq!(fetch(&connect(&new).await, "demo/m", "model.onnx").await.bytes, b"good");
}

#[tokio::test]
async fn a_taken_port_a_missing_root_and_a_wrong_option_are_told() {
    let folder = folder();
    let server = Server::tcp(&folder, &[]);
    let (code, text) = fails(&folder, &["--listen", &server.address]);
    assert_eq!(code, Some(1));
    assert!(text.contains(&format!("cannot listen on {}", server.address)), "{text}");

    let missing = command(&folder.path("none"), &[]).output().unwrap();
    let text = String::from_utf8(missing.stderr).unwrap();
    assert_eq!(missing.status.code(), Some(1));
    assert!(text.contains("cannot be opened as a folder"), "{text}");

    let (code, text) = fails(&folder, &["--port", "1"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("--port") && text.contains("--help"), "{text}");
}

#[tokio::test]
async fn files_arrive_over_tls() {
    let folder = folder();
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert_file, key_file) = (folder.path("cert.pem"), folder.path("key.pem"));
    fs::write(&cert_file, cert.pem()).unwrap();
    fs::write(&key_file, signing_key.serialize_pem()).unwrap();
    let tls = ["--tls-cert", cert_file.to_str().unwrap(), "--tls-key", key_file.to_str().unwrap()];
    let server = Server::tcp(&folder, &tls);

    let trusted = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(cert.pem()));
    let uri = format!("https://{}", server.address);
    let endpoint = Endpoint::from_shared(uri).unwrap();
    let endpoint = endpoint.tls_config(trusted.domain_name("localhost")).unwrap();
    assert_eq!(fetch(&connect_to(endpoint).await, "demo/m", "model.onnx").await.bytes, b"good");

    let plain = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let mut plain = crate::client::Client::new(plain.connect_lazy());
    assert!(plain.get_model_file(crate::client::request("demo/m", "model.onnx")).await.is_err());
}

#[tokio::test]
async fn a_bad_key_is_told_without_its_text() {
    let folder = folder();
    let (cert, key) = (folder.path("cert.pem"), folder.path("key.pem"));
    fs::write(&cert, "no certificate").unwrap();
    fs::write(&key, "-----BEGIN PRIVATE KEY-----\naHVzaGh1c2g=\n-----END PRIVATE KEY-----\n").unwrap();
    let listen = ["--listen", "127.0.0.1:0"];
    let tls = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let (code, text) =
        fails(&folder, &[listen, tls[..2].try_into().unwrap(), tls[2..].try_into().unwrap()].concat());
    assert_eq!(code, Some(1));
    assert!(text.contains("the certificate or its key is unusable"), "{text}");
    assert!(!text.contains("aHVzaGh1c2g") && !text.contains("hushhush"), "{text}");
}
