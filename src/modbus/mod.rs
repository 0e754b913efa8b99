//! The Modbus standard as bytes: requests, answers, and how they are framed on TCP and on a serial line.
//!
//! Owns lengths, limits, CRC and the rules for matching answers to requests. It has no clock, no tasks and no sockets.
//! Source: MODBUS Application Protocol V1.1b3, MODBUS Messaging on TCP/IP V1.0b, MODBUS over Serial Line V1.02.

mod delimiter;
mod framing;
pub mod function;
pub mod hex;
pub mod mbap;
pub mod pdu;
pub mod reply;
pub mod rtu;
pub mod rtu_over_tcp;
mod wire_requests;
pub mod write;

pub use delimiter::{Delimited, Dropped, END_PAUSE, REQUEST_PAUSE, RequestDelimiter};
pub use framing::AduFraming;
pub use wire_requests::{ForeignFrame, Pause, WireFrame, WireRequests, frame_at_front};
