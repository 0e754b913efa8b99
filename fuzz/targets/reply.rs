//! The receiver of the serial line, and the rules for replies: any bytes, in any chunks.
//!
//! Input: unit, state of the request (bit 0: it is on the wire, else its answer is late), length of the request's PDU,
//! the PDU, then chunks. A chunk begins with a byte: bits 7-6 determine what follows it (more may come, quiet, nothing
//! more, a new request), the others its length.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use metergate::line::{Expected, Finality, Frame, Receiver, UnitId};
use metergate::modbus::pdu::RequestPdu;
use metergate::modbus::{reply, rtu};

fuzz_target!(|data: &[u8]| {
    let [unit, how, length, rest @ ..] = data else { return };
    let (pdu, rest) = rest.split_at(rest.len().min(usize::from(*length)));
    let Ok(request) = RequestPdu::decode(Bytes::copy_from_slice(pdu)) else { return };
    let Some(unit) = UnitId::new(*unit) else { return };
    let mut run = Run {
        asked: (unit, request, if how & 1 == 1 { Expected::OnTheWire } else { Expected::Late }),
        receiver: Receiver::default(),
        input: Vec::new(),
        searched: 0,
        out: 0,
    };
    let mut rest = rest;
    while let Some((&head, after)) = rest.split_first() {
        let (chunk, after) = after.split_at(after.len().min(usize::from(head & 0x3F)));
        rest = after;
        run.push(chunk);
        match head >> 6 {
            0 => run.take(Finality::Open),
            1 => run.take(Finality::Quiet),
            2 => run.take(Finality::Over),
            _ => run.receiver.begin(),
        }
    }
});

struct Run {
    asked: (UnitId, RequestPdu, Expected),
    receiver: Receiver,
    /// All bytes received.
    input: Vec<u8>,
    /// Up to where `input` has been matched with frames.
    searched: usize,
    /// Bytes returned, in frames or as noise.
    out: u64,
}

impl Run {
    fn push(&mut self, chunk: &[u8]) {
        self.input.extend_from_slice(chunk);
        self.receiver.push(chunk);
    }

    fn take(&mut self, finality: Finality) {
        loop {
            let (unit, request, expected) = &self.asked;
            let asked = |from: UnitId, function: u8| {
                (from == *unit && function == request.function().0).then_some((request, *expected))
            };
            let Some(frame) = self.receiver.next(asked, |known| known == *unit, finality) else { break };
            self.judge(&frame);
        }
        let pending = self.receiver.pending();
        assert!(pending <= 2 * rtu::ADU_MAX, "the buffer grew to {pending} bytes");
        assert!(pending + self.receiver.missing() <= 2 * rtu::ADU_MAX, "more awaited than a frame has");
        assert!(finality != Finality::Over || pending == 0, "bytes kept though nothing more comes");
        self.out += self.receiver.take_noise();
        assert_eq!(self.out + pending as u64, self.input.len() as u64, "a byte was lost or made up");
    }

    fn judge(&mut self, frame: &Frame) {
        let adu = [&[frame.unit.get()], &frame.pdu[..], &crc_of_the_guide(frame)].concat();
        assert!((4..=rtu::ADU_MAX).contains(&adu.len()), "a frame of {} bytes", adu.len());
        let found = self.input[self.searched..].windows(adu.len()).position(|window| window == adu);
        let at = found.expect("a frame, with its right CRC, stood in the input after the one before");
        self.searched += at + adu.len();
        self.out += adu.len() as u64;
        let (_, request, _) = &self.asked;
        if !reply::answers(request, &frame.pdu) {
            return;
        }
        let is_exception = frame.pdu[0] & 0x80 != 0;
        assert_eq!(frame.pdu[0] & 0x7F, request.function().0, "an answer of another function");
        assert!(!is_exception || frame.pdu.len() == 2, "an exception has two bytes");
        if let Some(range) = request.range().filter(|_| !is_exception) {
            assert_eq!(frame.pdu.len(), 2 + range.byte_count(), "not the values that were asked for");
            assert_eq!(usize::from(frame.pdu[1]), range.byte_count(), "a byte count that lies");
        }
    }
}

/// The CRC by the flow chart of the serial line guide (chapter 6.2.2), bit by bit, low byte first.
fn crc_of_the_guide(frame: &Frame) -> [u8; 2] {
    let mut crc = 0xFFFF_u16;
    for byte in std::iter::once(frame.unit.get()).chain(frame.pdu.iter().copied()) {
        crc ^= u16::from(byte);
        for _ in 0..8 {
            let carry = crc & 1;
            crc >>= 1;
            if carry == 1 {
                crc ^= 0xA001;
            }
        }
    }
    crc.to_le_bytes()
}
