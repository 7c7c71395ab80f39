//! A file that changes while it is streamed: the stream fails, and never tells a lie.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tonic::Code;

use crate::client::{connect, Transfer};
use crate::process::{Folder, Server};

/// Much more than connection and server hold between them, in bytes.
const SIZE: u64 = 64 << 20;

/// A large file of zeroes, of which one chunk has been streamed.
struct Started {
    transfer: Transfer,
    path: PathBuf,
    file: File,
    folder: Folder,
    _server: Server,
}

impl Started {
    async fn new() -> Self {
        let folder = Folder::new();
        let path = folder.sparse("demo/m/large.bin", SIZE);
        let file = File::options().write(true).open(&path).unwrap();
        // A change within one tick of the clock that dates files could otherwise go unseen.
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        let server = Server::tcp(&folder, &[]);
        let transfer = Transfer::open(&connect(&server).await, "demo/m", "large.bin").await;
        let mut transfer = transfer.unwrap().count_only();
        assert!(transfer.step().await.unwrap());
        Self { transfer, path, file, folder, _server: server }
    }

    /// The stream must fail, and say why.
    async fn fails(self) {
        let status = self.transfer.fail().await;
        assert_eq!(status.code(), Code::Aborted);
        assert!(status.message().starts_with("the file changed while it was read"), "{status}");
    }
}

#[tokio::test]
async fn cut_short() {
    let started = Started::new().await;
    started.file.set_len(1 << 20).unwrap();
    started.fails().await;
}

#[tokio::test]
async fn emptied() {
    let started = Started::new().await;
    started.file.set_len(0).unwrap();
    started.fails().await;
}

#[tokio::test]
async fn grown() {
    let started = Started::new().await;
    started.file.set_len(SIZE + 1).unwrap();
    started.fails().await;
}

#[tokio::test]
async fn written_over_in_its_size() {
    let started = Started::new().await;
    started.file.write_all_at(b"other", SIZE - 5).unwrap();
    started.fails().await;
}

#[tokio::test]
async fn replaced_or_removed_the_old_file_arrives_whole() {
    for remove in [false, true] {
        let started = Started::new().await;
        let new = started.folder.write("demo/m/new.bin", b"new");
        if remove {
            fs::remove_file(&started.path).unwrap();
        } else {
            fs::rename(new, &started.path).unwrap();
        }
        assert_eq!(started.transfer.finish().await.received, SIZE);
    }
}
