//! The real program, asked by a real client over TCP, TLS and unix sockets.
//!
//! Unix only: signals, named pipes and unix sockets are what much of this is about.
#![cfg(unix)]

mod changes;
mod client;
mod logs;
mod process;
mod refusals;
mod sockets;
mod stop;
mod streams;

/// The contract's messages and the client made from it.
#[allow(missing_docs, clippy::all)]
mod contract {
    tonic::include_proto!("ml");
}
