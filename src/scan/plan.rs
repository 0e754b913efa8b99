//! The requests of a scan, their order, and their duration.

use std::time::Duration;

use super::through::Through;
use crate::line::{Framing, Parity, UnitId};
use crate::meter::{Block, BlockKind, Profile};
use crate::modbus::pdu::{FunctionCode, ReadRange};
use crate::modbus::rtu;

/// The addresses of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// These: a meter is expected at each, so a silent one is reported.
    Named,
    /// Every address: most are expected to be free.
    All,
}

/// A request that shows whether a unit is present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// A read of two registers.
    Read(ReadRange),
    /// Function 0x11.
    ServerId,
    /// Function 0x2B with MEI type 0x0E.
    DeviceIdentification,
}

/// The framings, units and requests of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// One after the other; later ones probe only units that have not been heard intact before.
    pub framings: Vec<Framing>,
    /// In order of identifier.
    pub units: Vec<UnitId>,
    /// Whether a meter is expected at each of them.
    pub scope: Scope,
    /// Whether the meters are reached directly or through a gateway.
    pub through: Through,
    /// From the end of a request to the first byte of its answer, of the meter or of the gateway.
    pub timeout: Duration,
    /// One after the other; each is sent to all units that have been silent so far.
    pub questions: Vec<Question>,
}

impl Plan {
    /// How long it takes if no unit answers. A unit that answers takes about as long: it gets more requests, and
    /// shorter waits.
    #[must_use]
    pub fn longest(&self) -> Duration {
        let units = u32::try_from(self.units.len()).unwrap_or(u32::MAX);
        let questions = |at: usize| u32::try_from(self.questions_at(at).len()).unwrap_or(u32::MAX);
        match self.through {
            Through::Line | Through::SerialServer => {
                let framings = self.framings.iter().enumerate();
                framings.map(|(at, framing)| self.of_one(*framing, units * questions(at))).sum()
            }
            Through::Gateway => self.timeout * units * questions(0),
        }
    }

    /// The requests at one of the framings. For all 247 addresses every request takes the better part of a minute, so
    /// that beyond the first framing only the two likeliest are sent, as long as no unit has been heard.
    #[must_use]
    pub fn questions_at(&self, framing: usize) -> &[Question] {
        match self.scope {
            Scope::All if framing > 0 => &self.questions[..self.questions.len().min(LIKELIEST)],
            Scope::All | Scope::Named => &self.questions,
        }
    }

    fn of_one(&self, framing: Framing, requests: u32) -> Duration {
        let request = framing.wire_time(REQUEST) + rtu::silence(framing.baud_rate) + self.timeout;
        // Before the first request, a late answer to a previous user of the port is waited out.
        self.timeout + request * requests
    }
}

/// The requests, the likeliest first: the first pair of holding and of input registers, the first pair each built-in
/// profile reads, then the two identifications. Units listed by address get the first one again: noise may have damaged
/// it. A gateway waits for each of all addresses, and gets the two likeliest only.
#[must_use]
pub fn questions(scope: Scope, through: Through) -> Vec<Question> {
    let pair = |function, start| Question::Read(ReadRange { function, start, quantity: 2 });
    let first = pair(FunctionCode::READ_HOLDING_REGISTERS, 0);
    let mut questions = vec![first, pair(FunctionCode::READ_INPUT_REGISTERS, 0)];
    if scope == Scope::All && through == Through::Gateway {
        return questions;
    }
    let profiles = Profile::builtin_names().iter().filter_map(|name| Profile::builtin(name));
    let is_telling =
        |block: &&Block| block.polled && block.kind == BlockKind::Measurement && block.range.quantity > 1;
    for block in profiles.filter_map(|profile| profile.blocks.iter().find(is_telling)) {
        let question = pair(block.range.function, block.range.start);
        if !questions.contains(&question) {
            questions.push(question);
        }
    }
    questions.extend([Question::ServerId, Question::DeviceIdentification]);
    if scope == Scope::Named {
        questions.push(first);
    }
    questions
}

/// The framings of meters, the likelier ones first: the 4000-R's default (guide, page 17), its other baud rates, then
/// parities. Two stop bits need no framing of their own: a receiver set to one takes the second for a pause.
#[must_use]
pub fn usual_framings() -> Vec<Framing> {
    let rates = [19200, 9600, 38400, 57600, 115_200, 4800, 2400, 1200];
    let with = |parity, rates: &[u32]| -> Vec<Framing> {
        rates.iter().map(|&baud_rate| Framing { baud_rate, parity, stop_bits: 1 }).collect()
    };
    [with(Parity::None, &rates[..3]), with(Parity::Even, &rates[..3]), with(Parity::Odd, &rates[..3])]
        .into_iter()
        .flatten()
        .chain(with(Parity::None, &rates[3..]))
        .chain(with(Parity::Even, &rates[3..]))
        .collect()
}

/// A read request: unit, function, address, quantity, CRC.
const REQUEST: usize = 8;

/// Requests at a framing at which no unit may be.
const LIKELIEST: usize = 2;
