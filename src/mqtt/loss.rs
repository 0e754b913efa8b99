//! Why there is no connection to a broker, or none over which is published.

use std::fmt;

/// A reason, as it is shown, with its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// What the remedy depends on.
    pub cause: LossCause,
    text: String,
}

/// What the remedy of a loss depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossCause {
    /// The host has no address.
    NameNotFound,
    /// The host answers that nothing listens at the port.
    PortRefused,
    /// There is no way to the host.
    NoRoute,
    /// Nothing came back.
    NoAnswer,
    /// Another error of the system, or several addresses with an error each.
    NotReached,
    /// The handshake failed, or a certificate.
    Tls,
    /// What answers is no broker, or speaks another version of MQTT.
    NotMqtt,
    /// The connection ended before the broker had accepted it.
    NotAccepted,
    /// The broker does not take the user name or the password.
    Credentials,
    /// The broker does not let the client in.
    NotAuthorized,
    /// The broker does not take the client identifier.
    ClientId,
    /// The broker says that it is not available.
    Unavailable,
    /// The broker ended a connection that it had accepted.
    Closed,
    /// The broker, or the way to it, answers no longer.
    Silent,
    /// The broker broke the protocol.
    Protocol,
    /// The primary host is not on-line.
    HostAway,
    /// A fault of this program.
    Internal,
}

impl Loss {
    /// A loss of this cause, in these words.
    #[must_use]
    pub fn new(cause: LossCause, text: impl Into<String>) -> Self {
        Self { cause, text: text.into() }
    }

    /// The same with what followed from it.
    pub(super) fn with(self, rest: &str) -> Self {
        Self { text: self.text + rest, ..self }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
