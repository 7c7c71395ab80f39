//! A request that is booked, in its caller's hands.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::open::Lost;
use super::shared::Shared;

/// Takes a request back when it is dropped.
pub(crate) struct Ticket {
    shared: Option<Arc<Shared>>,
    id: u32,
}

impl Ticket {
    pub(super) fn new(shared: Arc<Shared>, id: u32) -> Self {
        Self { shared: Some(shared), id }
    }

    /// One without a request.
    pub(super) fn settled() -> Self {
        Self { shared: None, id: 0 }
    }

    /// The request is answered: there is nothing to take back.
    pub(super) fn settle(&mut self) {
        self.shared = None;
    }

    /// Where the request is booked, until it is settled.
    pub(super) fn shared(&self) -> Option<Arc<Shared>> {
        self.shared.clone()
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.abandon(self.id);
        }
    }
}

/// A request that is booked: gives its answer. Dropping it cancels the request.
pub(crate) struct Sent {
    pub(super) receiver: oneshot::Receiver<std::result::Result<Bytes, Lost>>,
    pub(super) ticket: Ticket,
}

impl Future for Sent {
    type Output = std::result::Result<Bytes, Lost>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.receiver).poll(context));
        self.ticket.settle();
        Poll::Ready(answer.unwrap_or(Err(Lost::NotSent)))
    }
}
