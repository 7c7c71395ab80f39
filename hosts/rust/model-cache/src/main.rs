//! `model-cache`: hands out the files of models over gRPC, streamed from a folder.
//!
//! # Layout
//!
//! * `args`: the command line.
//! * `paths`: which names a client may ask for; pure.
//! * `files`: a file within the root, read chunk by chunk.
//! * `refusal`: every reason not to serve, with its gRPC status.
//! * `service`: one call: open, stream, log.
//! * `listen`: TCP, TLS and unix sockets; serving until told to stop.
//! * `signals`: what tells it to stop.
//! * `log`: lines on stderr that never hold up a stream.

#![forbid(unsafe_code)]

mod args;
mod files;
mod listen;
mod log;
mod paths;
mod refusal;
mod service;
mod signals;

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use args::{Command, Options};
use files::Root;
use listen::Listener;
use log::Log;
use service::ModelFiles;
use signals::Signals;
use tokio::sync::oneshot;

/// The contract's messages and service.
#[allow(missing_docs, clippy::all)]
mod contract {
    tonic::include_proto!("ml");
}

/// What ends the program before its time.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    match args::parse(std::env::args_os()) {
        Ok(Command::Serve(options)) => serve(&options),
        Ok(Command::Print(text)) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&format!("{error}\nTry 'model-cache --help'."));
            ExitCode::from(2)
        }
    }
}

/// Serves until a signal; the exit status tells whether it ever could.
fn serve(options: &Options) -> ExitCode {
    match start(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// Makes the runtime and the log, runs within them, and leaves no thread waited for.
fn start(options: &Options) -> Result<(), Failure> {
    let log = Log::start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(run(options, &log));
    // A read that a dead disk or network share holds up must not hold up the exit.
    runtime.shutdown_background();
    log.flush();
    outcome
}

/// Listens, says so, serves, and stops in good order.
async fn run(options: &Options, log: &Log) -> Result<(), Failure> {
    let root = Root::open(&options.root)?;
    let service = ModelFiles::new(root, options.chunk_bytes, options.max_streams, log.clone());
    // Before the line on stdout: who reads it may send a signal at once.
    let mut signals = Signals::new()?;
    let listener = Listener::bind(&options.listen).await?;
    let address = listener.address()?;
    let (stop, stopped) = oneshot::channel();
    let serving = listener.serve(service, options, stopped)?;
    tokio::pin!(serving);
    print(&format!("listening on {address}\n"));

    tokio::select! {
        outcome = &mut serving => return outcome,
        () = signals.next() => log.line("stopping: open streams may finish".to_owned()),
    }
    // The receiver is gone only when serving has ended by itself, which is told below.
    let _ = stop.send(());
    tokio::select! {
        outcome = &mut serving => outcome,
        () = tokio::time::sleep(options.grace) => {
            log.line("stopped: the grace time is over, what was open is cut".to_owned());
            Ok(())
        }
        () = signals.next() => {
            log.line("stopped: told twice, what was open is cut".to_owned());
            Ok(())
        }
    }
}

/// Writes to stdout; nobody need be reading.
fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Writes why the program ends to stderr; nobody need be reading.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "model-cache: {text}");
}

/// An error and what caused it, on one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut lines = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        lines.push(error.to_string());
        cause = error.source();
    }
    // Wrappers often repeat their cause's text.
    lines.dedup();
    lines.join(": ")
}
