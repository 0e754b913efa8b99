//! TARGET: what a command talks to, and how it is opened.
//!
//! Owns what a word on the command line may mean, and the clear refusal of a port that another program holds. It
//! sends the meter nothing. Source: docs/cli.md.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::args::meter::ConnectionArgs;
use super::command_error::CommandError;
use super::exit::Exit;
use super::instances::{self, seen_from_here};
use super::port_holder::{PortHolder, held};
use super::{point_selection, profile};
use crate::client::{Client, SerialClient, SerialSettings, TcpClient};
use crate::config::{self, Bus, Config, Listener};
use crate::line::UnitId;
use crate::meter::Profile;
use crate::modbus::AduFraming;
use crate::serial::{Direction, OpenError, PortDevice, PortSettings};
use crate::server::ListenAt;

/// What a command talks to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A serial port, or a serial server.
    Serial(PortDevice),
    /// A Modbus TCP server.
    Tcp {
        /// A name or an address.
        host: String,
        /// Its port.
        port: u16,
    },
}

/// A target, and what the configuration says of the unit there.
#[derive(Debug)]
pub struct ResolvedTarget {
    /// What to talk to.
    pub target: Target,
    /// The unit's profile, where the target is the gateway running here and its configuration names one.
    pub profile: Option<Arc<Profile>>,
    /// What people call the unit, where the configuration says so.
    pub name: Option<String>,
    /// How old the answers may be, where that is known.
    pub max_age: Option<Duration>,
    /// Whether the command line left the target out.
    pub is_here: bool,
}

/// What the command is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Read only.
    Read,
    /// Write, and read what is there before and after.
    Write,
}

/// What was typed behind the target, to be repeated with another one.
#[derive(Clone, Copy, Debug)]
pub struct Typed<'a> {
    /// `read` or `write`.
    pub purpose: Intent,
    /// Points, registers and values.
    pub words: &'a [String],
}

impl Typed<'_> {
    /// The command that asks `target`, and there `unit`.
    fn with(&self, target: impl fmt::Display, unit: u8) -> String {
        let command = match self.purpose {
            Intent::Read => "read",
            Intent::Write => "write",
        };
        let words: String = self.words.iter().flat_map(|word| [" ", word.as_str()]).collect();
        format!("metergate {command} {target} --unit {unit}{words}")
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial(device) => device.fmt(f),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl Target {
    /// The target a word names, if it looks like one: no name of a point has a dot, a colon or a slash,
    /// and POINT=VALUE has an equals sign. For a host without any of them see [`ResolvedTarget::bare_host`].
    ///
    /// # Errors
    /// When it looks like one and is none.
    pub fn read(word: &str) -> Option<Result<Self, CommandError>> {
        if word.contains('=') {
            return None;
        }
        if word.contains('/') {
            return Some(Self::line(word));
        }
        let looks = word.contains(['.', ':', '[']);
        looks.then(|| Self::tcp(word).ok_or_else(|| CommandError::usage(format!("'{word}' is no HOST:PORT"))))
    }

    /// The target a word names where nothing else than a target may stand.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn named(word: &str) -> Result<Self, CommandError> {
        if word.contains('/') {
            return Self::line(word);
        }
        if word.starts_with(SERIAL_NAME) && !word.contains(['.', ':']) {
            return Err(CommandError::usage(format!("a serial port is named by its path: /dev/{word}")));
        }
        Self::tcp(word).ok_or_else(|| {
            CommandError::usage(format!("'{word}' is no HOST:PORT, no /dev/... and no tcp://HOST:PORT"))
        })
    }

    fn line(word: &str) -> Result<Self, CommandError> {
        if !word.contains("://") {
            return Ok(Self::Serial(PortDevice::Path(PathBuf::from(word))));
        }
        match PortDevice::of_server(word) {
            Some(PortDevice::ModbusTcp(server)) => Err(CommandError::usage(format!(
                "'{word}': a Modbus TCP server is named without modbus-tcp://, as {server}"
            ))),
            Some(device) => Ok(Self::Serial(device)),
            None => Err(CommandError::usage(format!("'{word}' is no serial server as tcp://HOST:PORT"))),
        }
    }

    fn tcp(word: &str) -> Option<Self> {
        host_and_port(word, MODBUS_PORT).map(|(host, port)| Self::Tcp { host, port })
    }

    /// Opens the way there.
    ///
    /// # Errors
    /// When nothing answers there, or the port is held.
    pub async fn open(&self, connection: &ConnectionArgs, typed: Typed<'_>) -> Result<Client, CommandError> {
        match self {
            Self::Tcp { host, port } => {
                let timeout = connection.timeout.unwrap_or(TCP_TIMEOUT);
                let client = TcpClient::open(host, *port, timeout).await;
                client.map(Client::Tcp).map_err(|failure| CommandError::unreachable(&failure))
            }
            Self::Serial(device) => {
                let asked = [connection.unit].into_iter().chain(connection.also.iter().copied());
                let units: Option<BTreeSet<_>> = asked.map(UnitId::new).collect();
                let units = units.ok_or_else(|| {
                    CommandError::usage(format!(
                        "a line has units 1 to 255, found --unit {}",
                        connection.unit
                    ))
                })?;
                let settings = SerialSettings {
                    port: PortSettings {
                        device: device.clone(),
                        framing: connection.serial.framing(),
                        direction: Direction::Auto,
                    },
                    units: units.into_iter().collect(),
                    response_timeout: connection.timeout.unwrap_or(LINE_TIMEOUT),
                    retries: RETRIES,
                };
                SerialClient::open(settings)
                    .await
                    .map(Client::Serial)
                    .map_err(|error| cannot_open(device, connection, typed, &error))
            }
        }
    }
}

impl ResolvedTarget {
    /// Takes the target off the front of `words`; without one, finds the gateway running here by its
    /// configuration. What is left are the other words.
    ///
    /// # Errors
    /// Wrong usage, or a configuration with faults.
    pub fn take(
        words: &[String],
        connection: &ConnectionArgs,
        purpose: Intent,
    ) -> Result<(Self, Vec<String>), CommandError> {
        let first = match words.first().and_then(|word| Target::read(word)).transpose()? {
            Some(target) => Some(target),
            None => Self::bare_host(words, connection, purpose).map(Target::named).transpose()?,
        };
        let is_line = matches!(first, Some(Target::Serial(_)));
        if !is_line && connection.serial.is_given() {
            return Err(CommandError::usage(
                "--baud, --parity and --stop-bits are for a serial TARGET such as /dev/ttyUSB0",
            ));
        }
        match first {
            Some(target) => {
                let max_age = is_line.then_some(Duration::ZERO);
                Ok((Self { target, profile: None, name: None, max_age, is_here: false }, words[1..].to_vec()))
            }
            None => Ok((Self::here(connection, purpose)?, words.to_vec())),
        }
    }

    /// The first word, if it can only be a host, although it has no dot and no port. `write` takes nothing but the
    /// target without an equals sign; of `read` it is what no point is called, or nearly called, like.
    pub(super) fn bare_host<'w>(
        words: &'w [String],
        connection: &ConnectionArgs,
        purpose: Intent,
    ) -> Option<&'w str> {
        let first = words.first().filter(|word| Target::read(word).is_none())?;
        let is_host = match purpose {
            Intent::Write => !first.contains('=') && words.get(1).is_some_and(|value| value.contains('=')),
            Intent::Read => {
                // Without a configuration it is the profile that the command would use for a host.
                let here = Self::here(connection, purpose).ok().and_then(|here| here.profile);
                let profile =
                    profile::find(connection.profile.as_deref(), here, connection.config.as_deref());
                profile.is_ok_and(|profile| !point_selection::may_be_point(&profile, first))
            }
        };
        is_host.then_some(first.as_str())
    }

    fn here(connection: &ConnectionArgs, purpose: Intent) -> Result<Self, CommandError> {
        let config = config_here(connection)?;
        // A configuration has at least one listener.
        let Some(listener) = suited(&config, connection.unit, purpose) else {
            return Err(CommandError::usage("the configuration has no listener"));
        };
        let mut buses = listener.buses.iter().filter_map(|&index| config.buses.get(index));
        let bus = buses.find(|bus| bus.aliases.contains_key(&connection.unit));
        Self::through(listener, bus, connection.unit)
    }

    /// A unit of a bus, by what clients of the listener call it.
    ///
    /// # Errors
    /// The listener speaks what no command does.
    fn through(listener: &Listener, bus: Option<&Bus>, alias: u8) -> Result<Self, CommandError> {
        let unit = bus.and_then(|bus| Some((bus, *bus.aliases.get(&alias)?)));
        let profile = unit.and_then(|(bus, unit)| bus.profiles.get(&unit));
        let settings = unit.and_then(|(bus, unit)| bus.line.units.iter().find(|known| known.id == unit));
        Ok(Self {
            target: reachable(listener)?,
            profile: profile.map(|unit| Arc::clone(&unit.profile)),
            name: settings.and_then(|unit| unit.name.clone()),
            max_age: Some(listener.settings.max_age),
            is_here: true,
        })
    }

    /// Every unit of the gateway running here to which a listener leads that a command can ask.
    ///
    /// # Errors
    /// No configuration, one with faults, or no such unit.
    pub(super) fn all_here(connection: &ConnectionArgs) -> Result<AllHere, CommandError> {
        let config = config_here(connection)?;
        let (mut found, mut unreached, mut why) = (Vec::new(), Vec::new(), None);
        for (index, bus) in config.buses.iter().enumerate() {
            let leads = |listener: &Listener| listener.buses.contains(&index);
            let Some(listener) = nearest(&config, leads, Intent::Read).filter(|one| leads(one)) else {
                continue;
            };
            let by_alias = |unit: &UnitId| {
                let alias = bus.aliases.iter().find(|(_, known)| *known == unit).map(|(alias, _)| *alias)?;
                let sent = match &listener.unit_map {
                    Some(map) => map.iter().find(|(_, meant)| **meant == alias).map(|(sent, _)| *sent)?,
                    None => alias,
                };
                Some((Self::through(listener, Some(bus), alias), sent))
            };
            for (resolved, sent) in bus.wire.iter().filter_map(by_alias) {
                match resolved {
                    Ok(resolved) => found.push((resolved, sent)),
                    Err(error) => {
                        unreached.push(sent);
                        why = Some(error);
                    }
                }
            }
        }
        match why {
            Some(error) if found.is_empty() => Err(error),
            Some(_) | None => Ok(AllHere { found, unreached }),
        }
    }
}

/// The units of the gateway running here.
pub(super) struct AllHere {
    /// Each with the identifier that clients of its listener send.
    pub(super) found: Vec<(ResolvedTarget, u8)>,
    /// Those only listeners lead to that speak what no command does.
    pub(super) unreached: Vec<u8>,
}

/// The configuration of the gateway that is meant where no target is named.
fn config_here(connection: &ConnectionArgs) -> Result<Config, CommandError> {
    let found = instances::find(connection.config.as_deref())?.filter(|found| found.path().exists());
    let Some(found) = found else {
        let missing = connection.config.as_deref().unwrap_or(Path::new(instances::CONFIGURATION)).display();
        return Err(CommandError::Failed(
            Exit::Configuration,
            format!(
                "no TARGET was named, no gateway was started here, and there is no {missing} to find one by; name \
                 it, such as 10.0.0.5:502, gateway or /dev/ttyUSB0"
            ),
        ));
    };
    Ok(config::load(found.path())?.config)
}

/// The listener to ask: one that leads to the unit, that speaks Modbus TCP, that lets this machine in and, for a write,
/// takes it; the first of those that come nearest to it.
fn suited(config: &Config, unit: u8, purpose: Intent) -> Option<&Listener> {
    let leads = |listener: &Listener| {
        config.diagnostics_unit == Some(unit)
            || listener
                .buses
                .iter()
                .filter_map(|&index| config.buses.get(index))
                .any(|bus| bus.aliases.contains_key(&unit))
    };
    nearest(config, leads, purpose)
}

/// The same by what else makes it lead there.
fn nearest(config: &Config, leads: impl Fn(&Listener) -> bool, purpose: Intent) -> Option<&Listener> {
    let rank = |listener: &&Listener| {
        let settings = &listener.settings;
        let admits = settings.at.tcp().is_some_and(|address| {
            let asks_from = seen_from_here(address.ip());
            settings.allow.is_empty() || settings.allow.iter().any(|net| net.contains(&asks_from))
        });
        let takes = match purpose {
            Intent::Read => true,
            Intent::Write => settings.allows_writes(),
        };
        let is_spoken = settings.framing == AduFraming::Tcp && settings.tls.is_none();
        Reverse((leads(listener), is_spoken, admits, takes))
    };
    config.listeners.iter().min_by_key(rank)
}

/// A name or an address, and the port behind it, or else this one.
pub(super) fn host_and_port(word: &str, otherwise: u16) -> Option<(String, u16)> {
    if let Ok(address) = word.parse::<SocketAddr>() {
        return (address.port() != 0).then(|| (address.ip().to_string(), address.port()));
    }
    if let Ok(ip) = word.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Some((ip.to_string(), otherwise));
    }
    let (host, port) = match word.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0)?),
        None => (word, otherwise),
    };
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    (!host.is_empty() && host.bytes().all(letter)).then(|| (host.to_owned(), port))
}

/// Where a client on this machine finds a listener.
///
/// # Errors
/// It would only time out there: the listener speaks something else than Modbus TCP.
fn reachable(listener: &Listener) -> Result<Target, CommandError> {
    let address = match &listener.settings.at {
        ListenAt::Tcp(address) => *address,
        ListenAt::Serial(port) => {
            return Err(CommandError::Failed(
                Exit::Configuration,
                format!(
                    "the listener {} serves a client at a serial port; add a listener with `address`",
                    port.device
                ),
            ));
        }
    };
    if listener.settings.tls.is_some() {
        let text = format!(
            "the listener {address} speaks Modbus/TCP Security, which this command does not; add a listener without \
             `tls`, such as 127.0.0.1:502"
        );
        return Err(CommandError::Failed(Exit::Configuration, text));
    }
    match listener.settings.framing {
        AduFraming::Tcp => {
            Ok(Target::Tcp { host: seen_from_here(address.ip()).to_string(), port: address.port() })
        }
        framing @ AduFraming::Rtu => Err(CommandError::Failed(
            Exit::Configuration,
            format!(
                "the listener {address} speaks {}, which this command does not; add a listener with `framing: tcp`",
                framing.name()
            ),
        )),
    }
}

/// Why the port cannot be had; where the gateway holds it, how to ask the gateway instead.
fn cannot_open(
    device: &PortDevice,
    connection: &ConnectionArgs,
    typed: Typed<'_>,
    error: &OpenError,
) -> CommandError {
    // A configuration that cannot be read names no holder; that is all it means here.
    let found = instances::find(connection.config.as_deref()).ok().flatten();
    let config = found.and_then(|found| config::load(found.path()).ok()).map(|found| found.config);
    let holder = config.and_then(|config| holder(device, &config, connection.unit, typed.purpose));
    let text = match (error, holder) {
        (OpenError::Busy, Some(Ok((target, unit)))) => {
            held(device, PortHolder::Gateway, &typed.with(target, unit))
        }
        (OpenError::Busy, Some(Err(why))) => {
            format!("{device}: the gateway holds it, and cannot be asked instead: {}", why.headline())
        }
        (OpenError::Busy, None) => {
            held(device, PortHolder::Unknown, &typed.with("HOST:PORT", connection.unit))
        }
        (OpenError::Connection(_), Some(Ok((target, unit)))) => {
            let instead = typed.with(target, unit);
            format!(
                "{device}: {error}; the gateway's configuration has it, so ask the gateway instead (`{instead}`)"
            )
        }
        (
            OpenError::System(_)
            | OpenError::Settings { .. }
            | OpenError::Direction(_)
            | OpenError::Connection(_),
            _,
        ) => format!("{device}: {error}"),
    };
    CommandError::Failed(Exit::CannotStart, text)
}

/// The listener that leads to this device and suits the purpose best, and what its clients call the unit.
fn holder(
    device: &PortDevice,
    config: &Config,
    unit: u8,
    purpose: Intent,
) -> Option<Result<(Target, u8), CommandError>> {
    let same = |other: &PortDevice| match (other, device) {
        (PortDevice::Path(one), PortDevice::Path(other)) => {
            fs::canonicalize(one).ok().is_some_and(|one| fs::canonicalize(other).ok() == Some(one))
        }
        (PortDevice::Server(one), PortDevice::Server(other))
        | (PortDevice::ModbusTcp(one), PortDevice::ModbusTcp(other)) => one == other,
        (PortDevice::Path(_) | PortDevice::Server(_) | PortDevice::ModbusTcp(_), _) => false,
    };
    let index = config.buses.iter().position(|bus| same(&bus.port.device))?;
    let leads = |listener: &Listener| listener.buses.contains(&index);
    let listener = nearest(config, leads, purpose).filter(|listener| leads(listener))?;
    let aliases = &config.buses[index].aliases;
    let alias = aliases.iter().find(|(_, on_line)| on_line.get() == unit).map_or(unit, |(alias, _)| *alias);
    Some(reachable(listener).map(|target| (target, alias)))
}

/// How the names of serial ports begin.
const SERIAL_NAME: &str = "tty";

/// The port Modbus TCP has.
const MODBUS_PORT: u16 = 502;

/// Longer than a gateway's `request_deadline`, so that it is the gateway who says what is wrong.
const TCP_TIMEOUT: Duration = Duration::from_secs(5);

/// The default of a bus.
const LINE_TIMEOUT: Duration = Duration::from_millis(500);

/// The default of a bus.
const RETRIES: u32 = 1;

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::super::args::serial::Serial;
    use super::*;
    use crate::tls::issue::Authority;

    #[test]
    fn the_gateway_here_is_asked_where_the_unit_is_and_where_writes_pass() {
        let text = "listeners:\n  \
            - {address: '127.0.0.1:5020', buses: [a], max_age: 5s}\n  \
            - {address: '127.0.0.1:5021', buses: [a], writes: allow, allow: [10.1.2.3]}\n  \
            - {address: '0.0.0.0:5022', buses: [b]}\n  \
            - {address: '0.0.0.0:5023', buses: [b], writes: allow, allow: [127.0.0.0/8]}\n\
            buses:\n  \
            - {name: a, device: /dev/a, units: [{id: 1}]}\n  \
            - {name: b, device: /dev/b, units: [{id: 1, as: 11}]}\n\
            diagnostics_unit: 247\n";
        let config = config::parse(text, "test").expect("right").config;
        let port = |unit, purpose| {
            suited(&config, unit, purpose).and_then(|one| one.settings.at.tcp()).map(|one| one.port())
        };
        assert_eq!(port(1, Intent::Read), Some(5020), "the first that leads there");
        assert_eq!(port(1, Intent::Write), Some(5020), "the one that takes writes refuses us");
        assert_eq!(port(11, Intent::Read), Some(5022));
        assert_eq!(port(11, Intent::Write), Some(5023));
        assert_eq!(port(247, Intent::Read), Some(5020), "every listener leads to it");
        assert_eq!(port(99, Intent::Read), Some(5020), "no listener leads there, and the gateway says so");
    }

    #[test]
    fn a_listener_for_rtu_over_tcp_is_never_asked() {
        let text = "listeners:\n  \
            - {address: '0.0.0.0:2101', framing: rtu, buses: [a, b], writes: allow}\n  \
            - {address: '127.0.0.1:5020', buses: [a]}\n\
            buses:\n  \
            - {name: a, device: /dev/null, units: [{id: 1}]}\n  \
            - {name: b, device: /dev/zero, units: [{id: 2}]}\n\
            diagnostics_unit: 247\n";
        let config = config::parse(text, "test").expect("right").config;
        let asked = |unit, purpose| {
            let target = reachable(suited(&config, unit, purpose).expect("a listener"));
            target.map(|target| target.to_string()).map_err(|error| error.headline())
        };
        let tcp = Ok("127.0.0.1:5020".to_owned());
        for unit in [1, 247, 99] {
            assert_eq!(asked(unit, Intent::Read), tcp, "{unit}");
        }
        assert_eq!(asked(1, Intent::Write), tcp, "which refuses it, and says so");
        let said = "the listener 0.0.0.0:2101 speaks RTU over TCP, which this command does not; add a listener with \
                    `framing: tcp`";
        assert_eq!(asked(2, Intent::Read), Err(said.to_owned()));
        let held = holder(&PortDevice::Path("/dev/zero".into()), &config, 2, Intent::Read);
        assert_eq!(held.and_then(Result::err).map(|error| error.headline()).as_deref(), Some(said));
    }

    #[test]
    fn a_listener_for_modbus_tcp_security_is_never_asked() {
        let folder = std::env::temp_dir().join(format!("metergate-target-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = |name: &str| folder.join(name);
        let authority = Authority::new("site", std::time::SystemTime::now()).unwrap();
        let issued = authority.issue_server("server", &["localhost".to_owned()]).unwrap();
        fs::write(path("server.pem"), issued.certificate).unwrap();
        fs::write(path("server.key"), issued.key).unwrap();
        fs::set_permissions(path("server.key"), Permissions::from_mode(0o600)).unwrap();
        fs::write(path("ca.pem"), authority.certificate()).unwrap();
        let (shown, pem) = (folder.display(), "server.pem");
        let text = format!(
            "listeners:\n  \
            - {{address: '0.0.0.0:802', buses: [a, b], tls: {{certificate: {shown}/{pem}, key: {shown}/server.key, \
            client_ca: {shown}/ca.pem}}}}\n  \
            - {{address: '127.0.0.1:5020', buses: [a], allow: [10.1.2.3]}}\n\
            buses:\n  \
            - {{name: a, device: /dev/a, units: [{{id: 1}}]}}\n  \
            - {{name: b, device: /dev/b, units: [{{id: 2}}]}}\n"
        );
        let config = config::parse(&text, "test").unwrap_or_else(|problems| panic!("{problems}")).config;
        let asked = |unit| {
            let target = reachable(suited(&config, unit, Intent::Read).expect("a listener"));
            target.map(|target| target.to_string()).map_err(|error| error.headline())
        };
        assert_eq!(asked(1), Ok("127.0.0.1:5020".to_owned()), "before one that lets this machine in");
        let said = "the listener 0.0.0.0:802 speaks Modbus/TCP Security, which this command does not; add a listener \
                    without `tls`, such as 127.0.0.1:502";
        assert_eq!(asked(2), Err(said.to_owned()));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn of_a_held_port_the_listener_is_named_that_would_do_what_was_typed() {
        // Any file that is there will do for a device.
        let text = "listeners:\n  \
            - {address: '127.0.0.1:5020', buses: [b]}\n  \
            - {address: '127.0.0.1:5021', buses: [a], allow: [10.1.2.3]}\n  \
            - {address: '127.0.0.1:5022', buses: [a]}\n  \
            - {address: '127.0.0.1:5023', buses: [a], writes: allow}\n\
            buses:\n  \
            - {name: a, device: /dev/null, units: [{id: 2, as: 12}]}\n  \
            - {name: b, device: /dev/zero, units: [{id: 1, as: 12}]}\n";
        let config = config::parse(text, "test").expect("right").config;
        let word = ["ct_primary=200".to_owned()];
        let command = |device: &str, purpose| {
            let (target, unit) = holder(&PortDevice::Path(device.into()), &config, 2, purpose)?.ok()?;
            Some(Typed { purpose, words: &word }.with(target, unit))
        };
        assert_eq!(
            command("/dev/null", Intent::Write).as_deref(),
            Some("metergate write 127.0.0.1:5023 --unit 12 ct_primary=200")
        );
        assert_eq!(
            command("/dev/null", Intent::Read).as_deref(),
            Some("metergate read 127.0.0.1:5022 --unit 12 ct_primary=200")
        );
        assert_eq!(command("/dev/full", Intent::Read), None, "no bus has it");
        let far = "tcp://moxa:4001";
        let behind = text.replace("/dev/null", far);
        let config = config::parse(&behind, "test").expect("right").config;
        let server = PortDevice::of_server(far).expect("a serial server");
        let held = holder(&server, &config, 2, Intent::Read).and_then(Result::ok);
        let held = held.map(|(target, unit)| (target.to_string(), unit));
        assert_eq!(held, Some(("127.0.0.1:5022".to_owned(), 12)));
    }

    fn connection(unit: u8) -> ConnectionArgs {
        ConnectionArgs {
            unit,
            also: Vec::new(),
            profile: None,
            // A gateway that runs on this machine does not count.
            config: Some("/nowhere/metergate.yaml".into()),
            serial: Serial { baud: None, parity: None, stop_bits: None },
            timeout: None,
        }
    }

    #[test]
    fn a_word_that_is_nothing_else_is_a_host() {
        let host = |words: &[&str], purpose| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let resolved = ResolvedTarget::take(&words, &connection(1), purpose);
            resolved
                .map(|(resolved, rest)| (resolved.target.to_string(), rest.len()))
                .map_err(|error| error.headline())
        };
        for word in ["vm", "localhost", "gateway", "node-red", "Haus3"] {
            assert_eq!(host(&[word], Intent::Read), Ok((format!("{word}:502"), 0)));
            assert_eq!(host(&[word, "frequency"], Intent::Read), Ok((format!("{word}:502"), 1)));
            assert_eq!(host(&[word, "ct_primary=200"], Intent::Write), Ok((format!("{word}:502"), 1)));
        }
        // A point or a block, mistyped or not, is meant for the gateway here, which is not there.
        for word in
            ["power", "powr", "frequency", "freqency", "floats", "all", "257", "257-262", "no_such_point"]
        {
            let missing = host(&[word], Intent::Read).expect_err(word);
            assert!(missing.contains("no TARGET was named"), "{word}: {missing}");
        }
        for words in [&["ct_primary=200"][..], &["ct_primary", "200"]] {
            assert!(host(words, Intent::Write).is_err_and(|why| why.contains("no TARGET was named")));
        }
        let device = host(&["ttyUSB0"], Intent::Read);
        assert_eq!(device, Err("a serial port is named by its path: /dev/ttyUSB0".to_owned()));
    }

    fn shown(word: &str) -> Option<String> {
        Target::read(word).map(|found| found.map_or_else(|_| "wrong".to_owned(), |target| target.to_string()))
    }

    #[test]
    fn a_word_that_looks_like_a_target_is_one() {
        for (word, target) in [
            ("10.0.0.5", "10.0.0.5:502"),
            ("10.0.0.5:5020", "10.0.0.5:5020"),
            ("gateway.example:1502", "gateway.example:1502"),
            ("gateway:502", "gateway:502"),
            ("[::1]:5020", "[::1]:5020"),
            ("[fe80::1]", "[fe80::1]:502"),
            ("::1", "[::1]:502"),
            ("/dev/ttyUSB0", "/dev/ttyUSB0"),
            ("./line", "./line"),
            ("tcp://10.0.0.7:4001", "tcp://10.0.0.7:4001"),
            ("tcp://[fd00::7]:4001", "tcp://[fd00::7]:4001"),
            ("tcp://10.0.0.7", "wrong"),
            ("modbus-tcp://10.0.0.7:502", "wrong"),
            ("gateway:0", "wrong"),
            ("10.0.0.5:0", "wrong"),
            ("gateway:65536", "wrong"),
            (":502", "wrong"),
            ("a b:502", "wrong"),
        ] {
            assert_eq!(shown(word).as_deref(), Some(target), "{word}");
        }
        for word in ["localhost", "power", "real_power_total", "257", "257-262", "all", "", "pt_ratio=1.5"] {
            assert_eq!(shown(word), None, "{word}");
        }
    }
}
