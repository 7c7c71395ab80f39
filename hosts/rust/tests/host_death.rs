//! A host that ends, in whatever way: no process is left.
#![cfg(unix)]

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{pid_of, raw, signal, PATIENCE};
use inferpipe::Worker;
use rustix::process::Signal;

const ROLE: &str = "INFERPIPE_TEST_ROLE";

/// Not a test: the host that the tests of this file start and end. This program is started anew to play it.
#[test]
fn act_as_host() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let worker = Worker::spawn(common::fakes(&["fake:hang?size=64"]).unwrap()).await.unwrap();
        let open = tokio::spawn({
            let worker = worker.clone();
            async move { worker.infer(0, raw(1)).await }
        });
        worker.ping().await.unwrap();
        println!("\nworker {}", pid_of(&worker));
        match role.as_str() {
            "exits" => std::process::exit(3),
            "returns" => {}
            "panics" => panic!("as it was told to"),
            _ => drop(open.await),
        }
    });
}

/// Starts the host; gives it and its worker's process.
fn host(role: &str) -> (Child, u32) {
    let program = std::env::current_exe().unwrap();
    let mut host = Command::new(program)
        .args(["--exact", "act_as_host", "--nocapture"])
        .env(ROLE, role)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(host.stdout.take().unwrap()).lines();
    let worker = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("worker ")?.parse().ok());
    (host, worker.expect("a worker"))
}

fn assert_gone(pid: u32) {
    let started = Instant::now();
    while !has_ended(pid) {
        assert!(started.elapsed() < PATIENCE, "the worker is still there: {}", stat(pid));
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process has ended. Its parent is gone, so it is the system's to reap, which may take its time.
fn has_ended(pid: u32) -> bool {
    stat(pid).rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

/// What the system says of a process.
fn stat(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default()
}

#[test]
fn a_host_that_is_killed_leaves_no_process() {
    if common::python().is_none() {
        return;
    }
    for end in [Signal::KILL, Signal::TERM] {
        let (mut host, worker) = host("waits");
        signal(host.id(), end);
        host.wait().unwrap();
        assert_gone(worker);
    }
}

#[test]
fn a_host_that_ends_without_closing_leaves_no_process() {
    if common::python().is_none() {
        return;
    }
    for role in ["exits", "returns", "panics"] {
        let (mut host, worker) = host(role);
        host.wait().unwrap();
        assert_gone(worker);
    }
}
