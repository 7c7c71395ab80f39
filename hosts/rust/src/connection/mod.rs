//! One worker's pipes: ids, what is open, back-pressure, cancellation, answers in several parts.
//!
//! Callers book their requests in a [`Book`]; one task writes what it says, another one reads
//! answers and hands them out.

mod book;
mod life;
mod open;
mod parts;
#[cfg(test)]
mod parts_tests;
mod reader;
mod shared;
#[cfg(test)]
mod tests;
mod ticket;
mod writer;

use std::future::Future;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{oneshot, Notify};
use tokio_util::sync::CancellationToken;

use crate::death::Death;
use crate::protocol::{Lease, Message, Result};

use book::{Book, Phase};
use open::{Open, Reply};
use shared::Shared;
use ticket::Ticket;

pub(crate) use book::Budget;
pub(crate) use life::Life;
pub(crate) use open::{Kind, Lost, Note};
pub(crate) use parts::{Part, Parts};
pub(crate) use reader::StreamEnd;
pub(crate) use ticket::Sent;

/// The handshake's id.
const HANDSHAKE_ID: u32 = 0;

/// One request, as often as it is sent.
pub(crate) struct Request {
    pub(crate) message: Message,
    pub(crate) kind: Kind,
    /// JSON; empty for none.
    pub(crate) options: Vec<u8>,
    pub(crate) lease: Option<Lease>,
}

impl Request {
    /// A command.
    pub(crate) fn command(command: &serde_json::Value) -> Self {
        Self::of_kind(command, Kind::Command)
    }

    /// A command during which the worker may be silent for long.
    pub(crate) fn long_command(command: &serde_json::Value) -> Self {
        Self::of_kind(command, Kind::LongCommand)
    }

    pub(crate) fn of_kind(command: &serde_json::Value, kind: Kind) -> Self {
        Self { message: Message::Command(command.to_string().into()), kind, options: Vec::new(), lease: None }
    }
}

/// One worker's pipes. A handle: clones are the same connection.
#[derive(Clone)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
}

impl Connection {
    pub(crate) fn new(budget: Budget, life: Arc<Life>) -> Self {
        let shared = Shared {
            book: Mutex::new(Book::new(budget)),
            writable: Notify::new(),
            idle: Notify::new(),
            over: CancellationToken::new(),
            life,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Writes what is booked; ends when the stream is to end.
    pub(crate) fn write_to<W: AsyncWrite + Unpin>(&self, to: W) -> impl Future<Output = ()> {
        writer::run(self.shared.clone(), to)
    }

    /// Reads answers until the stream ends, or cannot be read.
    pub(crate) fn read_from<R: AsyncRead + Unpin>(&self, from: R) -> impl Future<Output = StreamEnd> {
        reader::run(self.shared.clone(), from)
    }

    /// Books the configuration, which goes before everything else.
    pub(crate) fn shake_hands(&self, config: Bytes) -> Result<Sent> {
        let request = Request {
            message: Message::Command(config),
            kind: Kind::LongCommand,
            options: Vec::new(),
            lease: None,
        };
        self.submit_as(Some(HANDSHAKE_ID), &request, None)
    }

    /// Books a request. `note` sees the answer on the reading task, even if nobody waits for it any longer.
    ///
    /// # Errors
    /// Of encoding. A connection that takes nothing new shows in what [`Sent`] gives: [`Lost::NotSent`].
    pub(crate) fn submit(&self, request: &Request, note: Option<Note>) -> Result<Sent> {
        self.submit_as(None, request, note)
    }

    /// The same, unless the request would have to wait: then `None`.
    pub(crate) fn try_submit(&self, request: &Request) -> Result<Option<Sent>> {
        let bytes = request.message.encode(0, &request.options)?.payload_bytes;
        let mut book = self.shared.lock();
        if !matches!(book.phase, Phase::Serving) || !book.has_room_now(bytes) {
            return Ok(None);
        }
        self.book(&mut book, None, request, None).map(Some)
    }

    fn submit_as(&self, id: Option<u32>, request: &Request, note: Option<Note>) -> Result<Sent> {
        let mut book = self.shared.lock();
        self.book(&mut book, id, request, note)
    }

    fn book(&self, book: &mut Book, id: Option<u32>, request: &Request, note: Option<Note>) -> Result<Sent> {
        let (sender, receiver) = oneshot::channel();
        if !takes(book, request.kind) {
            return Ok(Sent { receiver, ticket: Ticket::settled() }); // without its sender: not sent
        }
        let id = id.unwrap_or_else(|| book.next_id());
        self.add(book, id, request, Reply::One(sender), note)?;
        Ok(Sent { receiver, ticket: Ticket::new(self.shared.clone(), id) })
    }

    /// Books a request that is answered in several parts.
    ///
    /// # Errors
    /// Of encoding.
    pub(crate) fn submit_for_parts(&self, request: &Request) -> Result<std::result::Result<Parts, Lost>> {
        let mut book = self.shared.lock();
        if !takes(&book, request.kind) {
            return Ok(Err(Lost::NotSent));
        }
        let id = book.next_id();
        // A ticket that is settled does nothing when it is dropped, as it would be if encoding failed.
        let (sender, mut parts) = Parts::new(Ticket::settled(), book.budget.untaken);
        self.add(&mut book, id, request, Reply::Parts(sender), None)?;
        parts.ticket = Ticket::new(self.shared.clone(), id);
        Ok(Ok(parts))
    }

    fn add(
        &self,
        book: &mut Book,
        id: u32,
        request: &Request,
        reply: Reply,
        note: Option<Note>,
    ) -> Result<()> {
        let packet = request.message.encode(id, &request.options)?;
        let payload_bytes = packet.payload_bytes;
        let lease = request.lease.clone();
        book.add(id, Open { reply, note, lease, kind: request.kind, packet: Some(packet), payload_bytes });
        self.shared.writable.notify_one();
        Ok(())
    }

    /// Queues a message that has no answer of its own; it takes turns with data requests. False if nothing is taken.
    ///
    /// # Errors
    /// Of encoding.
    pub(crate) fn send_unanswered(&self, id: u32, message: &Message) -> Result<bool> {
        let packet = message.encode(id, &[])?;
        let mut book = self.shared.lock();
        if matches!(book.phase, Phase::Dead | Phase::Closing) {
            return Ok(false);
        }
        book.add_unanswered(packet);
        self.shared.writable.notify_one();
        Ok(true)
    }

    /// Sends a command whose answer nobody waits for but `note`.
    pub(crate) fn tell(&self, command: &serde_json::Value, note: Option<Note>) {
        self.shared.tell(command, note);
    }

    pub(crate) fn set_budget(&self, budget: Budget) {
        self.shared.lock().budget = budget;
        self.shared.writable.notify_one();
    }

    /// Takes no new requests from now on.
    pub(crate) fn drain(&self) {
        let mut book = self.shared.lock();
        if matches!(book.phase, Phase::Serving) {
            book.phase = Phase::Draining;
        }
    }

    /// Waits until everything is answered, and every stream has ended that comes to its end by itself.
    pub(crate) async fn idle(&self) {
        self.idle_as(Book::is_idle).await;
    }

    /// Waits until everything is answered; streams may be open.
    pub(crate) async fn idle_but_for_streams(&self) {
        self.idle_as(Book::is_idle_but_for_streams).await;
    }

    async fn idle_as(&self, is_idle: fn(&Book) -> bool) {
        loop {
            let mut became_idle = std::pin::pin!(self.shared.idle.notified());
            became_idle.as_mut().enable();
            if is_idle(&self.shared.lock()) {
                return;
            }
            became_idle.await;
        }
    }

    /// Ends the stream of requests when what waits is written.
    pub(crate) fn close(&self) {
        let mut book = self.shared.lock();
        if !matches!(book.phase, Phase::Dead) {
            book.phase = Phase::Closing;
        }
        self.shared.writable.notify_one();
    }

    /// Rejects everything that is open: the worker is gone.
    pub(crate) fn end(&self, death: &Arc<Death>) {
        let all = self.shared.lock().end();
        for open in all {
            let lost = if open.packet.is_some() { Lost::NotSent } else { Lost::Died(death.clone()) };
            match open.reply {
                Reply::Nobody | Reply::NobodyForParts => {}
                // Who does not wait any longer need not be told.
                Reply::One(sender) => drop(sender.send(Err(lost))),
                Reply::Parts(sender) => sender.lost(lost),
            }
        }
        self.shared.over.cancel();
        self.shared.idle.notify_waiters();
    }

    /// Data requests that were written and are not answered.
    pub(crate) fn in_flight(&self) -> usize {
        self.shared.lock().in_flight()
    }

    /// Payload bytes, and data requests and streams, in flight and waiting.
    pub(crate) fn load(&self) -> (usize, usize) {
        self.shared.lock().load()
    }

    /// Whether the worker may be silent for long: it loads a model.
    pub(crate) fn has_long_command(&self) -> bool {
        self.shared.lock().has_long_command()
    }

    pub(crate) fn life(&self) -> &Arc<Life> {
        &self.shared.life
    }
}

/// Whether a connection in this phase takes a request of this kind.
fn takes(book: &Book, kind: Kind) -> bool {
    match book.phase {
        Phase::Serving => true,
        Phase::Draining => kind == Kind::Command,
        Phase::Closing | Phase::Dead => false,
    }
}
