//! The framings of a client's requests on TCP.

use serde::{Deserialize, Serialize};

/// How the ADUs of a client's connection are framed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AduFraming {
    /// Modbus TCP: an MBAP header, whose transaction identifier lets a client have several requests in flight.
    #[default]
    Tcp,
    /// RTU over TCP: a serial ADU with its CRC. One request at a time, because no answer names its request.
    Rtu,
}

impl AduFraming {
    /// The word of the configuration and of the JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Rtu => "rtu",
        }
    }

    /// The name users know it by.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "Modbus TCP",
            Self::Rtu => "RTU over TCP",
        }
    }
}
