//! The client side of the commands: Modbus TCP, a serial line, and a gateway's status address over HTTP.
//!
//! Owns one request and its answer. It never retries a write.

pub mod ask;
mod failure;
mod http;
mod serial;
pub mod survey;
mod tcp;

pub use ask::Client;
pub use failure::Failure;
pub use http::{HttpFailure, Page};
pub use serial::{SerialClient, SerialSettings};
pub use survey::Survey;
pub use tcp::TcpClient;
