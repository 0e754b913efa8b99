//! What a scan asks, in which order, and how long that takes.

use std::time::Duration;

use super::through::Through;
use crate::line::{Framing, Parity, UnitId};
use crate::meter::{Block, BlockKind, Profile};
use crate::modbus::pdu::{FunctionCode, ReadRange};
use crate::modbus::rtu;

/// Which addresses a scan was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// These: a meter is expected at each, so one that is silent is missed.
    Named,
    /// Every address there is: most are expected to be free.
    All,
}

/// What a unit may be asked to show that it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// A read of two registers.
    Read(ReadRange),
    /// Function 0x11.
    ServerId,
    /// Function 0x2B with MEI type 0x0E.
    DeviceIdentification,
}

/// The framings, units and questions of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// One after the other; later ones ask only who has not been heard intact before.
    pub framings: Vec<Framing>,
    /// In order of identifier.
    pub units: Vec<UnitId>,
    /// Whether a meter is expected at each of them.
    pub scope: Scope,
    /// What stands between this program and the meters.
    pub through: Through,
    /// End of a request to the first byte of its answer, of the meter or of the gateway.
    pub timeout: Duration,
    /// One after the other; each asks all units that have been silent so far.
    pub questions: Vec<Question>,
}

impl Plan {
    /// How long it takes if nobody answers. A unit that answers costs about as much: it is asked more, and waited
    /// for less.
    #[must_use]
    pub fn longest(&self) -> Duration {
        let units = u32::try_from(self.units.len()).unwrap_or(u32::MAX);
        let questions = |at: usize| u32::try_from(self.questions_at(at).len()).unwrap_or(u32::MAX);
        match self.through {
            Through::Line => {
                let framings = self.framings.iter().enumerate();
                framings.map(|(at, framing)| self.of_one(*framing, units * questions(at))).sum()
            }
            Through::Gateway => self.timeout * units * questions(0),
        }
    }

    /// What is asked at one of the framings. Through all 247 addresses every question costs the better part of a
    /// minute, so that beyond the first framing only the two likeliest are asked there, as long as nobody is heard.
    #[must_use]
    pub fn questions_at(&self, framing: usize) -> &[Question] {
        match self.scope {
            Scope::All if framing > 0 => &self.questions[..self.questions.len().min(LIKELIEST)],
            Scope::All | Scope::Named => &self.questions,
        }
    }

    fn of_one(&self, framing: Framing, requests: u32) -> Duration {
        let request = framing.wire_time(REQUEST) + rtu::silence(framing.baud_rate) + self.timeout;
        // Before the first request a late answer to whoever had the port before is let go by.
        self.timeout + request * requests
    }
}

/// What is asked, the likeliest first: the first pair of holding and of input registers, the first pair each
/// built-in profile reads, then the two identifications. Units asked for by name get the first one again: noise may
/// have taken it. A gateway that is asked for all addresses waits for each, and gets the two likeliest only.
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

/// The framings meters are found at, the likelier ones first: what the 4000-R comes with (guide, page 17), its
/// other baud rates, then parities. Two stop bits need none of their own: who expects one hears them as a pause.
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

/// Questions of a framing at which nobody may be.
const LIKELIEST: usize = 2;
