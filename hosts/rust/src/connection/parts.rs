//! Answers in several parts, on their way from the reading task to the one who takes them.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::open::Lost;
use super::ticket::Ticket;
use super::Connection;

/// What comes out of the channel.
pub(crate) enum Part {
    /// One answer; the final one ends the stream.
    Answer { body: Bytes, last: bool },
    /// There will be no final answer.
    Lost(Lost),
    /// Too much was not taken.
    Overrun,
}

/// The reading task's end.
pub(crate) struct PartsSender {
    to: mpsc::UnboundedSender<Part>,
    untaken: Arc<AtomicUsize>,
    bound: usize,
}

impl PartsSender {
    /// Hands a part over; false where too much has not been taken, and the request is to be given up.
    #[must_use]
    pub(crate) fn answer(&self, body: Bytes, last: bool) -> bool {
        let length = body.len();
        if self.untaken.fetch_add(length, Ordering::Relaxed) + length > self.bound && !last {
            self.send(Part::Overrun);
            return false;
        }
        self.send(Part::Answer { body, last });
        true
    }

    pub(crate) fn lost(&self, lost: Lost) {
        self.send(Part::Lost(lost));
    }

    fn send(&self, part: Part) {
        // Where the taker is gone its ticket has cancelled the request.
        let _ = self.to.send(part);
    }
}

/// The taker's end. Dropping it cancels the request.
pub(crate) struct Parts {
    from: mpsc::UnboundedReceiver<Part>,
    untaken: Arc<AtomicUsize>,
    pub(super) ticket: Ticket,
}

impl Parts {
    /// Both ends. The request of the ticket is the one that is answered; `bound` are the bytes that may wait to be
    /// taken.
    pub(super) fn new(ticket: Ticket, bound: usize) -> (PartsSender, Self) {
        let (to, from) = mpsc::unbounded_channel();
        let untaken = Arc::new(AtomicUsize::new(0));
        (PartsSender { to, untaken: untaken.clone(), bound }, Self { from, untaken, ticket })
    }

    /// The next part; `None` after the last one.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Part>> {
        let next = Pin::new(&mut self.from).poll_recv(context);
        match &next {
            Poll::Ready(Some(Part::Answer { body, last })) => {
                self.untaken.fetch_sub(body.len(), Ordering::Relaxed);
                if *last {
                    self.ticket.settle();
                }
            }
            Poll::Ready(Some(Part::Lost(_) | Part::Overrun)) => self.ticket.settle(),
            Poll::Ready(None) | Poll::Pending => {}
        }
        next
    }

    /// The pipes over which it is answered; `None` after the last part.
    pub(crate) fn connection(&self) -> Option<Connection> {
        self.ticket.shared().map(|shared| Connection { shared })
    }

    /// The request's id.
    pub(crate) fn id(&self) -> u32 {
        self.ticket.id()
    }
}

/// Whether an answer is the final one of its request.
///
/// # Errors
/// In words, where it is no JSON.
pub(super) fn is_last(body: &[u8]) -> Result<bool, String> {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow)]
        event: Option<&'a serde_json::value::RawValue>,
        #[serde(default, rename = "final")]
        last: bool,
    }
    let head: Head<'_> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    Ok(head.event.is_none() || head.last)
}

#[cfg(test)]
mod tests {
    use super::is_last;

    #[test]
    fn an_answer_is_final_unless_it_is_an_event_that_says_nothing_of_it() {
        let cases: [(&str, bool); 5] = [
            ("{}", true),
            (r#"{"error":"x","code":"cancelled"}"#, true),
            (r#"{"event":"token","index":0}"#, false),
            (r#"{"event":"token","final":false}"#, false),
            (r#"{"event":"done","final":true}"#, true),
        ];
        for (body, last) in cases {
            assert_eq!(is_last(body.as_bytes()), Ok(last), "{body}");
        }
        assert!(is_last(b"{nonsense}").is_err());
    }
}
