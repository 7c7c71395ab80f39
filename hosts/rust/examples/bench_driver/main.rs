//! Puts a worker under load through this library, for the project's bench.
//!
//! It is driven over stdin and stdout, one JSON object a line. The first line in is a [`Setup`]; out comes
//! `{"ready":true,"workerPid":n}`. Then each line in is an [`Order`], and gives one line out: what was measured, or
//! `{"error":text}`. The end of stdin ends the worker and this program.

mod inputs;
mod kills;
mod load;
mod pictures;
mod recycle;
mod setup;
mod statistics;

use std::error::Error;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{json, Value};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use tokio::runtime::{Builder, Runtime};

use setup::{Setup, Subject};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Names the kind of runtime: "current_thread", else one with two threads.
const RUNTIME_VARIABLE: &str = "BENCH_DRIVER_RUNTIME";

/// What is to be done.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Order {
    /// So many requests in a closed loop.
    Run(u64),
    /// For hosts with an event loop of their own.
    Lag {},
    /// Requests while the worker is killed.
    Kills(kills::Kills),
    /// Requests while the worker is recycled.
    Recycle(recycle::Recycle),
}

fn main() -> Result<()> {
    runtime()?.block_on(serve())
}

fn runtime() -> std::io::Result<Runtime> {
    match std::env::var(RUNTIME_VARIABLE).as_deref() {
        Ok("current_thread") => Builder::new_current_thread().enable_all().build(),
        _ => Builder::new_multi_thread().worker_threads(2).enable_all().build(),
    }
}

async fn serve() -> Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let Some(subject) = begin(&mut lines).await? else { return Ok(()) };
    while let Some(line) = lines.next_line().await? {
        print(obey(&subject, &line).await);
    }
    subject.worker.close().await?;
    Ok(())
}

/// Start the worker; `None` where that failed, which has been told.
async fn begin(lines: &mut Lines<BufReader<Stdin>>) -> Result<Option<Arc<Subject>>> {
    let line = lines.next_line().await?.ok_or("expected a line with the setup")?;
    match start(&line).await {
        Ok(subject) => {
            print(Ok(json!({ "ready": true, "workerPid": subject.worker.pid() })));
            Ok(Some(Arc::new(subject)))
        }
        Err(error) => {
            print(Err(error));
            Ok(None)
        }
    }
}

async fn start(line: &str) -> Result<Subject> {
    let setup: Setup = serde_json::from_str(line)?;
    Subject::start(setup).await
}

async fn obey(subject: &Arc<Subject>, line: &str) -> Result<Value> {
    match serde_json::from_str(line)? {
        Order::Run(requests) => load::run(subject, requests).await,
        Order::Lag {} => Err("unsupported".into()),
        Order::Kills(order) => kills::run(subject, order).await,
        Order::Recycle(order) => recycle::run(subject, order).await,
    }
}

fn print(answer: Result<Value>) {
    println!("{}", answer.unwrap_or_else(|error| json!({ "error": error.to_string() })));
}
