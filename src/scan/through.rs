//! Whether a scan reaches the meters directly or through a gateway.

use crate::modbus::pdu::ExceptionCode;

/// What is between a scan and the meters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    /// Nothing: the scan sends on the wire itself, and chooses the framing.
    Line,
    /// A serial server: the scan sends on the wire, with the framing the server has.
    SerialServer,
    /// A gateway, over TCP, with its own framing and timeouts.
    Gateway,
}

impl Through {
    /// Whether an exception is the gateway's own, so that no unit has answered.
    #[must_use]
    pub fn says_it_itself(self, code: ExceptionCode) -> bool {
        match code {
            ExceptionCode::GATEWAY_PATH_UNAVAILABLE | ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND => true,
            // On a line the meter itself is busy. Gateways answer it if their queue is full.
            ExceptionCode::SERVER_DEVICE_BUSY => self == Self::Gateway,
            _ => false,
        }
    }
}
