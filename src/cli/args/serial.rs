//! The options of a serial TARGET: how `read`, `write` and `scan` talk on it.
//!
//! Owns names, ranges and defaults. Whether TARGET is serial is decided in `target`. Source: docs/cli.md.

use std::num::NonZeroU32;

use super::{Parity, parse_baud_rate};
use crate::line::{Framing, settings};

/// Bits per second, parity and stop bits, as far as they are given.
#[derive(Clone, Debug, clap::Args)]
pub struct Serial {
    /// Bits per second of a serial TARGET, 300 to 1000000 [default: 19200]
    #[arg(short, long, value_name = "BAUD", value_parser = parse_baud_rate)]
    pub baud: Option<NonZeroU32>,
    /// Parity bit of a serial TARGET [default: none]
    #[arg(short, long, value_enum)]
    pub parity: Option<Parity>,
    /// Stop bits of a serial TARGET, 1 or 2 [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=2))]
    pub stop_bits: Option<u8>,
}

impl Serial {
    /// Whether any of them is given, which means nothing where TARGET is no serial port.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.baud.is_some() || self.parity.is_some() || self.stop_bits.is_some()
    }

    /// What they say, and 19200 8N1 where they say nothing.
    #[must_use]
    pub fn framing(&self) -> Framing {
        Framing {
            baud_rate: self.baud.map_or(BAUD_RATE, u32::from),
            parity: self.parity.map_or(settings::Parity::None, settings::Parity::from),
            stop_bits: self.stop_bits.unwrap_or(1),
        }
    }
}

/// Of a meter as it is delivered.
const BAUD_RATE: u32 = 19_200;
