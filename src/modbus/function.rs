//! The names of the functions.
//!
//! Owns the names only; the properties of a function are in [`pdu`](super::pdu). Source: MODBUS Application Protocol
//! Specification V1.1b3, chapter 6.

use super::pdu::FunctionCode;

/// The standard's name of a function; `None` if the standard does not define it.
#[must_use]
pub fn name(function: FunctionCode) -> Option<&'static str> {
    Some(match function.0 {
        0x01 => "read coils",
        0x02 => "read discrete inputs",
        0x03 => "read holding registers",
        0x04 => "read input registers",
        0x05 => "write single coil",
        0x06 => "write single register",
        0x07 => "read exception status",
        0x08 => "diagnostics",
        0x0B => "get comm event counter",
        0x0C => "get comm event log",
        0x0F => "write multiple coils",
        0x10 => "write multiple registers",
        0x11 => "report server ID",
        0x14 => "read file record",
        0x15 => "write file record",
        0x16 => "mask write register",
        0x17 => "read/write multiple registers",
        0x18 => "read FIFO queue",
        0x2B => "encapsulated interface",
        _ => return None,
    })
}
