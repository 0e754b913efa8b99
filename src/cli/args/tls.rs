//! Arguments of `tls`.

use std::path::PathBuf;

use clap::ValueEnum;

/// Arguments of `tls`.
#[derive(Clone, Debug, clap::Args)]
pub struct Tls {
    /// What to do
    #[arg(value_enum)]
    pub action: TlsAction,
    /// The directory to make certificates in, or the file to show
    #[arg(value_name = "DIR or FILE")]
    pub path: PathBuf,
    /// init: a role to make a client's certificate for, once for each [default: Engineer, Operator]
    #[arg(long, value_name = "ROLE")]
    pub role: Vec<String>,
    /// init: a name or an address by which clients connect, beside those this machine has
    #[arg(long, value_name = "HOST")]
    pub name: Vec<String>,
    /// init: the user the service runs as [default: metergate where there is that user, else you]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
}

/// What `tls` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TlsAction {
    /// Make an authority, the gateway's certificate and one for a client of each role; nothing is overwritten
    Init,
    /// Print what the certificates in a file are good for
    Show,
}

pub(super) const TLS_HELP: &str = "\
Examples:
  sudo metergate tls init /etc/metergate/tls
  sudo metergate tls init /etc/metergate/tls --role Engineer --role 'Demand_Reset' --name gateway.example
  metergate tls show /etc/metergate/tls/server.pem

Exit status: 0 ok, 1 a file is there already or cannot be made or read, 2 wrong usage, 5 the user cannot be looked up";
