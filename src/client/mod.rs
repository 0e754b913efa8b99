//! The client side of the commands: Modbus TCP, a serial line, and a gateway's status address over HTTP.
//!
//! Owns one request and its answer. It never retries a write.

mod failure;
mod http;
mod modbus_client;
mod serial;
mod socket_owner;
pub mod survey;
mod tcp;

pub use failure::Failure;
pub use http::{HttpFailure, PageServer, Response};
pub use modbus_client::Client;
pub use serial::{SerialClient, SerialSettings};
pub use socket_owner::{ListeningSocket, listening_sockets};
pub use survey::Survey;
pub use tcp::TcpClient;
