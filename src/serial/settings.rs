//! The settings of a port. `config` builds them from the file.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::line::{Framing, Protocol};

/// How the RS-485 driver is switched between sending and receiving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// By the kernel driver if it can, else by the adapter itself.
    Auto,
    /// By the kernel driver (TIOCSRS485), or the bus stays down.
    Rs485,
    /// By the adapter itself; the kernel driver's mode is left unchanged.
    None,
}

/// What a bus is reached through. Shown as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PortDevice {
    /// A serial device of this machine.
    Path(PathBuf),
    /// A serial server: RTU frames as they are, over one TCP connection.
    Server(ServerAddress),
    /// A Modbus TCP server: a meter, or another gateway with the meters behind it.
    ModbusTcp(ServerAddress),
}

/// Where a server takes the connection that carries a bus.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerAddress {
    /// An address in its canonical form, or a name in lower case.
    host: String,
    port: u16,
}

impl PortDevice {
    /// What the notation of a serial server begins with.
    pub const SERIAL_SERVER: &'static str = "tcp://";

    /// What the notation of a Modbus TCP server begins with.
    pub const MODBUS_TCP: &'static str = "modbus-tcp://";

    /// From `tcp://host:port` or `modbus-tcp://host:port`; an IPv6 address stands in brackets. `None`: it is something
    /// else.
    #[must_use]
    pub fn of_server(text: &str) -> Option<Self> {
        if let Some(address) = text.strip_prefix(Self::MODBUS_TCP) {
            return ServerAddress::parse(address).map(Self::ModbusTcp);
        }
        ServerAddress::parse(text.strip_prefix(Self::SERIAL_SERVER)?).map(Self::Server)
    }

    /// The protocol of a bus on this device, whose characters on a wire have this form.
    #[must_use]
    pub fn protocol(&self, framing: Framing) -> Protocol {
        match self {
            Self::Path(_) | Self::Server(_) => Protocol::Rtu(framing),
            Self::ModbusTcp(_) => Protocol::Tcp,
        }
    }

    /// The longest pause inside an answer, unless it is configured: serial servers and networks pause, too.
    #[must_use]
    pub fn byte_timeout(&self) -> Duration {
        match self {
            Self::Path(_) => DEVICE_BYTE_TIMEOUT,
            // With Modbus TCP an answer may take its time up to the response timeout.
            Self::Server(_) | Self::ModbusTcp(_) => SERVER_BYTE_TIMEOUT,
        }
    }
}

impl ServerAddress {
    /// From `host:port`; an IPv6 address stands in brackets.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            let host = address.ip().to_canonical().to_string();
            return (address.port() != 0).then(|| Self { host, port: address.port() });
        }
        let (host, port) = text.rsplit_once(':')?;
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| is_number && *port != 0)?;
        is_host_name(host).then(|| Self { host: host.to_ascii_lowercase(), port })
    }

    /// With a name as it is written most often; `host.` is `host`, searched for in fewer places.
    #[must_use]
    pub fn without_final_dot(&self) -> Self {
        Self { host: self.host.trim_end_matches('.').to_owned(), port: self.port }
    }

    /// The name or address, an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// Whether this is a host's name. One that ends in a number is none: resolvers take it for an address with parts left
/// out.
fn is_host_name(name: &str) -> bool {
    let relative = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        let fits = (1..=LONGEST_LABEL).contains(&label.len());
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        fits && label.bytes().all(is_letter) && !label.starts_with('-')
    };
    let last = relative.rsplit('.').next().unwrap_or_default();
    relative.len() <= LONGEST_NAME
        && relative.split('.').all(is_label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        match host.parse::<IpAddr>() {
            Ok(address) => SocketAddr::new(address, *port).fmt(f),
            Err(_) => write!(f, "{host}:{port}"),
        }
    }
}

impl fmt::Display for PortDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Server(server) => write!(f, "{}{server}", Self::SERIAL_SERVER),
            Self::ModbusTcp(server) => write!(f, "{}{server}", Self::MODBUS_TCP),
        }
    }
}

/// One serial port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSettings {
    /// What is opened, as configured; by this name each time.
    pub device: PortDevice,
    /// The form of characters on the wire; without meaning where there is none.
    pub framing: Framing,
    /// How the RS-485 driver is switched.
    pub direction: Direction,
}

/// Pauses inside an answer.
const DEVICE_BYTE_TIMEOUT: Duration = Duration::from_millis(50);
const SERVER_BYTE_TIMEOUT: Duration = Duration::from_millis(250);

/// Characters of a host's name, and of each of its labels (RFC 1123, section 2.1).
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        PortDevice::of_server(text).map(|device| device.to_string())
    }

    #[test]
    fn a_server_is_a_host_and_a_port_and_one_host_has_one_notation() {
        for (text, expected) in [
            ("tcp://10.0.0.7:4001", "tcp://10.0.0.7:4001"),
            ("tcp://[FD00:0:0::7]:4001", "tcp://[fd00::7]:4001"),
            ("tcp://[::ffff:10.0.0.7]:4001", "tcp://10.0.0.7:4001"),
            ("tcp://Moxa-1.Example:65535", "tcp://moxa-1.example:65535"),
            ("tcp://serial_server.:1", "tcp://serial_server.:1"),
            ("modbus-tcp://10.0.0.7:502", "modbus-tcp://10.0.0.7:502"),
            ("modbus-tcp://[fd00::7]:502", "modbus-tcp://[fd00::7]:502"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_names_no_host_or_no_port_is_no_server() {
        for text in [
            "10.0.0.7:4001",
            "tcp://",
            "tcp://10.0.0.7",
            "tcp://10.0.0.7:0",
            "tcp://10.0.0.7:65536",
            "tcp://10.0.0.7:+1",
            "tcp://10.0.0.7:4001/",
            "tcp://10.0.0:4001",
            "tcp://10.0.0.256:4001",
            "tcp://fd00::7:4001",
            "tcp://[fd00::7]",
            "tcp://:4001",
            "tcp://moxa..example:4001",
            "tcp://user@moxa:4001",
            "tcp://-o:4001",
            "modbus-tcp://10.0.0.7",
            "modbus-tcp:10.0.0.7:502",
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
    }
}
