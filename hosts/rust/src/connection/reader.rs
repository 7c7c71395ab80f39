//! Reads answers and hands them out.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::shared::Shared;
use crate::protocol::Decoder;

/// How a stream of answers came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    /// Between two answers.
    Whole,
    /// Within an answer, as when its writer is killed.
    Cut(String),
    /// What came cannot be read: whoever wrote it has lost its framing.
    Violated(String),
}

/// Reads until the stream ends, or cannot be read.
pub(super) async fn run<R: AsyncRead + Unpin>(shared: Arc<Shared>, mut from: R) -> StreamEnd {
    let mut decoder = Decoder::default();
    loop {
        match from.read_buf(decoder.room()).await {
            Ok(0) | Err(_) => return decoder.finish().map_or_else(StreamEnd::Cut, |()| StreamEnd::Whole),
            Ok(_) => shared.life.bytes_came(),
        }
        if let Err(violation) = hand_out(&shared, &mut decoder) {
            return StreamEnd::Violated(violation);
        }
    }
}

fn hand_out(shared: &Shared, decoder: &mut Decoder) -> Result<(), String> {
    while let Some(answer) = decoder.next()? {
        shared.take(answer)?;
    }
    Ok(())
}
