//! Everything that is not served, with its status and its text; nothing outside is ever read.

use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::process::Command;

use tonic::Code::{self, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied};

use crate::client::{connect, fetch, refused, request};
use crate::process::{Folder, Server};

/// A request, and the status and text that it gets.
type Case<'a> = (&'a str, &'a str, Code, &'a str);

/// A root with one good model, and a secret beside it.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("demo/m/model.onnx", b"good");
    folder.write("demo/m/onnx/model.onnx", b"deep");
    fs::create_dir(folder.path("outside")).unwrap();
    fs::write(folder.path("outside/secret"), b"secret").unwrap();
    fs::write(folder.path("secret"), b"secret").unwrap();
    folder
}

/// Checks each case, and that the server serves on.
async fn check(server: &Server, cases: &[Case<'_>]) {
    let client = connect(server).await;
    for (model, file, code, text) in cases {
        let (got, message) = refused(&client, model, file).await;
        assert_eq!(got, *code, "{model:?} {file:?}: {message}");
        assert!(message.contains(text), "{model:?} {file:?}: {message:?} does not say {text:?}");
    }
    assert_eq!(fetch(&client, "demo/m", "model.onnx").await.bytes, b"good");
}

#[tokio::test]
async fn names_that_are_never_served() {
    let folder = folder();
    let server = Server::tcp(&folder, &[]);
    let absolute = folder.path("secret");
    let absolute = absolute.to_str().unwrap();
    let long = "x".repeat(300);
    let longer = "x/".repeat(1000);
    let mut cases = Vec::new();
    for (name, text) in [
        ("", "is empty"),
        ("..", "\".\" or \"..\""),
        ("../secret", "\".\" or \"..\""),
        ("../../secret", "\".\" or \"..\""),
        ("onnx/../model.onnx", "\".\" or \"..\""),
        ("./model.onnx", "\".\" or \"..\""),
        ("onnx/..", "\".\" or \"..\""),
        ("..\\secret", "backslash"),
        ("onnx\\model.onnx", "backslash"),
        ("C:/secret", "drive letter"),
        ("c:secret", "drive letter"),
        ("onnx/C:", "drive letter"),
        ("/", "begins with"),
        ("/etc/passwd", "begins with"),
        ("//host/share", "begins with"),
        (absolute, "begins with"),
        ("model.onnx\0", "NUL"),
        ("\0", "NUL"),
        ("onnx//model.onnx", "empty segment"),
        ("onnx/", "empty segment"),
        (&long, "longer than 255"),
        (&longer, "longer than 1024"),
    ] {
        cases.push(("demo/m", name, InvalidArgument, text));
        cases.push((name, "model.onnx", InvalidArgument, text));
    }
    cases.push(("a/b/c", "model.onnx", InvalidArgument, "more than 2 segments"));
    check(&server, &cases).await;
}

#[tokio::test]
async fn names_of_nothing_and_of_what_is_no_file() {
    let folder = folder();
    let fifo = folder.root().join("demo/m/fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let _socket = UnixListener::bind(folder.root().join("demo/m/socket")).unwrap();
    let server = Server::tcp(&folder, &[]);
    let cases = [
        ("demo/none", "model.onnx", NotFound, "there is no model \"demo/none\""),
        ("none", "model.onnx", NotFound, "there is no model \"none\""),
        ("demo/m/", "model.onnx", InvalidArgument, "empty segment"),
        ("demo/m", "none.onnx", NotFound, "model \"demo/m\" has no file \"none.onnx\""),
        ("demo/m", "none/model.onnx", NotFound, "has no file"),
        ("demo/m", "model.onnx/x", NotFound, "has no file"),
        // Nothing is decoded or expanded.
        ("demo/m", "%2e%2e/%2e%2e/secret", NotFound, "has no file"),
        ("demo/m", "~/secret", NotFound, "has no file"),
        ("demo/m", "onnx", FailedPrecondition, "\"onnx\" is a folder, not a file"),
        ("demo", "m", FailedPrecondition, "is a folder"),
        ("demo/m", "fifo", FailedPrecondition, "is a pipe or device"),
        ("demo/m", "socket", FailedPrecondition, "is a socket"),
    ];
    check(&server, &cases).await;
}

#[tokio::test]
async fn links_out_of_the_root_are_refused_and_links_within_are_served() {
    let folder = folder();
    let model = folder.root().join("demo/m");
    let link = |to: &str, name: &str| symlink(to, model.join(name)).unwrap();
    link("../../../secret", "file");
    link("../../../outside", "folder");
    link(folder.path("secret").to_str().unwrap(), "absolute");
    link("/proc/self/environ", "proc");
    link("file", "chained");
    link("../../..", "parent");
    link("nothing", "dangling");
    link("circle", "circle");
    link("onnx/../model.onnx", "inside");
    link("../m/onnx", "inside_folder");
    symlink("../../outside", folder.root().join("demo/linked")).unwrap();
    let server = Server::tcp(&folder, &[]);
    let out = "leads out of the served folder";
    let cases = [
        ("demo/m", "file", InvalidArgument, out),
        ("demo/m", "folder/secret", InvalidArgument, out),
        ("demo/m", "absolute", InvalidArgument, out),
        ("demo/m", "proc", InvalidArgument, out),
        ("demo/m", "chained", InvalidArgument, out),
        ("demo/m", "parent/secret", InvalidArgument, out),
        ("demo/m", "parent/root/demo/m/model.onnx", InvalidArgument, out),
        ("demo/linked", "secret", InvalidArgument, out),
        ("demo/m", "dangling", NotFound, "has no file"),
        ("demo/m", "circle", FailedPrecondition, "a link that goes in circles"),
    ];
    check(&server, &cases).await;
    let client = connect(&server).await;
    assert_eq!(fetch(&client, "demo/m", "inside").await.bytes, b"good");
    assert_eq!(fetch(&client, "demo/m", "inside_folder/model.onnx").await.bytes, b"deep");
}

#[tokio::test]
async fn a_link_that_changes_all_the_time_never_leads_out() {
    let folder = folder();
    let link = folder.root().join("demo/m/link");
    let spare = folder.root().join("demo/m/spare");
    let server = Server::tcp(&folder, &[]);
    symlink("onnx", &link).unwrap();
    let swapping = tokio::task::spawn_blocking(move || {
        for target in ["../../../outside", "onnx"].into_iter().cycle().take(4000) {
            symlink(target, &spare).unwrap();
            fs::rename(&spare, &link).unwrap();
        }
    });
    let client = connect(&server).await;
    while !swapping.is_finished() {
        let (code, text) = refused(&client, "demo/m", "link/secret").await;
        assert!(matches!(code, InvalidArgument | NotFound), "{code:?}: {text}");
    }
    swapping.await.unwrap();
}

#[tokio::test]
async fn a_file_that_the_server_may_not_read() {
    let folder = folder();
    let path = folder.write("demo/m/private", b"secret");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_ok() {
        println!("skipped: this user may read everything");
        return;
    }
    let server = Server::tcp(&folder, &[]);
    check(&server, &[("demo/m", "private", PermissionDenied, "may not read \"private\"")]).await;
}

#[tokio::test]
async fn a_request_that_is_far_too_large_harms_nobody() {
    let folder = folder();
    let server = Server::tcp(&folder, &[]);
    let mut client = connect(&server).await;
    let huge = request("demo/m", &"x".repeat(1 << 20));
    assert_eq!(client.get_model_file(huge).await.unwrap_err().code(), Code::OutOfRange);
    check(&server, &[]).await;
}
