//! The line of a serial client: in any bytes, pieces and pauses, each request stands in what was received
//! with a right CRC, behind the one before; an answer is sent once, after the silence and in time; and an echo of an
//! answer is no request.
//!
//! Input: a byte for the setting of the echo, then steps, each a byte for its length and kind, a byte for the pause
//! before it in milliseconds, and its bytes.

#![no_main]

use std::time::{Duration, Instant};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use metergate::line::{Echo, Framing, Parity};
use metergate::modbus::rtu;
use metergate::server::connection::serial_client::{ClientWire, WireAction};

const OURS: u8 = 7;
const OTHER: u8 = 9;
const WITHIN: Duration = Duration::from_millis(300);
const FRAMING: Framing = Framing { baud_rate: 19200, parity: Parity::None, stop_bits: 1 };

fuzz_target!(|data: &[u8]| {
    let Some((&setting, mut rest)) = data.split_first() else { return };
    let echo = [Echo::On, Echo::Off, Echo::Auto][usize::from(setting % 3)];
    let mut line = Line::new(echo);
    while let [head, pause, after @ ..] = rest {
        let (bytes, after) = after.split_at(after.len().min(usize::from(head >> 2)));
        rest = after;
        line.pass(Duration::from_millis(u64::from(*pause)));
        match head & 3 {
            0 => line.receive(bytes),
            1 if !bytes.is_empty() => line.receive(&rtu::encode(OURS, bytes)),
            2 if !bytes.is_empty() => line.receive(&rtu::encode(OTHER, bytes)),
            3 if bytes.is_empty() => line.echo(),
            3 => line.answer(rtu::encode(OURS, bytes)),
            _ => {}
        }
    }
    line.pass(Duration::from_secs(2));
});

/// A line, its present, and what happened on it.
struct Line {
    wire: ClientWire,
    echo: Echo,
    now: Instant,
    received: Vec<u8>,
    /// How much of it the requests so far stand in.
    searched: usize,
    /// The last byte, in either direction.
    last_byte: Option<Instant>,
    /// The last request, until it is answered.
    asked_at: Option<Instant>,
    /// The last answer, until something else than its echo has come.
    sent: Option<Bytes>,
}

impl Line {
    fn new(echo: Echo) -> Self {
        let mut served = Box::new([false; 256]);
        served[usize::from(OURS)] = true;
        let mut wire = ClientWire::new(FRAMING, echo);
        wire.handle_settings(served, WITHIN);
        let now = Instant::now();
        let (received, searched, last_byte, asked_at, sent) = Default::default();
        Self { wire, echo, now, received, searched, last_byte, asked_at, sent }
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.sent = None;
        self.deliver(bytes);
    }

    fn deliver(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.received.extend_from_slice(bytes);
        self.last_byte = Some(self.now);
        self.wire.handle_bytes(bytes, self.now);
        self.collect();
    }

    /// The adapter returns the last answer.
    fn echo(&mut self) {
        let Some(sent) = self.sent.take() else { return };
        let asked_at = self.asked_at;
        self.deliver(&sent);
        match self.echo {
            Echo::On => assert_eq!(self.asked_at, asked_at, "an echo is a request"),
            Echo::Off | Echo::Auto => {}
        }
    }

    fn answer(&mut self, adu: Bytes) {
        self.wire.handle_answer(adu, self.now);
        self.collect();
    }

    fn pass(&mut self, period: Duration) {
        let end = self.now + period;
        for step in 0.. {
            assert!(step < 100, "a timeout that changes nothing");
            match self.wire.poll_timeout().filter(|due| *due <= end) {
                Some(due) => self.now = self.now.max(due),
                None => break,
            }
            self.wire.handle_timeout(self.now);
            self.collect();
        }
        self.now = end;
    }

    fn collect(&mut self) {
        while let Some(action) = self.wire.poll_action() {
            match action {
                WireAction::Request { unit, pdu, received_at } => {
                    assert!(unit == OURS || unit == 0);
                    let adu = rtu::encode(unit, &pdu);
                    let at = self.received[self.searched..].windows(adu.len()).position(|window| window == adu);
                    self.searched += at.expect("it stands in what was received") + adu.len();
                    assert!(received_at <= self.now);
                    self.asked_at = (unit == OURS).then_some(received_at);
                }
                WireAction::Superseded => self.asked_at = None,
                WireAction::Transmit(adu) => {
                    let asked_at = self.asked_at.take().expect("an answer is sent once, and to a request");
                    assert!(self.now < asked_at + WITHIN, "too late");
                    let silent_from = self.last_byte.map(|last| last + rtu::silence(FRAMING.baud_rate));
                    assert!(silent_from <= Some(self.now), "without a silence");
                    self.last_byte = Some(self.now + FRAMING.wire_time(adu.len()));
                    self.sent = Some(adu);
                }
                WireAction::TooLate => self.asked_at = None,
                WireAction::Dropped(bytes) => assert!(bytes > 0),
            }
        }
    }
}
