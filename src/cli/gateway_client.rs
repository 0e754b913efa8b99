//! The running gateway as `trace`, `capture`, `report` and `doctor` find it: by its status address.
//!
//! Owns where that is, from the command line, else from the configuration, else the default; and the errors when
//! no gateway is there. It only asks. Source: docs/cli.md and docs/http-api.md.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;

use nix::unistd::Uid;
use tokio_util::sync::CancellationToken;

use super::args::gateway::GatewayLocation;
use super::command_error::CommandError;
use super::exit::Exit;
use super::instances::{self, Found, seen_from_here};
use super::target::host_and_port;
use super::{output, service_user};
use crate::client::{HttpFailure, PageServer, Response};
use crate::config;
use crate::tls::Trust;

/// A running gateway.
#[derive(Debug)]
pub(super) struct GatewayClient {
    server: PageServer,
    /// How it was found, in words.
    found: String,
}

impl GatewayClient {
    /// Where the gateway is, by what the command line says.
    ///
    /// # Errors
    /// A configuration with faults, or one without a status address; a token file that is none.
    pub(super) fn find(location: &GatewayLocation) -> Result<Self, CommandError> {
        let mut gateway = match &location.status {
            Some(word) => Self::named(word, location.ca.as_deref())?,
            None if location.ca.is_some() => {
                return Err(CommandError::usage("--ca is for --status https://ADDRESS[:PORT]"));
            }
            None => match instances::find(location.config.as_deref())? {
                Some(found) => Self::configured(&found)?,
                None => Self {
                    server: server(Ipv4Addr::LOCALHOST.to_string(), STATUS_PORT)?,
                    found: format!("the default; there is no {}", instances::CONFIGURATION),
                },
            },
        };
        if let Some(path) = &location.token_file {
            let token = config::read_token(path)
                .map_err(|error| CommandError::usage(format!("--token-file: {error}; {}", error.remedy())))?;
            gateway.server.token = Some(token);
        }
        Ok(gateway)
    }

    fn named(word: &str, ca: Option<&Path>) -> Result<Self, CommandError> {
        let (is_https, address) = match word.strip_prefix("https://") {
            Some(address) => (true, address),
            None => (false, word.strip_prefix("http://").unwrap_or(word)),
        };
        let (host, port) = host_and_port(address, STATUS_PORT).ok_or_else(|| {
            CommandError::usage(format!("--status: '{word}' is no ADDRESS[:PORT] or https://ADDRESS[:PORT]"))
        })?;
        let trust = match (is_https, ca) {
            (false, None) => None,
            (true, Some(path)) => Some(Trust::load(path).map_err(|error| {
                CommandError::usage(format!("--ca: cannot read {}: {error}", path.display()))
            })?),
            (true, None) => {
                let text =
                    "--status https:// needs --ca FILE, with the gateway's certificate or its authority's";
                return Err(CommandError::usage(text));
            }
            (false, Some(_)) => {
                return Err(CommandError::usage("--ca is for --status https://ADDRESS[:PORT]"));
            }
        };
        Ok(Self {
            server: PageServer { trust, ..server(host, port)? },
            found: "named by --status".to_owned(),
        })
    }

    fn configured(found: &Found) -> Result<Self, CommandError> {
        let shown = found.shown();
        let Some(status) = config::load(found.path())?.config.status else {
            let text = match found {
                Found::Configured(_) => format!(
                    "{shown} has `status: off`, so the gateway cannot be asked; give it an address there, such as \
                     `status: {{address: 127.0.0.1:8502}}`, and reload it with SIGHUP"
                ),
                Found::Running { .. } => format!(
                    "{shown} has no status address, so it cannot be asked: it was switched off, or the default one is \
                     another program's; start it with another one (`status` in the configuration, --status of a demo)"
                ),
            };
            return Err(CommandError::Failed(Exit::CannotStart, text));
        };
        let address = status.settings.address;
        let server = PageServer {
            token: status.settings.token,
            trust: status.settings.tls.as_ref().map(|tls| Trust::new(tls.chain())),
            ..server(seen_from_here(address.ip()).to_string(), address.port())?
        };
        Ok(Self { server, found: format!("the status address of {shown}") })
    }

    /// Where it is, for people.
    pub(super) fn shown(&self) -> String {
        let PageServer { host, port, .. } = &self.server;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// The head of a page.
    ///
    /// # Errors
    /// No gateway is there, or the page is refused.
    pub(super) async fn ask(&self, path: &str) -> Result<Response, CommandError> {
        let asked = Response::get(&self.server, path).await;
        asked.map_err(|failure| self.explain(&failure))
    }

    /// A page with an end.
    ///
    /// # Errors
    /// No gateway is there, the page is refused or breaks off.
    pub(super) async fn page(&self, path: &str) -> Result<Vec<u8>, CommandError> {
        self.ask(path).await?.whole(PAGE_MAX).await.map_err(|failure| self.explain(&failure))
    }

    fn explain(&self, failure: &HttpFailure) -> CommandError {
        let (shown, found) = (self.shown(), &self.found);
        let text = match failure {
            HttpFailure::Unreachable(error) => format!(
                "no gateway answers at {shown} ({found}): {error}. Is it running (`systemctl status metergate`)? If it \
                 is elsewhere, name its status address: --status ADDRESS:PORT, or its configuration: --config FILE"
            ),
            HttpFailure::Broken(why) => {
                format!("{shown} ({found}) does not answer as a gateway does: {why}")
            }
            HttpFailure::Refused(401, _) => format!(
                "{shown} ({found}) wants another token; name the file that holds it: --token-file FILE, or have \
                 the gateway read its own again with SIGHUP"
            ),
            HttpFailure::Refused(404, _) => {
                format!("{shown} ({found}) has no such page: it is an older gateway, or none")
            }
            HttpFailure::Withheld(why) => format!("the token is not sent to {shown} ({found}): {why}"),
            HttpFailure::Refused(_, words) => format!("{shown} ({found}) refuses: {words}"),
        };
        let exit = match failure {
            // The query came from the command line.
            HttpFailure::Refused(400, _) => Exit::Usage,
            HttpFailure::Unreachable(_)
            | HttpFailure::Broken(_)
            | HttpFailure::Withheld(_)
            | HttpFailure::Refused(..) => Exit::CannotStart,
        };
        CommandError::Failed(exit, text)
    }

    /// Hands every piece of a response to `take` until its end, until `stop` is cancelled or `take` fails.
    pub(super) async fn pass_on(
        &self,
        mut response: Response,
        stop: &CancellationToken,
        mut take: impl FnMut(&[u8]) -> Result<(), Exit>,
    ) -> Exit {
        loop {
            let piece = tokio::select! {
                () = stop.cancelled() => return Exit::Ok,
                piece = response.next() => piece,
            };
            match piece {
                Ok(Some(piece)) => {
                    if let Err(exit) = take(&piece) {
                        return exit;
                    }
                }
                Ok(None) => return Exit::Ok,
                Err(failure) => {
                    output::complain(&format!("the gateway at {} ended it: {failure}", self.shown()));
                    return Exit::Fault;
                }
            }
        }
    }
}

/// A server without a token, which root, this user and the service's user may run.
fn server(host: String, port: u16) -> Result<PageServer, CommandError> {
    let service = service_user::find(None)?.map(|user| user.uid);
    let users = [Uid::from_raw(0), Uid::effective()].into_iter().chain(service).map(Uid::as_raw).collect();
    Ok(PageServer { host, port, token: None, trust: None, users })
}

/// What becomes of a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Present {
    /// It stays, and the command has no option to change that.
    Kept,
    /// It stays, unless --force is given.
    KeptUnforced,
    /// It is written over.
    WrittenOver,
}

/// A file for a result.
///
/// # Errors
/// It is there and is to stay, or cannot be made.
pub(super) fn new_file(path: &Path, present: Present) -> Result<File, CommandError> {
    let mut options = OpenOptions::new();
    options.write(true);
    match present {
        Present::WrittenOver => options.create(true).truncate(true),
        Present::Kept | Present::KeptUnforced => options.create_new(true),
    };
    options.open(path).map_err(|error| {
        let remedy = match (error.kind() == std::io::ErrorKind::AlreadyExists, present) {
            (true, Present::Kept) => "; choose another name",
            (true, Present::KeptUnforced) => "; choose another name, or write over it with --force",
            (true, Present::WrittenOver) | (false, _) => "",
        };
        CommandError::Failed(Exit::Fault, format!("cannot write {}: {error}{remedy}", path.display()))
    })
}

/// Writes a piece of a result.
///
/// # Errors
/// How the command ends; it has been said.
pub(super) fn append(file: &mut File, path: &Path, piece: &[u8]) -> Result<(), Exit> {
    file.write_all(piece).map_err(|error| {
        output::complain(&format!("cannot write {}: {error}", path.display()));
        Exit::Fault
    })
}

/// The port of a status address by default.
const STATUS_PORT: u16 = 8502;

/// Most bytes of a page with an end: a report of the largest configuration is far smaller.
const PAGE_MAX: usize = 64 * 1024 * 1024;
