//! What listeners and clients are called: a TCP address, or a serial port.
//!
//! Owns their notation, in messages and in JSON. It opens and resolves nothing.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Where a listener receives its clients, and one client's end of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Endpoint {
    /// A TCP socket.
    Tcp(SocketAddr),
    /// A serial port, with the one client at its other end.
    Serial(DevicePath),
}

/// A client, over all of its connections.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(untagged)]
pub enum ClientAddress {
    /// A host.
    Ip(IpAddr),
    /// The client at a serial port.
    Serial(DevicePath),
}

/// The absolute path of a serial device, as configured. Clones share it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct DevicePath(Arc<str>);

/// The text is neither an address nor an absolute path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownNotation;

impl Endpoint {
    /// The client at this end.
    #[must_use]
    pub fn client_address(&self) -> ClientAddress {
        match self {
            Self::Tcp(address) => ClientAddress::Ip(address.ip().to_canonical()),
            Self::Serial(device) => ClientAddress::Serial(device.clone()),
        }
    }

    /// The TCP address, if it is one.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Serial(_) => None,
        }
    }
}

impl DevicePath {
    /// The path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(&*self.0)
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl From<IpAddr> for ClientAddress {
    fn from(address: IpAddr) -> Self {
        Self::Ip(address)
    }
}

impl FromStr for DevicePath {
    type Err = UnknownNotation;

    fn from_str(text: &str) -> Result<Self, UnknownNotation> {
        if text.starts_with('/') { Ok(Self(text.into())) } else { Err(UnknownNotation) }
    }
}

impl TryFrom<String> for DevicePath {
    type Error = UnknownNotation;

    fn try_from(text: String) -> Result<Self, UnknownNotation> {
        text.parse()
    }
}

impl From<DevicePath> for String {
    fn from(device: DevicePath) -> Self {
        device.0.as_ref().into()
    }
}

impl FromStr for Endpoint {
    type Err = UnknownNotation;

    fn from_str(text: &str) -> Result<Self, UnknownNotation> {
        match text.parse() {
            Ok(address) => Ok(Self::Tcp(address)),
            Err(_) => text.parse().map(Self::Serial),
        }
    }
}

impl FromStr for ClientAddress {
    type Err = UnknownNotation;

    fn from_str(text: &str) -> Result<Self, UnknownNotation> {
        match text.parse() {
            Ok(address) => Ok(Self::Ip(address)),
            Err(_) => text.parse().map(Self::Serial),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Serial(device) => device.fmt(f),
        }
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Serial(device) => device.fmt(f),
        }
    }
}

impl fmt::Display for DevicePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for UnknownNotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("neither an address nor the absolute path of a serial device")
    }
}

impl std::error::Error for UnknownNotation {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_one_notation_for_both_kinds() {
        for text in ["\"10.0.0.7:502\"", "\"[fd00::7]:502\"", "\"/dev/ttyUSB1\""] {
            let endpoint: Endpoint = serde_json::from_str(text).expect("an endpoint");
            assert_eq!(serde_json::to_string(&endpoint).expect("a string"), text);
            assert_eq!(format!("\"{endpoint}\""), text);
        }
        for text in ["\"10.0.0.7\"", "\"ttyUSB1\"", "\"\"", "502"] {
            assert!(serde_json::from_str::<Endpoint>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn all_connections_of_a_host_are_one_client_and_a_serial_port_is_another() {
        let client = |text: &str| text.parse::<Endpoint>().expect("an endpoint").client_address();
        assert_eq!(client("10.0.0.7:40000"), client("[::ffff:10.0.0.7]:40001"));
        assert_eq!(client("/dev/ttyUSB1"), "/dev/ttyUSB1".parse().expect("a device"));
        assert_eq!(client("10.0.0.7:1"), "10.0.0.7".parse().expect("an address"));
        assert!("somewhere".parse::<ClientAddress>().is_err());
        assert!("10.0.0.7".parse::<Endpoint>().is_err());
    }
}
