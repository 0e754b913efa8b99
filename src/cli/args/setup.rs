//! Arguments of `setup`: every answer as an option.
//!
//! Owns names, defaults and ranges. It never acts on them. Source: docs/cli.md.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::line::Survey;

/// Arguments of `setup`.
#[derive(Clone, Debug, clap::Args)]
pub struct Setup {
    /// The configuration to write [default: /etc/metergate/metergate.yaml]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The port the meters are on, such as /dev/ttyUSB0, or a serial server as tcp://HOST:PORT; without it, the only
    /// adapter
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// What is asked, and how.
    #[command(flatten)]
    pub survey: Survey,
    /// What people call a meter; once for each
    #[arg(long, value_name = "UNIT=NAME")]
    pub name: Vec<String>,
    /// What the line is called
    #[arg(long, value_name = "NAME", default_value = "riser-a", value_parser = parse_name)]
    pub bus: String,
    /// The profile of meters that do not say what they are, or none
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Where Modbus TCP clients connect
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// Where the status page is; beyond 127.0.0.1 with a token
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub page: Option<SocketAddr>,
    /// The file with that token, made if it is not there [default: token, beside the configuration]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The unit of systemd that is stopped for the scan and started at the end [default: metergate, for the
    /// configuration in /etc/metergate]
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Ask nothing: what is not given is as proposed
    #[arg(long)]
    pub yes: bool,
    /// Replace a configuration that is there; the old one is kept beside it
    #[arg(long)]
    pub force: bool,
}

fn parse_name(text: &str) -> Result<String, String> {
    let is_fine =
        text.trim() == text && (1..=64).contains(&text.chars().count()) && !text.contains(char::is_control);
    if is_fine {
        Ok(text.to_owned())
    } else {
        Err("a name of 1 to 64 printable characters is expected".to_owned())
    }
}

pub(super) const SETUP_HELP: &str = "\
Examples: question by question; and without any, for a script
  sudo metergate setup
  sudo metergate setup --yes --force --units 1-8 --name 1=Main --page 0.0.0.0:8502
  sudo metergate setup --device tcp://192.168.10.7:4001

Exit status: 0 ok, 1 no meter answers, nothing was written, or the file is there already, 2 wrong usage or the input \
ended, 3 the configuration would be wrong, 5 the port cannot be opened or the service does not start";
