//! Replies that the kernel has not accepted yet.

use std::collections::VecDeque;

use bytes::{Buf, BytesMut};
use tokio::time::Instant;

use crate::modbus::mbap::Adu;
use crate::modbus::{AduFraming, rtu};

/// Encoded replies, in order.
#[derive(Debug, Default)]
pub(super) struct ReplyBuffer {
    bytes: BytesMut,
    /// For each reply in `bytes`: its bytes left, and since when it has been waiting.
    unsent: VecDeque<(usize, Instant)>,
    /// Whether the kernel has accepted a part of the first reply.
    is_first_begun: bool,
}

impl ReplyBuffer {
    /// Appends a reply.
    pub(super) fn push(&mut self, reply: &Adu, framing: AduFraming, now: Instant) {
        let before = self.bytes.len();
        if before > 0 && self.bytes.capacity() < BATCH_CAPACITY {
            // The client sends several requests at once: reserve for them all instead of growing for each.
            self.bytes.reserve(BATCH_CAPACITY - before);
        }
        match framing {
            AduFraming::Tcp => reply.encode(&mut self.bytes),
            AduFraming::Rtu => rtu::append(&mut self.bytes, reply.unit, &reply.pdu),
        }
        self.unsent.push_back((self.bytes.len() - before, now));
    }

    /// Replies that the kernel has not accepted in full.
    pub(super) fn len(&self) -> usize {
        self.unsent.len()
    }

    /// The bytes to be written.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Since when the oldest reply has been waiting for the client to read.
    pub(super) fn unsent_since(&self) -> Option<Instant> {
        self.unsent.front().map(|(_, since)| *since)
    }

    /// Drops the replies of which the kernel has accepted nothing.
    pub(super) fn drop_unbegun(&mut self) {
        let begun = self.unsent.front().filter(|_| self.is_first_begun).map_or(0, |(left, _)| *left);
        self.bytes.truncate(begun);
        self.unsent.truncate(usize::from(begun > 0));
    }

    /// The kernel accepted `count` bytes from the front, at most all of them.
    pub(super) fn handle_written(&mut self, mut count: usize) {
        self.bytes.advance(count);
        self.is_first_begun |= count > 0;
        while let Some((length, _)) = self.unsent.front_mut() {
            let taken = count.min(*length);
            *length -= taken;
            count -= taken;
            if *length > 0 {
                break;
            }
            self.unsent.pop_front();
            self.is_first_begun = count > 0;
        }
        if self.unsent.is_empty() {
            // With hundreds of connections even the capacity of one reply adds up.
            *self = Self::default();
        }
    }
}

/// Capacity for replies that are sent together, in bytes: sixteen of the 60 registers that a client typically reads.
const BATCH_CAPACITY: usize = 16 * (7 + 2 + 120);

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn reply(length: usize) -> Adu {
        Adu { transaction_id: 1, unit: 1, pdu: Bytes::from(vec![3; length]) }
    }

    #[test]
    fn a_reply_counts_until_its_last_byte_is_taken() {
        let (first, second) = (Instant::now(), Instant::now() + std::time::Duration::from_secs(1));
        let mut replies = ReplyBuffer::default();
        replies.push(&reply(5), AduFraming::Tcp, first);
        replies.push(&reply(3), AduFraming::Tcp, second);
        assert_eq!((replies.len(), replies.bytes().len()), (2, 12 + 10));
        replies.handle_written(11);
        assert_eq!((replies.len(), replies.unsent_since()), (2, Some(first)));
        replies.handle_written(1);
        assert_eq!((replies.len(), replies.unsent_since()), (1, Some(second)));
        replies.handle_written(10);
        assert_eq!((replies.len(), replies.unsent_since()), (0, None));
        assert!(replies.bytes().is_empty());
    }

    #[test]
    fn a_reply_that_has_begun_is_sent_to_its_end_and_those_behind_it_are_dropped() {
        let now = Instant::now();
        let mut replies = ReplyBuffer::default();
        for length in [5, 3, 4] {
            replies.push(&reply(length), AduFraming::Rtu, now);
        }
        replies.handle_written(8);
        replies.handle_written(2);
        let begun = replies.bytes()[..4].to_vec();
        replies.drop_unbegun();
        assert_eq!((replies.len(), replies.bytes()), (1, &begun[..]));
        replies.handle_written(4);
        replies.push(&reply(3), AduFraming::Rtu, now);
        replies.drop_unbegun();
        assert_eq!((replies.len(), replies.bytes()), (0, &[][..]));
    }

    #[test]
    fn the_room_of_a_burst_is_given_back() {
        let mut replies = ReplyBuffer::default();
        for _ in 0..100 {
            replies.push(&reply(120), AduFraming::Tcp, Instant::now());
        }
        replies.handle_written(replies.bytes().len());
        assert_eq!((replies.bytes.capacity(), replies.unsent.capacity()), (0, 0));
    }
}
