//! The framings of an ADU.

use serde::{Deserialize, Serialize};

use super::mbap;

/// How the ADUs of a connection or a line are framed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AduFraming {
    /// Modbus TCP: an MBAP header, whose transaction identifier lets a client have several requests in flight.
    #[default]
    Tcp,
    /// RTU, on a line or over TCP: a serial ADU with its CRC. One request at a time, because no answer names its request.
    Rtu,
}

impl AduFraming {
    /// The unit identifier in a whole ADU.
    #[must_use]
    pub fn unit_of(self, adu: &[u8]) -> Option<u8> {
        match self {
            Self::Tcp => adu.get(mbap::HEADER_LENGTH - 1).copied(),
            Self::Rtu => adu.first().copied(),
        }
    }

    /// The PDU in a whole ADU.
    #[must_use]
    pub fn pdu_of(self, adu: &[u8]) -> &[u8] {
        let pdu = match self {
            Self::Tcp => adu.get(mbap::HEADER_LENGTH..),
            // Between the unit and the CRC.
            Self::Rtu => adu.get(1..adu.len().saturating_sub(2)),
        };
        pdu.unwrap_or_default()
    }

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
