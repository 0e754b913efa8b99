//! The settings of the connection to a broker. `config` builds them from the file.

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq;

use crate::serial::ServerAddress;
use crate::tls::TlsClient;

/// Where a broker takes connections.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BrokerAddress {
    scheme: Scheme,
    server: ServerAddress,
}

/// What the notation of a broker begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// TCP.
    Mqtt,
    /// TLS.
    Mqtts,
}

impl Scheme {
    /// As it is written.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt://",
            Self::Mqtts => "mqtts://",
        }
    }

    /// The port of a broker whose notation has none.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Mqtt => 1883,
            Self::Mqtts => 8883,
        }
    }
}

impl BrokerAddress {
    /// From `mqtt://host` or `mqtts://host:port`; an IPv6 address stands in brackets. `None`: it is something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let schemes = [Scheme::Mqtt, Scheme::Mqtts].into_iter();
        let (scheme, text) =
            schemes.filter_map(|scheme| Some((scheme, text.strip_prefix(scheme.prefix())?))).next()?;
        let port = text.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
        let text = if port.is_some() { text.to_owned() } else { format!("{text}:{}", scheme.port()) };
        ServerAddress::parse(&text).map(|server| Self { scheme, server })
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host and its port.
    #[must_use]
    pub fn server(&self) -> &ServerAddress {
        &self.server
    }
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.scheme.prefix(), self.server)
    }
}

/// One broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerSettings {
    /// Where it is.
    pub address: BrokerAddress,
    /// What it is trusted by, and shown; `None` without TLS.
    pub tls: Option<Arc<TlsClient>>,
    /// The name by which the broker knows this gateway.
    pub client_id: String,
    /// `None`: an anonymous client.
    pub credentials: Option<Credentials>,
    /// Where `online` is published, and `offline` by the broker when the connection breaks.
    pub status_topic: String,
}

/// A user name, and the password if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: Option<Password>,
}

/// A password, which is never shown.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// Largest number of bytes.
    pub const LONGEST: usize = 1024;

    /// Parses the text of a password file: one line.
    ///
    /// # Errors
    /// It is empty, too long, or not one line of text.
    pub fn parse(text: &str) -> Result<Self, NotAPassword> {
        let password = text.trim_end_matches(['\r', '\n']);
        if password.is_empty() {
            return Err(NotAPassword::Empty);
        }
        if password.contains(['\r', '\n', '\0', char::REPLACEMENT_CHARACTER]) {
            return Err(NotAPassword::NotOneLine);
        }
        if password.len() > Self::LONGEST {
            return Err(NotAPassword::TooLong);
        }
        Ok(Self(password.to_owned()))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Why a text is no password; without any character of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAPassword {
    /// There is nothing.
    Empty,
    /// There are several lines, or characters that are not UTF-8.
    NotOneLine,
    /// It is longer than [`Password::LONGEST`].
    TooLong,
}

impl fmt::Display for NotAPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("found nothing in it"),
            Self::NotOneLine => f.write_str("found more than one line, or text that is not UTF-8"),
            Self::TooLong => write!(f, "found more than {} bytes", Password::LONGEST),
        }
    }
}

impl std::error::Error for NotAPassword {}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl Eq for Password {}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_a_host_and_a_port_that_may_be_left_out() {
        for (text, expected) in [
            ("mqtt://broker.example:1884", Some("mqtt://broker.example:1884")),
            ("mqtt://Broker.example", Some("mqtt://broker.example:1883")),
            ("mqtt://10.0.0.7", Some("mqtt://10.0.0.7:1883")),
            ("mqtt://[fd00::7]", Some("mqtt://[fd00::7]:1883")),
            ("mqtt://[fd00::7]:1884", Some("mqtt://[fd00::7]:1884")),
            ("mqtt://", None),
            ("mqtt://user@broker:1883", None),
            ("mqtt://broker:0", None),
            ("mqtt://broker:1883/", None),
            ("mqtts://broker", Some("mqtts://broker:8883")),
            ("mqtts://broker:8884", Some("mqtts://broker:8884")),
            ("mqttss://broker:8883", None),
            ("broker:1883", None),
        ] {
            let shown = BrokerAddress::parse(text).map(|address| address.to_string());
            assert_eq!(shown.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_password_is_one_line_and_is_never_shown() {
        let password = Password::parse("correct horse\r\n").unwrap();
        assert_eq!(password.as_bytes(), b"correct horse");
        assert!(!format!("{password:?}").contains("horse"));
        for wrong in ["", "\n", "two\nlines", "nul\0", &"x".repeat(Password::LONGEST + 1)] {
            assert!(Password::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
