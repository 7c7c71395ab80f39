//! Bytes into answers.

use bytes::{Buf, Bytes, BytesMut};

/// The longest answer, its id included: what a worker that has lost its framing would say is mostly longer.
pub(crate) const MAX_ANSWER_BYTES: usize = 256 << 20;

/// One read takes many answers.
const READ_BYTES: usize = 256 << 10;

const LENGTH_BYTES: usize = 4;
const ID_BYTES: usize = 4;

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Which request it answers.
    pub(crate) id: u32,
    /// A JSON object, by its first and last byte; it is not looked into here.
    pub(crate) body: Bytes,
}

/// Holds what has been read, and parses it where it lies.
///
/// Only an answer that does not fit into what is left of the buffer is moved, once, into one that has room
/// for all of it.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    held: BytesMut,
}

impl Decoder {
    /// Where the next bytes are to be read to: there is room for at least one.
    pub(crate) fn room(&mut self) -> &mut BytesMut {
        let announced = self.announced().map(|length| LENGTH_BYTES + length.min(MAX_ANSWER_BYTES));
        let missing = announced.map_or(0, |bytes| bytes.saturating_sub(self.held.len()));
        let least = if missing > 0 { missing } else { READ_BYTES / 4 };
        if self.held.capacity() - self.held.len() < least {
            self.held.reserve(missing.max(READ_BYTES));
        }
        &mut self.held
    }

    /// The next answer that is there as a whole.
    ///
    /// # Errors
    /// In words, where no answer can begin; nothing after that can be read.
    pub(crate) fn next(&mut self) -> Result<Option<Answer>, String> {
        let Some(length) = self.announced() else {
            return Ok(None);
        };
        if !(ID_BYTES..=MAX_ANSWER_BYTES).contains(&length) {
            return Err(format!("an answer of {length} bytes{}", self.quoted()));
        }
        if self.held.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        let mut packet = self.held.split_to(LENGTH_BYTES + length);
        packet.advance(LENGTH_BYTES);
        let id = packet.get_u32_le();
        let body = packet.freeze();
        if body.first() != Some(&b'{') || body.last() != Some(&b'}') {
            return Err(format!("the answer to request {id} is no JSON object"));
        }
        Ok(Some(Answer { id, body }))
    }

    /// Says that nothing more will come.
    ///
    /// # Errors
    /// In words, where that is within an answer.
    pub(crate) fn finish(&self) -> Result<(), String> {
        match self.held.len() {
            0 => Ok(()),
            left => Err(format!("the stream ended within an answer, after {left} bytes of it")),
        }
    }

    fn announced(&self) -> Option<usize> {
        let bytes = self.held.first_chunk::<LENGTH_BYTES>()?;
        Some(u32::from_le_bytes(*bytes) as usize)
    }

    /// What stands where a length should: often it is text that a library has printed.
    fn quoted(&self) -> String {
        let start = &self.held[..self.held.len().min(40)];
        format!(" (\"{}\")", start.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Decoder, MAX_ANSWER_BYTES};

    fn packet(id: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(4 + body.len()).unwrap();
        [&length.to_le_bytes(), &id.to_le_bytes(), body].concat()
    }

    fn feed(decoder: &mut Decoder, bytes: &[u8]) {
        decoder.room().extend_from_slice(bytes);
    }

    #[test]
    fn answers_that_came_in_one_read_lie_in_one_allocation() {
        let mut decoder = Decoder::default();
        feed(&mut decoder, &[packet(1, b"{}"), packet(2, b"{\"a\":1}")].concat());
        let (one, two) = (decoder.next().unwrap().unwrap(), decoder.next().unwrap().unwrap());
        assert_eq!((one.id, &one.body[..], two.id, &two.body[..]), (1, &b"{}"[..], 2, &b"{\"a\":1}"[..]));
        let distance = two.body.as_ptr() as usize - one.body.as_ptr() as usize;
        assert_eq!(distance, 2 + 8, "the second was moved");
        assert_eq!(decoder.next(), Ok(None));
        assert_eq!(decoder.finish(), Ok(()));
    }

    #[test]
    fn a_long_answer_gets_a_buffer_that_holds_it_before_it_is_read() {
        let mut decoder = Decoder::default();
        let body = [b"{".as_slice(), &vec![b' '; 3 << 20], b"}"].concat();
        let bytes = packet(9, &body);
        feed(&mut decoder, &bytes[..100]);
        let room = decoder.room();
        assert!(room.capacity() >= bytes.len());
        let place = room.as_ptr();
        for chunk in bytes[100..].chunks(64 << 10) {
            feed(&mut decoder, chunk);
        }
        assert_eq!(decoder.held.as_ptr(), place, "it was moved again");
        assert_eq!(decoder.next(), Ok(Some(Answer { id: 9, body: body.into() })));
    }

    #[test]
    fn what_cannot_be_an_answer_is_said_in_words() {
        let cases: [(&[u8], &str); 5] = [
            (b"\x03\0\0\0", "an answer of 3 bytes"),
            (b"Traceback", "an answer of 1667330644 bytes (\"Traceback\")"),
            (&packet(7, b""), "the answer to request 7 is no JSON object"),
            (&packet(7, b"[1]"), "the answer to request 7 is no JSON object"),
            (&packet(7, b"{1"), "the answer to request 7 is no JSON object"),
        ];
        for (bytes, text) in cases {
            let mut decoder = Decoder::default();
            feed(&mut decoder, bytes);
            let error = decoder.next().unwrap_err();
            assert!(error.starts_with(text), "{error}");
        }
        let over = u32::try_from(MAX_ANSWER_BYTES + 1).unwrap().to_le_bytes();
        let mut decoder = Decoder::default();
        feed(&mut decoder, &over);
        assert!(decoder.next().is_err());
    }

    #[test]
    fn an_end_within_an_answer_is_an_error() {
        let mut decoder = Decoder::default();
        feed(&mut decoder, &packet(1, b"{}")[..9]);
        assert_eq!(decoder.next(), Ok(None));
        assert!(decoder.finish().is_err());
    }
}
