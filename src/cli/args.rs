//! The command line's definition: help, completions and man pages all come from it.
//!
//! Owns names, defaults and ranges of arguments. It never acts on them. Source: docs/cli.md.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::instances;
use crate::config;
use crate::document;
use crate::line::settings;

pub mod gateway;
pub mod line;
pub mod meter;
pub mod serial;
pub mod setup;
pub mod tls;

/// The whole command line.
#[derive(Clone, Debug, Parser)]
#[command(name = "metergate", version, about, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Args {
    /// How much to log; overrides the configuration file
    #[arg(long, global = true, value_name = "LEVEL", display_order = 900)]
    pub log_level: Option<LogLevel>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl From<config::LogLevel> for LogLevel {
    fn from(level: config::LogLevel) -> Self {
        match level {
            config::LogLevel::Error => Self::Error,
            config::LogLevel::Warn => Self::Warn,
            config::LogLevel::Info => Self::Info,
            config::LogLevel::Debug => Self::Debug,
            config::LogLevel::Trace => Self::Trace,
        }
    }
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the gateway
    ///
    /// SIGHUP reads the file again: what did not change goes on undisturbed, and a file with faults changes
    /// nothing. SIGTERM or Ctrl-C answers what is in flight and ends.
    #[command(after_help = RUN_HELP)]
    Run(Configured),
    /// Check a configuration without opening any port
    ///
    /// Errors, warnings and notes go to stderr, each with its place and a remedy. Of a good configuration the budget
    /// of each line is printed, what background reading costs and how many meters fit, and then "ok".
    ///
    /// Run by root on a configuration below /etc/metergate it goes on as the service's user, so that a token, a profile
    /// or a folder that the service cannot use is found before a restart does.
    #[command(after_help = CHECK_HELP)]
    Check(Check),
    /// Try it out: simulated meters behind a gateway, nothing to wire or configure
    #[command(after_help = DEMO_HELP)]
    Demo(Demo),
    /// Simulate a chain of Leviton 4000-R meters on a serial device of its own
    ///
    /// Makes a pseudo terminal that any Modbus RTU program can open like a serial port, and answers on it as
    /// the meters would, at the speed of the wire. Ends with Ctrl-C.
    #[command(after_help = SIMULATE_HELP)]
    Simulate(Simulate),
    /// Read a meter, over TCP or straight from a serial port
    #[command(after_help = meter::READ_HELP)]
    Read(meter::Read),
    /// Write one point of a meter, and read it back
    #[command(after_help = meter::WRITE_HELP)]
    Write(meter::Write),
    /// Print the points of a profile: their registers, units and ranges
    #[command(after_help = meter::POINTS_HELP)]
    Points(meter::Points),
    /// Find out which units are on a line, what they are, and write a configuration for them
    ///
    /// Asks one address after the other and waits a moment for each. What it prints is a configuration file; what
    /// it has to say stands in it as comments. Nothing is written to any meter.
    #[command(after_help = line::SCAN_HELP)]
    Scan(line::Scan),
    /// Set up a gateway: find the adapter and the meters, name them, write the configuration, start the service
    ///
    /// Asks line by line; each answer is an option, too. Nothing is written to any meter, and no file is replaced
    /// unasked.
    #[command(after_help = setup::SETUP_HELP)]
    Setup(setup::Setup),
    /// Say what is wrong with a line and its meters, and what to do about it
    ///
    /// Without TARGET it asks the gateway running here, which knows what happened in the last minutes. On a port that
    /// no gateway holds it asks the meters itself for a while, as the gateway would. It tells what was seen: silence,
    /// slowness, damaged answers, addresses used twice, and what the meters themselves report.
    #[command(after_help = line::DOCTOR_HELP)]
    Doctor(line::Doctor),
    /// Print the state of the running gateway in one line, for Nagios, Icinga and scripts
    ///
    /// The line and the exit status are those of a monitoring plugin. What is critical is a fault that `doctor` names,
    /// a unit that is off-line or unreachable, and a port that is not open.
    #[command(after_help = gateway::STATUS_HELP)]
    Status(gateway::Status),
    /// Follow what goes over the lines of the running gateway, a line for each thing that happens
    ///
    /// Each line says when (UTC), on which bus, with which unit, for whom, what was asked, how it ended and how long
    /// that took. What was answered without a line is shown, too.
    #[command(after_help = gateway::TRACE_HELP)]
    Trace(gateway::Trace),
    /// Write the traffic of the running gateway, both sides, to a file for Wireshark
    ///
    /// The file begins with what the gateway has kept: the last 2000 events of each line, and of all clients.
    #[command(after_help = gateway::CAPTURE_HELP)]
    Capture(gateway::Capture),
    /// List what happened on the running gateway: outages, lost ports, findings, reloads, restarts
    ///
    /// Each line has the beginning in local time, how long it lasted, and what it was; the newest is the last.
    #[command(after_help = gateway::EVENTS_HELP)]
    Events(gateway::Events),
    /// Write all that the running gateway knows into one text, for remote support
    ///
    /// Configuration, versions, states, counters, findings, the last transactions and the last lines of the log. The
    /// token is not in it; readings, names and addresses of clients are.
    #[command(after_help = gateway::REPORT_HELP)]
    Report(gateway::Report),
    /// Print the points of the configured meters as a client imports them
    ///
    /// From the configuration and its profiles alone; no meter is asked. Without POINT each measured quantity is listed
    /// once, for home-assistant and telegraf in a form they can decode.
    #[command(after_help = EXPORT_HELP)]
    Export(Export),
    /// Make a token for the status page, in a file that the service can read and other users cannot
    ///
    /// As root, where the packages' user metergate exists, the file belongs to root and the service's group, mode 0640;
    /// else to you, mode 0600. What to put into the configuration is printed.
    #[command(after_help = TOKEN_HELP)]
    Token(Token),
    /// Make certificates for Modbus/TCP Security, or show what a certificate is good for
    ///
    /// `init` makes an authority, a certificate for the gateway with this machine's names and addresses, and one for a
    /// client of each role, valid for five years. Keys have mode 0600; the gateway's, made by root, belongs to the
    /// service's user.
    #[command(after_help = tls::TLS_HELP)]
    Tls(tls::Tls),
    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS_HELP)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print a manual page
    #[command(after_help = MAN_HELP)]
    Man {
        /// The command the page is about; without it, the page is about metergate
        command: Option<String>,
    },
}

/// The configuration that `run` and `check` are given.
#[derive(Clone, Debug, clap::Args)]
pub struct Configured {
    /// The configuration [default: /etc/metergate/metergate.yaml]
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// The same, as an option
    #[arg(short = 'c', long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Configured {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        let given = self.file.as_deref().or(self.config.as_deref());
        given.unwrap_or_else(|| Path::new(instances::CONFIGURATION))
    }
}

/// Arguments of `check`.
#[derive(Clone, Debug, clap::Args)]
pub struct Check {
    /// The configuration.
    #[command(flatten)]
    pub configured: Configured,
    /// Print the configuration as it will be obeyed, too, every default filled in; all of it is YAML then
    #[arg(long)]
    pub effective: bool,
    /// As root: see files as this user does [default: metergate, the service's, for a configuration below
    /// /etc/metergate]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
}

/// Arguments of `token`.
#[derive(Clone, Debug, clap::Args)]
pub struct Token {
    /// The file to make, such as /etc/metergate/token
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Put a new token in place of one that is there
    #[arg(long)]
    pub force: bool,
    /// The user the service runs as [default: metergate where there is that user, else you]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
}

/// Arguments of `export`.
#[derive(Clone, Debug, clap::Args)]
pub struct Export {
    /// The client that imports it
    #[arg(value_enum)]
    pub format: ExportFormat,
    /// Names of points, groups or blocks, register numbers or ranges, or `all`, as `read` takes them
    #[arg(value_name = "POINT, GROUP, BLOCK or REGISTER")]
    pub points: Vec<String>,
    /// Only these units, by the identifiers clients use, such as 1-12
    #[arg(short, long, value_name = "UNITS", value_parser = meter::UnitList::option)]
    pub unit: Option<meter::UnitList>,
    /// The configuration [default: that of the gateway that runs here, else /etc/metergate/metergate.yaml]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The name or address by which clients find this machine [default: the listener's address, else the host's name]
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// The listener that clients connect to [default: the first that leads to the unit]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listener: Option<SocketAddr>,
}

/// What imports the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// A table of registers, for a BMS, Niagara, Ignition, Node-RED or a spreadsheet
    Csv,
    /// Sensors of the Modbus integration
    HomeAssistant,
    /// The Modbus input
    Telegraf,
    /// Modules of modbus_exporter, and the job that scrapes it
    Prometheus,
    /// The job that scrapes the gateway's own metrics
    PrometheusScrape,
}

/// Arguments of `demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct Demo {
    /// Where Modbus TCP clients connect
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5020")]
    pub listen: SocketAddr,
    /// Where the status page is; without this 127.0.0.1:8502, if it is free
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub status: Option<SocketAddr>,
    /// Unit identifiers of the meters, such as 1-8 or 1,3,10-12
    #[arg(short, long, value_name = "UNITS", default_value = "1-8")]
    pub units: Units,
    /// Bits per second of the simulated line, 300 to 1000000
    #[arg(short, long, value_name = "BAUD", default_value = "19200", value_parser = parse_baud_rate)]
    pub baud: NonZeroU32,
    /// Meters, loads and faults from a file, in place of --units and --baud
    #[arg(long, value_name = "FILE", conflicts_with_all = ["units", "baud"])]
    pub scenario: Option<PathBuf>,
}

/// Arguments of `simulate`.
#[derive(Clone, Debug, clap::Args)]
pub struct Simulate {
    /// Where to put a symbolic link to the device; removed at the end
    #[arg(long, value_name = "PATH")]
    pub link: PathBuf,
    /// Unit identifiers of the meters, such as 1-8 or 1,3,10-12
    #[arg(short, long, value_name = "UNITS", required_unless_present = "scenario")]
    pub units: Option<Units>,
    /// Meters, loads and faults from a file, in place of --units, --baud, --turnaround and --seed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["units", "baud", "turnaround", "seed"])]
    pub scenario: Option<PathBuf>,
    /// Bits per second, 300 to 1000000; clients that talk at another rate are not understood
    #[arg(short, long, value_name = "BAUD", default_value = "19200", value_parser = parse_baud_rate)]
    pub baud: NonZeroU32,
    /// Parity bit; only its time on the wire is simulated
    #[arg(short, long, value_enum, default_value_t = Parity::None)]
    pub parity: Parity,
    /// Stop bits, 1 or 2
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u8).range(1..=2))]
    pub stop_bits: u8,
    /// A meter's pause before it answers, such as 5ms or 1s; 10s at most
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = document::Duration::<0, 10_000>::option)]
    pub turnaround: Duration,
    /// Equal seeds make equal meters
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
}

/// Parity bit of a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Parity {
    /// No parity bit
    None,
    /// Even parity
    Even,
    /// Odd parity
    Odd,
}

impl Parity {
    /// The letter between data and stop bits in short forms such as 8N1.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::None => 'N',
            Self::Even => 'E',
            Self::Odd => 'O',
        }
    }
}

impl From<Parity> for settings::Parity {
    fn from(parity: Parity) -> Self {
        match parity {
            Parity::None => Self::None,
            Parity::Even => Self::Even,
            Parity::Odd => Self::Odd,
        }
    }
}

impl fmt::Display for Parity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Even => "even",
            Self::Odd => "odd",
        })
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What stops something from working
    Error,
    /// And what needs attention
    Warn,
    /// And every change of state
    Info,
    /// And what helps to find a fault
    Debug,
    /// And every frame
    Trace,
}

/// Unit identifiers, each once, in order: `1-8` or `1,3,10-12`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Units(Vec<u8>);

impl Units {
    /// These identifiers, each once.
    #[must_use]
    pub fn of(ids: impl Iterator<Item = u8>) -> Self {
        let mut ids: Vec<u8> = ids.collect();
        ids.sort_unstable();
        ids.dedup();
        Self(ids)
    }

    /// The identifiers, ascending.
    #[must_use]
    pub fn ids(&self) -> &[u8] {
        &self.0
    }

    /// The entries of `units:` in a configuration file, for meters that are simulated.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let unit = |run: &str| format!("{{id: {run}, profile: leviton-4000r}}");
        self.to_string().split(',').map(unit).collect::<Vec<_>>().join(", ")
    }
}

impl FromStr for Units {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut ids = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (parse_unit(first)?, parse_unit(last)?);
            if first > last {
                return Err(format!("{part}: the first unit is higher than the last"));
            }
            ids.extend(first..=last);
        }
        ids.sort_unstable();
        match ids.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("unit {} is named twice", pair[0])),
            None => Ok(Self(ids)),
        }
    }
}

impl fmt::Display for Units {
    /// Runs are joined again: 1, 2, 3 and 5 show as `1-3,5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = self.0.chunk_by(|one, next| one + 1 == *next);
        for (index, run) in runs.enumerate() {
            let comma = if index > 0 { "," } else { "" };
            match run {
                [first, .., last] => write!(f, "{comma}{first}-{last}")?,
                [] | [_] => run.iter().try_for_each(|only| write!(f, "{comma}{only}"))?,
            }
        }
        Ok(())
    }
}

fn parse_unit(text: &str) -> Result<u8, String> {
    match text.trim().parse() {
        Ok(id) if (1..=UNIT_MAX).contains(&id) => Ok(id),
        Ok(_) | Err(_) => Err(format!("'{text}' is not a unit identifier from 1 to {UNIT_MAX}")),
    }
}

fn parse_baud_rate(text: &str) -> Result<NonZeroU32, String> {
    match text.parse::<NonZeroU32>() {
        Ok(rate) if (300..=1_000_000).contains(&rate.get()) => Ok(rate),
        Ok(_) | Err(_) => Err("a number from 300 to 1000000 is expected".to_owned()),
    }
}

/// The highest identifier on a line, as in the configuration: some devices have one that the standard reserves.
const UNIT_MAX: u8 = settings::UnitId::MAX;

const EXIT_CODES: &str = "\
Exit status:
  0  ok
  1  ran and found a fault
  2  the command line is wrong
  3  the configuration is wrong
  4  an address cannot be listened on
  5  cannot start";

const RUN_HELP: &str = "\
Example:
  metergate run /etc/metergate/metergate.yaml

Exit status: 0 ended by a signal, 2 wrong usage, 3 the configuration is wrong, 4 an address cannot be \
listened on, 5 cannot start";

const CHECK_HELP: &str = "\
Examples:
  metergate check
  metergate check ./metergate.yaml --effective

Exit status: 0 ok, 1 a line is to do more than it has time for, or a certificate is not valid now, 2 wrong usage, \
3 the configuration is wrong";

const EXPORT_HELP: &str = "\
Examples:
  metergate export csv > points.csv
  metergate export home-assistant --host 10.0.0.5 power energy > metergate.yaml
  metergate export telegraf --unit 1-12 > metergate.conf

Exit status: 0 ok, 2 wrong usage, 3 the configuration or a profile is wrong";

const TOKEN_HELP: &str = "\
Example:
  sudo metergate token /etc/metergate/token

Exit status: 0 ok, 1 the file is there already or cannot be made, 2 wrong usage, 5 the user cannot be looked up";

const DEMO_HELP: &str = "\
Example: sixteen meters, for clients on other machines too
  metergate demo --listen 0.0.0.0:5020 --units 1-16
Example: twelve meters, one dead, one at another baud rate, two with one address
  metergate demo --scenario config/scenarios/twelve-with-faults.yaml

Exit status: 0 ended by Ctrl-C or SIGTERM, 2 wrong usage, 3 the scenario is wrong, 4 the address cannot be \
listened on, 5 cannot start";

const SIMULATE_HELP: &str = "\
Example: eight meters, then a look at the real power of the first one (register 261)
  metergate simulate --link /tmp/meters --units 1-8
  mbpoll -m rtu -b 19200 -P none -a 1 -t 4:float -B -r 261 -1 /tmp/meters
Example: meters and faults from a file
  metergate simulate --link /tmp/meters --scenario config/scenarios/demo-faults.yaml

Exit status: 0 ended by Ctrl-C or SIGTERM, 2 wrong usage, 3 the scenario is wrong, 5 the device or the link \
cannot be made";

const COMPLETIONS_HELP: &str = "\
Example, for bash:
  metergate completions bash > /etc/bash_completion.d/metergate";

const MAN_HELP: &str = "\
Examples:
  metergate man | man -l -
  metergate man simulate > metergate-simulate.1";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn units_are_lists_and_ranges_in_order_and_once_each() {
        let shown = |text: &str| text.parse::<Units>().map(|units| units.to_string());
        assert_eq!(shown("1-8"), Ok("1-8".to_owned()));
        assert_eq!(shown("12,1,3-4, 2,247-248"), Ok("1-4,12,247-248".to_owned()));
        assert_eq!(shown("255"), Ok("255".to_owned()), "as in the configuration");
        assert_eq!(shown("7"), Ok("7".to_owned()));
        for wrong in ["", "0", "256", "1-256", "3-1", "1,1", "1-3,2", "1-", "-1", "a", "1,,2"] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_baud_rate_is_from_300_to_a_million() {
        assert!(parse_baud_rate("300").is_ok() && parse_baud_rate("1000000").is_ok());
        for wrong in ["0", "299", "1000001", "fast"] {
            assert!(parse_baud_rate(wrong).is_err(), "{wrong}");
        }
    }
}
