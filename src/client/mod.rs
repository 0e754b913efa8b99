//! Asking meters from this program: over Modbus TCP, straight on a line, and a gateway's status address over HTTP.
//!
//! Owns one request and its answer for the commands that need them. It never retries a write.

pub mod ask;
pub mod failure;
pub mod http;
pub mod serial;
pub mod survey;
pub mod tcp;
