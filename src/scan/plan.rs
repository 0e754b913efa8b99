//! What a scan asks, in which order, and how long that takes.

use std::time::Duration;

use super::found::Through;
use crate::line::{Framing, Parity, UnitId};
use crate::modbus::rtu;

/// Which addresses a scan was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// These: a meter is expected at each, so one that is silent is missed.
    Named,
    /// Every address there is: most are expected to be free.
    All,
}

/// The framings and units of a scan.
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
    /// How often a unit is asked that does not answer.
    pub passes: u32,
}

impl Plan {
    /// How long it takes if nobody answers. A unit that answers costs about as much: it is asked more, and waited
    /// for less.
    #[must_use]
    pub fn longest(&self) -> Duration {
        let units = u32::try_from(self.units.len()).unwrap_or(u32::MAX);
        match self.through {
            Through::Line => self.framings.iter().map(|framing| self.of_one(*framing, units)).sum(),
            Through::Gateway => self.timeout * units * self.passes,
        }
    }

    fn of_one(&self, framing: Framing, units: u32) -> Duration {
        let request = framing.wire_time(REQUEST) + rtu::silence(framing.baud_rate) + self.timeout;
        // Before the first request a late answer to whoever had the port before is let go by.
        self.timeout + request * units * self.passes
    }
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
