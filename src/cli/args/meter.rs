//! Arguments of the commands that ask a meter: `read`, `write` and `points`.
//!
//! Owns names, defaults and ranges; what a TARGET is, `target` says. It never acts on them. Source: contract
//! section 2.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;

use super::serial::Serial;
use crate::cli::shown::Style;
use crate::document;

/// How a meter is reached.
#[derive(Clone, Debug, clap::Args)]
pub struct ConnectionArgs {
    /// The meter's unit identifier, which each command takes in its own way.
    #[arg(skip)]
    pub unit: u8,
    /// Further units that are asked on the same way.
    #[arg(skip)]
    pub also: Vec<u8>,
    /// What the registers mean: a profile's name, or a file [default: what the configuration says of the unit,
    /// else leviton-4000r]
    #[arg(long, value_name = "NAME|FILE")]
    pub profile: Option<String>,
    /// The configuration of the gateway running here [default: that of the one that runs, else
    /// /etc/metergate/metergate.yaml]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How a serial TARGET is talked to.
    #[command(flatten)]
    pub serial: Serial,
    /// How long to wait for an answer, 10ms to 60s [default: 5s over TCP, 500ms on a line]
    #[arg(short, long, value_name = "TIME", value_parser = document::Duration::<10, 60_000>::option)]
    pub timeout: Option<Duration>,
}

impl ConnectionArgs {
    /// The way to one unit.
    #[must_use]
    pub fn to_unit(&self, unit: u8) -> Self {
        Self { unit, ..self.clone() }
    }
}

/// Arguments of `read`.
#[derive(Clone, Debug, clap::Args)]
#[command(override_usage = "metergate read [OPTIONS] <--unit <UNITS>|--all> [TARGET] \
                            [POINT|GROUP|BLOCK|REGISTER]...")]
pub struct Read {
    /// Where the meter is: HOST:PORT, an address, /dev/..., or tcp://HOST:PORT of a serial server; without it, the
    /// gateway running here. Then what to read: names of points, groups or blocks, register numbers or ranges, or
    /// `all`; without any, each quantity once
    #[arg(value_name = "TARGET, POINT, GROUP, BLOCK or REGISTER")]
    pub words: Vec<String>,
    /// The meter's unit identifier, 1 to 255, or several, such as 1-12 or 1,3,10-12: a row a meter, in one sweep
    #[arg(short, long, value_name = "UNITS", value_parser = UnitList::option, required_unless_present = "all")]
    pub unit: Option<UnitList>,
    /// Every meter the configuration of the gateway running here names: a row a meter, in one sweep
    #[arg(long, conflicts_with_all = ["unit", "raw"])]
    pub all: bool,
    /// How to reach it.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// Read again and again until Ctrl-C, 100ms to 1h apart
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, require_equals = true, default_missing_value = "2s",
          value_parser = Interval::option)]
    pub watch: Option<Duration>,
    /// How it is written.
    #[command(flatten)]
    pub format: OutputFormat,
    /// Registers by number as they are, without a profile: 257 or 257-262, at most 125 at once
    #[arg(long, conflicts_with = "profile")]
    pub raw: bool,
    /// With --raw: 4 for holding registers (function 03), 3 for input registers (function 04)
    #[arg(long, value_name = "3|4", default_value = "4", requires = "raw",
          value_parser = clap::value_parser!(u8).range(3..=4))]
    pub table: u8,
}

/// Arguments of `write`.
#[derive(Clone, Debug, clap::Args)]
#[command(override_usage = "metergate write [OPTIONS] --unit <ID> [TARGET] <POINT=VALUE>")]
pub struct Write {
    /// Where the meter is: HOST:PORT, an address, /dev/..., or tcp://HOST:PORT of a serial server; without it, the
    /// gateway running here. Then what to write: POINT=VALUE in the point's own unit, or the name of a code or command
    #[arg(value_name = "TARGET, POINT=VALUE", required = true, num_args = 1..=2)]
    pub words: Vec<String>,
    /// The meter's unit identifier
    #[arg(short, long, value_name = "ID", value_parser = RangedU64ValueParser::<u8>::new().range(1..=255))]
    pub unit: u8,
    /// How to reach it.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// Write; without it, what would be written is shown
    #[arg(long)]
    pub yes: bool,
}

/// Arguments of `points`.
#[derive(Clone, Debug, clap::Args)]
pub struct Points {
    /// A profile's name, or a file
    #[arg(long, value_name = "NAME|FILE", default_value = "leviton-4000r")]
    pub profile: String,
    /// The configuration, which may name a directory of further profiles [default: that of the gateway that runs
    /// here, else /etc/metergate/metergate.yaml]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How they are written.
    #[command(flatten)]
    pub format: OutputFormat,
}

/// Identifiers of units to read, each once, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitList(Vec<u8>);

impl UnitList {
    /// The identifiers, at least one.
    #[must_use]
    pub fn ids(&self) -> &[u8] {
        &self.0
    }

    /// Identifiers and ranges with commas between them.
    pub(super) fn option(text: &str) -> Result<Self, String> {
        let id = |text: &str| {
            let id = text.trim().parse().ok().filter(|id| (1..=u8::MAX).contains(id));
            id.ok_or_else(|| format!("'{}' is not a unit identifier from 1 to 255", text.trim()))
        };
        let mut ids = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (u8, u8) = (id(first)?, id(last)?);
            if first > last {
                return Err(format!("{part}: the first unit is higher than the last"));
            }
            for id in first..=last {
                if ids.contains(&id) {
                    return Err(format!("unit {id} is named twice"));
                }
                ids.push(id);
            }
        }
        Ok(Self(ids))
    }
}

/// How `read` and `points` write their result.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct OutputFormat {
    /// Print JSON: one object on one line
    #[arg(short = 'j', long, conflicts_with = "csv")]
    json: bool,
    /// Print comma-separated values: a line of names, then one line each
    #[arg(long)]
    csv: bool,
}

impl OutputFormat {
    /// As the options say.
    #[must_use]
    pub fn style(self) -> Style {
        match (self.json, self.csv) {
            (true, _) => Style::Json,
            (false, true) => Style::Csv,
            (false, false) => Style::Table,
        }
    }
}

/// What `--watch` takes.
pub(in crate::cli) type Interval = document::Duration<100, 3_600_000>;

pub(super) const READ_HELP: &str = "\
A first word with a dot, a colon or a slash is the TARGET, and so is one that is no point, group or
block, nor nearly one: a host. Its port is 502 unless it says another.

Examples:
  metergate read --unit 3                                the whole meter, by the gateway here
  metergate read 10.0.0.5 --unit 3 power voltage         two groups, by any Modbus gateway
  metergate read /dev/ttyUSB0 --unit 3 real_power_total  straight on the line
  metergate read 10.0.0.5 --unit 3 --watch=5s --csv energy > energy.csv
  metergate read --all --csv energy                      the meter reading: a row a meter, in one sweep
  metergate read 10.0.0.5 --unit 1-12 power
  metergate read 10.0.0.5 --unit 3 --raw 257-262

Exit status: 0 everything was read, or --watch ended by Ctrl-C, 1 something was not read, 2 wrong \
usage, 3 the configuration or the profile is wrong, 5 the target cannot be reached or its port is \
held by another program";

pub(super) const WRITE_HELP: &str = "\
The value's range is checked before anything is sent. A write is sent once, read back and compared.
Through a gateway it needs a listener with `writes: allow`. `metergate points` shows what can be
written.

Examples:
  metergate write 10.0.0.5 --unit 3 ct_primary=200          shows what would be done
  metergate write 10.0.0.5 --unit 3 ct_primary=200 --yes
  metergate write 10.0.0.5 --unit 3 command=clear_energy --yes

Exit status: 0 written, and read back as written, 1 it was not, or reads back otherwise, 2 wrong \
usage, a value out of range, or nothing written for want of --yes, 3 the configuration or the \
profile is wrong, 5 the target cannot be reached or its port is held by another program";

pub(super) const POINTS_HELP: &str = "\
Examples:
  metergate points
  metergate points --profile ./my-meter.yaml --csv > map.csv

Exit status: 0 ok, 2 no such profile, 3 the configuration or the profile is wrong";
