//! What is open under which id, what waits to be written, and how much may be in flight.
//!
//! Everything that decides is here, under one lock; tasks and callers only carry out.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use super::open::{Kind, Open, Reply};
use crate::protocol::Packet;

/// Small packets are written together up to this.
const GATHERED_BYTES: usize = 64 << 10;

/// Ids of requests that were taken back are swept out of a queue when there are so many.
const SWEEP_AT: usize = 64;

/// What may be in flight at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) requests: usize,
    pub(crate) bytes: usize,
    /// Bytes of one request's parts that nobody has taken. The protocol bounds by its credit what a stream may
    /// send ahead, but not what a model may say.
    pub(crate) untaken: usize,
}

/// How far the connection's life has come.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    Serving,
    /// Takes nothing new; what it has is written and answered.
    Draining,
    /// The request stream ends when what waits is written.
    Closing,
    Dead,
}

/// See the module's text.
pub(crate) struct Book {
    open: HashMap<u32, Open>,
    /// Ids of what waits for the writer.
    commands: VecDeque<u32>,
    data: VecDeque<u32>,
    /// What has no answer of its own: data of streams. It takes turns with data requests.
    stream_data: VecDeque<Packet>,
    /// Whether the last to go out was of a stream.
    stream_was_last: bool,
    last_id: u32,
    pub(crate) budget: Budget,
    pub(crate) phase: Phase,
    in_flight: usize,
    in_flight_bytes: usize,
    waiting: usize,
    waiting_bytes: usize,
    /// Ids in `data` whose request was taken back.
    stale: usize,
    long_commands: usize,
    /// Streams that are open, and the live ones of them.
    streams: usize,
    live_streams: usize,
}

/// What the writer is to do next.
pub(crate) enum Next {
    /// Write these.
    Parts(Vec<Bytes>),
    Wait,
    /// End the stream.
    Close,
}

impl Book {
    pub(crate) fn new(budget: Budget) -> Self {
        Self {
            open: HashMap::new(),
            commands: VecDeque::new(),
            data: VecDeque::new(),
            stream_data: VecDeque::new(),
            stream_was_last: false,
            last_id: 0,
            budget,
            phase: Phase::Serving,
            in_flight: 0,
            in_flight_bytes: 0,
            waiting: 0,
            waiting_bytes: 0,
            stale: 0,
            long_commands: 0,
            streams: 0,
            live_streams: 0,
        }
    }

    /// An id that nothing has. Each is used once in four billion requests, so a late answer finds nobody else.
    pub(crate) fn next_id(&mut self) -> u32 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if self.last_id != 0 && !self.open.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }

    /// Books a request, and queues it behind those of its kind.
    pub(crate) fn add(&mut self, id: u32, open: Open) {
        self.long_commands += usize::from(open.kind == Kind::LongCommand);
        self.streams += usize::from(open.kind.is_stream());
        self.live_streams += usize::from(open.kind == Kind::LiveStreamOpen);
        if open.kind.is_data() {
            self.waiting += 1;
            self.waiting_bytes += open.payload_bytes;
            self.data.push_back(id);
        } else {
            self.commands.push_back(id);
        }
        self.open.insert(id, open);
    }

    /// Queues a packet that has no answer.
    pub(crate) fn add_unanswered(&mut self, packet: Packet) {
        self.stream_data.push_back(packet);
    }

    /// Whether a data request of so many payload bytes would be the next to be written.
    pub(crate) fn has_room_now(&self, payload_bytes: usize) -> bool {
        self.waiting == 0 && self.has_room(payload_bytes)
    }

    fn has_room(&self, payload_bytes: usize) -> bool {
        self.in_flight == 0
            || (self.in_flight < self.budget.requests
                && self.in_flight_bytes + payload_bytes <= self.budget.bytes)
    }

    /// Takes what is to be written next: one large packet, or several small ones.
    pub(crate) fn next(&mut self) -> Next {
        let mut parts = Vec::new();
        let mut bytes = 0;
        while bytes < GATHERED_BYTES {
            let Some(packet) = self.next_packet() else { break };
            bytes += packet.payload_bytes;
            parts.extend(packet.parts);
        }
        match self.phase {
            _ if !parts.is_empty() => Next::Parts(parts),
            Phase::Dead => Next::Close,
            Phase::Closing if self.commands.is_empty() && self.waiting == 0 => Next::Close,
            _ => Next::Wait,
        }
    }

    fn next_packet(&mut self) -> Option<Packet> {
        while let Some(id) = self.commands.pop_front() {
            if let Some(packet) = self.take_packet(id) {
                return Some(packet);
            }
        }
        // Data of streams needs no room, and does not wait for that of a request.
        let request =
            if self.stream_was_last || self.stream_data.is_empty() { self.next_data() } else { None };
        self.stream_was_last = request.is_none();
        request.or_else(|| self.stream_data.pop_front())
    }

    /// The next data request, if there is room for it.
    fn next_data(&mut self) -> Option<Packet> {
        loop {
            let id = *self.data.front()?;
            let Some(bytes) = self.open.get(&id).map(|open| open.payload_bytes) else {
                self.data.pop_front();
                self.stale = self.stale.saturating_sub(1);
                continue;
            };
            if !self.has_room(bytes) {
                return None;
            }
            self.data.pop_front();
            self.waiting -= 1;
            self.waiting_bytes -= bytes;
            self.in_flight += 1;
            self.in_flight_bytes += bytes;
            return self.take_packet(id);
        }
    }

    fn take_packet(&mut self, id: u32) -> Option<Packet> {
        self.open.get_mut(&id)?.packet.take()
    }

    /// Takes the request of its final answer.
    pub(crate) fn answered(&mut self, id: u32) -> Option<Open> {
        let open = self.open.remove(&id)?;
        self.book_off(&open);
        Some(open)
    }

    /// Whether the answers to a request may be in several parts.
    pub(crate) fn has_parts(&self, id: u32) -> bool {
        matches!(self.open.get(&id), Some(Open { reply: Reply::Parts(_) | Reply::NobodyForParts, .. }))
    }

    /// Hands a part over; false where too much was not taken.
    pub(crate) fn hand_over(&self, id: u32, body: Bytes, last: bool) -> bool {
        match self.open.get(&id) {
            Some(Open { reply: Reply::Parts(sender), .. }) => sender.answer(body, last),
            _ => true,
        }
    }

    fn book_off(&mut self, open: &Open) {
        self.long_commands -= usize::from(open.kind == Kind::LongCommand);
        self.streams -= usize::from(open.kind.is_stream());
        self.live_streams -= usize::from(open.kind == Kind::LiveStreamOpen);
        if !open.kind.is_data() {
            return;
        }
        if open.packet.is_some() {
            self.waiting -= 1;
            self.waiting_bytes -= open.payload_bytes;
        } else {
            self.in_flight -= 1;
            self.in_flight_bytes -= open.payload_bytes;
        }
    }

    /// Nobody waits for this answer any longer: what is not written never is.
    ///
    /// Returns what is to be dropped outside of the lock, and whether the worker is to be told.
    pub(crate) fn abandon(&mut self, id: u32) -> (Option<Open>, bool) {
        let Some(open) = self.open.get_mut(&id) else { return (None, false) };
        if open.packet.is_some() {
            self.stale += usize::from(open.kind.is_data());
            let open = self.answered(id);
            self.sweep();
            return (open, false);
        }
        open.reply = match open.reply {
            Reply::Parts(_) | Reply::NobodyForParts => Reply::NobodyForParts,
            Reply::One(_) | Reply::Nobody => Reply::Nobody,
        };
        (None, open.kind.can_be_cancelled())
    }

    fn sweep(&mut self) {
        if self.stale > SWEEP_AT && self.stale > self.data.len() / 2 {
            let open = &self.open;
            self.data.retain(|id| open.contains_key(id));
            self.stale = 0;
        }
    }

    /// Ends everything that is open.
    pub(crate) fn end(&mut self) -> Vec<Open> {
        self.phase = Phase::Dead;
        self.commands.clear();
        self.data.clear();
        self.stream_data.clear();
        let all: Vec<Open> = self.open.drain().map(|(_, open)| open).collect();
        for open in &all {
            self.book_off(open);
        }
        self.stale = 0;
        all
    }

    /// Whether nothing is open but live streams, and nothing waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.open.len() == self.live_streams && self.commands.is_empty() && self.waiting == 0
    }

    /// Whether nothing is open but streams, and nothing waits.
    pub(crate) fn is_idle_but_for_streams(&self) -> bool {
        self.open.len() == self.streams && self.commands.is_empty() && self.waiting == 0
    }

    /// Data requests that were written and are not answered.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Payload bytes, and data requests and streams, in flight and waiting.
    pub(crate) fn load(&self) -> (usize, usize) {
        (self.in_flight_bytes + self.waiting_bytes, self.in_flight + self.waiting + self.streams)
    }

    /// Whether the worker may be silent for long.
    pub(crate) fn has_long_command(&self) -> bool {
        self.long_commands > 0
    }

    /// Lengths of the queues of commands and data.
    #[cfg(test)]
    pub(crate) fn queue_lengths(&self) -> (usize, usize) {
        (self.commands.len(), self.data.len())
    }

    pub(crate) fn has_waiting(&self) -> bool {
        self.waiting > 0 || !self.data.is_empty() || !self.stream_data.is_empty()
    }
}
