//! A line for each call on stderr, without secrets, that never holds up a stream.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use tonic::transport::Endpoint;
use tonic::Request;

use crate::client::{connect, connect_to, fetch, refused, request};
use crate::process::{command, Folder, Server};

#[tokio::test]
async fn each_call_is_one_line_with_names_escaped_and_metadata_left_out() {
    let folder = Folder::new();
    folder.write("demo/m/model.onnx", b"good");
    let server = Server::tcp(&folder, &[]);
    let mut client = connect(&server).await;
    fetch(&client, "demo/m", "model.onnx").await;
    refused(&client, "demo/m", "evil\nmodel-cache: forged \u{1b}[31m").await;
    refused(&client, "demo/m", "../x").await;
    let mut secret = Request::new(request("demo/m", "none"));
    secret.metadata_mut().insert("authorization", "Bearer hush".parse().unwrap());
    assert!(client.get_model_file(secret).await.is_err());

    let log = server.wait_for_log("\"none\"").await;
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 4, "{log}");
    assert!(lines[0].starts_with("model-cache: \"demo/m\" \"model.onnx\" to 127.0.0.1:"), "{log}");
    assert!(lines[0].contains(": 4 bytes served in "), "{log}");
    assert!(lines[1].contains(r#""evil\nmodel-cache: forged \u{1b}[31m""#), "{log}");
    assert!(lines[2].contains("InvalidArgument, file_path \"../x\" is refused"), "{log}");
    assert!(lines[3].contains("NotFound, model \"demo/m\" has no file \"none\""), "{log}");
    assert!(!log.contains("hush"), "{log}");
}

#[tokio::test]
async fn a_parent_that_reads_no_stderr_is_served_all_the_same() {
    let folder = Folder::new();
    folder.write("demo/m/model.onnx", b"good");
    let mut command = command(&folder.root(), &["--listen", "127.0.0.1:0"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap();
    let client = connect_to(Endpoint::from_shared(format!("http://{address}")).unwrap()).await;
    // Each refusal logs some 250 bytes: more than the pipe and the waiting lines hold.
    let name = "x".repeat(200);
    for _ in 0..2500 {
        refused(&client, "demo/m", &name).await;
    }
    assert_eq!(fetch(&client, "demo/m", "model.onnx").await.bytes, b"good");
    child.kill().unwrap();
    child.wait().unwrap();
}
