//! Arguments of the commands for a running gateway: `status`, `trace`, `capture`, `events`, `report`, and `doctor`
//! without TARGET.
//!
//! Owns names, defaults and ranges. It never acts on them. Source: docs/cli.md and docs/http-api.md.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;

use crate::document;
use crate::events::EVENTS_MAX;
use crate::trace::Ending;

/// Where the gateway is.
#[derive(Clone, Debug, clap::Args)]
pub struct GatewayLocation {
    /// The configuration of the gateway running here, whose key `status` says where to ask
    /// [default: that of the one that runs, else /etc/metergate/metergate.yaml, else the address 127.0.0.1:8502]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The gateway's status address, in place of what the configuration says; the port is 8502 if none is named
    #[arg(long, value_name = "[https://]ADDRESS[:PORT]")]
    pub status: Option<String>,
    /// The gateway's certificate, or its authority's, for --status https://...
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The file with the token of that address, in place of what the configuration says
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// Arguments of `trace`.
#[derive(Clone, Debug, clap::Args)]
pub struct Trace {
    /// Only this unit, by the identifier clients use
    #[arg(short, long, value_name = "ID", value_parser = RangedU64ValueParser::<u8>::new().range(1..=255))]
    pub unit: Option<u8>,
    /// Only what this client asked
    #[arg(long, value_name = "IP")]
    pub client: Option<IpAddr>,
    /// Only what ended like this: failed, exception, answered, silent, damaged or stray
    #[arg(long, value_name = "OUTCOME", value_parser = parse_ending)]
    pub outcome: Option<Ending>,
    /// Only what failed; the same as --outcome failed
    #[arg(long, conflicts_with = "outcome")]
    pub failures: bool,
    /// Only requests of clients, without the gateway's own polls and probes
    #[arg(long)]
    pub clients: bool,
    /// Only this bus and its units
    #[arg(long, value_name = "NAME")]
    pub bus: Option<String>,
    /// Begin with what the gateway has kept
    #[arg(long)]
    pub kept: bool,
    /// Print a JSON object for each thing that happens, with all bytes
    #[arg(short, long)]
    pub json: bool,
    /// The gateway.
    #[command(flatten)]
    pub location: GatewayLocation,
}

/// Arguments of `capture`.
#[derive(Clone, Debug, clap::Args)]
pub struct Capture {
    /// The file to write, a pcapng file; - is standard output
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Go on with what happens for so long, 1s to 10m, or until Ctrl-C; without it only what is kept is written
    #[arg(long = "for", value_name = "TIME", value_parser = document::Duration::<1_000, 600_000>::option)]
    pub time: Option<Duration>,
    /// Write over a file that is there
    #[arg(long)]
    pub force: bool,
    /// The gateway.
    #[command(flatten)]
    pub location: GatewayLocation,
}

/// Arguments of `events`.
#[derive(Clone, Debug, clap::Args)]
pub struct Events {
    /// The newest so many
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 100, value_parser = RangedU64ValueParser::<usize>::new().range(1..=EVENTS_MAX as u64))]
    pub most: usize,
    /// Print the JSON of the gateway, in UTC
    #[arg(long, short = 'j')]
    pub json: bool,
    /// The gateway.
    #[command(flatten)]
    pub location: GatewayLocation,
}

/// Arguments of `status`.
#[derive(Clone, Debug, clap::Args)]
pub struct Status {
    /// Only this unit, by the identifier clients use, and the line it is on
    #[arg(short, long, value_name = "ID", value_parser = RangedU64ValueParser::<u8>::new().range(1..=255))]
    pub unit: Option<u8>,
    /// Print a JSON object in place of the line
    #[arg(short, long)]
    pub json: bool,
    /// The gateway.
    #[command(flatten)]
    pub location: GatewayLocation,
}

/// Arguments of `report`.
#[derive(Clone, Debug, clap::Args)]
pub struct Report {
    /// The file to write, which must not be there yet; without it, standard output
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The gateway.
    #[command(flatten)]
    pub location: GatewayLocation,
}

fn parse_ending(text: &str) -> Result<Ending, String> {
    text.parse().map_err(|error: crate::trace::UnknownEnding| error.to_string())
}

pub(super) const TRACE_HELP: &str = "\
Examples: which clients read unit 3, and what; and what failed lately, and from now on
  metergate trace --unit 3 --clients
  metergate trace --failures --kept

Exit status: 0 ended by Ctrl-C, 1 the gateway ended it, 2 wrong usage, 3 the configuration is wrong, 5 no gateway \
answers";

pub(super) const CAPTURE_HELP: &str = "\
Examples: what is kept, as a file; and what happens now, in Wireshark
  metergate capture fault.pcapng
  metergate capture - --for 10m | wireshark -k -i -

Exit status: 0 ok, 1 the gateway ended it or the file cannot be written, 2 wrong usage, 3 the configuration is \
wrong, 5 no gateway answers";

pub(super) const EVENTS_HELP: &str = "\
Example: what happened tonight
  metergate events -n 20

Exit status: 0 ok, 2 wrong usage, 3 the configuration is wrong, 5 no gateway answers";

pub(super) const STATUS_HELP: &str = "\
Examples: the gateway, and one meter
  metergate status
  metergate status --unit 3

Exit status: 0 everything answers, 1 there are warnings, 2 a port is closed, a unit off-line or something else at \
fault, 3 the gateway cannot be asked, wrong usage and a wrong configuration included";

pub(super) const REPORT_HELP: &str = "\
Example:
  metergate report metergate-report.txt

Exit status: 0 ok, 1 the file cannot be written, 2 wrong usage, 3 the configuration is wrong, 5 no gateway \
answers";
