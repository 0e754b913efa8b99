//! What a scan goes through.

use crate::modbus::pdu::ExceptionCode;

/// What stands between a scan and the meters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    /// Nothing: it asks on the wire itself, and chooses the framing.
    Line,
    /// A gateway, over TCP, with framing and time limits of its own.
    Gateway,
}

impl Through {
    /// Whether an exception is the gateway's own word, so that no unit has answered.
    #[must_use]
    pub fn says_it_itself(self, code: ExceptionCode) -> bool {
        match code {
            ExceptionCode::GATEWAY_PATH_UNAVAILABLE | ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND => true,
            // On a line the meter itself is busy. Gateways say it of a full queue.
            ExceptionCode::SERVER_DEVICE_BUSY => self == Self::Gateway,
            _ => false,
        }
    }
}
