//! What callers and tasks of a connection share: the book, and who is woken when it changes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::book::{Book, Next, Phase};
use super::life::Life;
use super::open::{Kind, Note, Open, Reply};
use super::{parts, HANDSHAKE_ID};
use crate::protocol::{error_in, Answer, Error, Message};

pub(super) struct Shared {
    pub(super) book: Mutex<Book>,
    /// There may be something to write.
    pub(super) writable: Notify,
    /// Nothing is open but streams, and nothing waits.
    pub(super) idle: Notify,
    /// The worker is gone: a pipe that somebody else holds open is not waited for.
    pub(super) over: CancellationToken,
    pub(super) life: Arc<Life>,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Book> {
        // A panic under the lock is a fault of this crate; what is booked is still the best there is.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn next_to_write(&self) -> Next {
        self.lock().next()
    }

    /// Hands an answer to whom it belongs; one that belongs to nobody may be about data of a stream that has ended.
    ///
    /// # Errors
    /// In words: it is no answer, or says under the handshake's id that the framing is lost.
    pub(super) fn take(&self, answer: Answer) -> std::result::Result<(), String> {
        let Answer { id, body } = answer;
        let mut book = self.lock();
        if book.has_parts(id) {
            drop(book);
            return self.take_part(id, body);
        }
        let Some(open) = book.answered(id) else {
            drop(book);
            return if id == HANDSHAKE_ID { Err(lost_framing(&body)) } else { Ok(()) };
        };
        self.stir(&book);
        drop(book);
        if let Some(note) = open.note {
            note(&body);
        }
        if let Reply::One(sender) = open.reply {
            // Who does not wait any longer need not be told.
            let _ = sender.send(Ok(body));
        }
        Ok(())
    }

    fn take_part(&self, id: u32, body: Bytes) -> std::result::Result<(), String> {
        let last = parts::is_last(&body).map_err(|error| format!("an answer to request {id}: {error}"))?;
        let mut book = self.lock();
        let kept = book.hand_over(id, body, last);
        let done = if last { book.answered(id) } else { None };
        self.stir(&book);
        drop(book);
        drop(done);
        if !kept {
            self.abandon(id);
        }
        Ok(())
    }

    /// Wakes whom a change of the book may concern.
    fn stir(&self, book: &Book) {
        if book.has_waiting() || !matches!(book.phase, Phase::Serving) {
            self.writable.notify_one();
        }
        if book.is_idle_but_for_streams() {
            self.idle.notify_waiters();
        }
    }

    pub(super) fn abandon(&self, id: u32) {
        let mut book = self.lock();
        let (gone, told) = book.abandon(id);
        self.stir(&book);
        drop(book);
        drop(gone); // its lease may lock what it likes
        if told {
            self.tell(&json!({"cmd": "cancel", "requestId": id}), None);
        }
    }

    pub(super) fn tell(&self, command: &serde_json::Value, note: Option<Note>) {
        let message = Message::Command(command.to_string().into());
        let mut book = self.lock();
        if matches!(book.phase, Phase::Dead | Phase::Closing) {
            return;
        }
        let id = book.next_id();
        // A command of this crate's is far from the length that does not fit.
        if let Ok(packet) = message.encode(id, &[]) {
            let payload_bytes = packet.payload_bytes;
            let open = Open {
                reply: Reply::Nobody,
                note,
                lease: None,
                kind: Kind::Command,
                packet: Some(packet),
                payload_bytes,
            };
            book.add(id, open);
            self.writable.notify_one();
        }
    }
}

fn lost_framing(body: &[u8]) -> String {
    match error_in(body) {
        Error::Answer(answer) => format!("the worker says: {answer}"),
        _ => "an answer to a second handshake".into(),
    }
}
