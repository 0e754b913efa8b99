//! Arguments of the commands that look at a whole line: `scan` and `doctor`.
//!
//! Owns names, defaults and ranges; what a TARGET is, `target` says. It never acts on them. Source: contract
//! section 2.

use std::num::NonZeroU32;
use std::time::Duration;

use super::gateway::GatewayLocation;
use super::serial::Serial;
use super::{Parity, Units, parse_baud_rate};
use crate::document;

/// Arguments of `scan`.
#[derive(Clone, Debug, clap::Args)]
pub struct Scan {
    /// A serial port such as /dev/ttyUSB0, a serial server as tcp://HOST:PORT, or a gateway as HOST or HOST:PORT
    #[arg(value_name = "TARGET")]
    pub target: String,
    /// What is asked, and how.
    #[command(flatten)]
    pub survey: Survey,
}

/// Which addresses of a line are asked, and how; of `setup`, too.
#[derive(Clone, Debug, clap::Args)]
pub struct Survey {
    /// Addresses to ask, such as 1-12; one of these that is silent is a fault
    #[arg(short, long, value_name = "UNITS")]
    pub units: Option<Units>,
    /// How the meters are set.
    #[command(flatten)]
    pub serial: Serial,
    /// Ask at other baud rates and parities, too, what was not heard intact
    #[arg(long)]
    pub try_settings: bool,
    /// How long each address has to begin its answer, such as 200ms or 1s; 10s at most. Through a gateway 5s at least,
    /// as it waits itself
    #[arg(short, long, value_name = "TIME", default_value = "200ms", value_parser = document::Duration::<0, 10_000>::option)]
    pub timeout: Duration,
}

/// Arguments of `doctor`.
#[derive(Clone, Debug, clap::Args)]
pub struct Doctor {
    /// A serial port such as /dev/ttyUSB0, or a serial server as tcp://HOST:PORT; without it, the gateway running here
    #[arg(value_name = "TARGET", conflicts_with_all = ["config", "status", "token_file"])]
    pub target: Option<String>,
    /// The gateway that is asked without TARGET.
    #[command(flatten)]
    pub location: GatewayLocation,
    /// How the meters are asked on TARGET.
    #[command(flatten)]
    pub line: Line,
}

/// How `doctor` asks the meters on a port.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Options for TARGET")]
pub struct Line {
    /// Addresses of the meters, such as 1-12
    #[arg(short, long, value_name = "UNITS", requires = "target")]
    pub units: Option<Units>,
    /// What the meters are: a built-in profile
    #[arg(long, value_name = "NAME", default_value = "leviton-4000r")]
    pub profile: String,
    /// How long to look, such as 30s; 1s to 3600s [default: 20s, and until each meter has answered or was asked twice]
    #[arg(long = "for", value_name = "TIME", value_parser = document::Duration::<1_000, 3_600_000>::option)]
    pub time: Option<Duration>,
    /// Bits per second, 300 to 1000000
    #[arg(short, long, value_name = "BAUD", default_value = "19200", value_parser = parse_baud_rate)]
    pub baud: NonZeroU32,
    /// Parity bit
    #[arg(short, long, value_enum, default_value_t = Parity::None)]
    pub parity: Parity,
    /// Stop bits, 1 or 2
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u8).range(1..=2))]
    pub stop_bits: u8,
    /// How long a meter has to begin its answer, such as 500ms or 1s; 10ms to 10s
    #[arg(short, long, value_name = "TIME", default_value = "500ms", value_parser = document::Duration::<10, 10_000>::option)]
    pub timeout: Duration,
}

pub(super) const SCAN_HELP: &str = "\
Examples:
  metergate scan /dev/ttyUSB0 --units 1-12
  metergate scan /dev/ttyUSB0 --try-settings > metergate.yaml

Exit status: 0 ok, 1 no unit answers, an address is used twice, or one of --units is silent or \
answers something else than asked, 2 wrong usage, 5 the port cannot be opened";

pub(super) const DOCTOR_HELP: &str = "\
Examples: the gateway running here; and a line without a gateway
  metergate doctor
  metergate doctor /dev/ttyUSB0 --units 1-12

Exit status: 0 nothing is wrong, 1 something is, 2 wrong usage, 3 the configuration is wrong, 5 the port cannot be \
opened or no gateway answers";
