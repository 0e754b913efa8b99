//! A simulated line without a pseudo terminal: bytes in, bytes out, and time by hand.

use std::time::{Duration, Instant};

use metergate::modbus::rtu;
use metergate::simulator::{ChainSettings, Wire};

/// A line and the instant it began.
pub(crate) struct Bench {
    pub(crate) wire: Wire,
    pub(crate) start: Instant,
}

impl Bench {
    pub(crate) fn new(settings: ChainSettings) -> Self {
        let start = Instant::now();
        Self { wire: Wire::new(settings, start), start }
    }

    /// Puts bytes on the line at that time; everything that is heard until the line is still, with its time.
    pub(crate) fn say(&mut self, bytes: &[u8], at: Duration) -> Vec<(Duration, u8)> {
        self.wire.handle_bytes(bytes, self.start + at);
        self.listen(at, None)
    }

    /// What is heard from then on until the line is still, or up to another time.
    pub(crate) fn listen(&mut self, from: Duration, until: Option<Duration>) -> Vec<(Duration, u8)> {
        let (mut heard, mut now) = (Vec::new(), from);
        loop {
            while let Some(bytes) = self.wire.poll_output() {
                heard.extend(bytes.iter().map(|byte| (now, *byte)));
            }
            let due = self.wire.poll_timeout().map(|due| due - self.start);
            let Some(due) = due.filter(|due| until.is_none_or(|until| *due <= until)) else { return heard };
            now = due;
            self.wire.handle_timeout(self.start + due);
        }
    }

    /// What is heard after a read of a unit's floats.
    pub(crate) fn ask(&mut self, unit: u8, at: Duration) -> Vec<u8> {
        bytes(&self.say(&floats(unit), at))
    }
}

pub(crate) fn bytes(heard: &[(Duration, u8)]) -> Vec<u8> {
    heard.iter().map(|(_, byte)| *byte).collect()
}

/// A read of registers 257 to 346.
pub(crate) fn floats(unit: u8) -> Vec<u8> {
    rtu::encode(unit, &[3, 1, 0, 0, 90]).to_vec()
}

pub(crate) fn write(unit: u8, printed: u16, value: u16) -> Vec<u8> {
    rtu::encode(unit, &[&[6], &(printed - 1).to_be_bytes()[..], &value.to_be_bytes()].concat()).to_vec()
}

pub(crate) fn is_reply_of(unit: u8, heard: &[u8]) -> bool {
    heard.len() == 185 && heard[0] == unit && rtu::crc_is_right(heard)
}
