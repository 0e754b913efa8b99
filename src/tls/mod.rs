//! TLS by MODBUS/TCP Security: certificates, roles, the handshake, and what is behind it.
//!
//! Owns the settings of rustls, the role of a client, whether a client's certificate is accepted, and the words for
//! what is wrong with certificates. It never accepts a connection, knows no listener, and writes no file.
//! Source: MODBUS/TCP Security Protocol Specification, MB-TCP-Security-v36 (2021-07-30).
//!
//! ```text
//! files       the files named in the configuration, read and described
//! server      certificate, key, client CA and revocation list of a listener, checked together
//! verifier    which clients are accepted
//! certificate what a certificate says: subject, validity, names, role
//! role        the role in a client's certificate
//! stream      a connection after its handshake
//! failure     why a handshake failed
//! trust       the other side: commands that ask the status address
//! client      the other side with files: what a connection to a broker trusts and shows
//! issue       new certificates for `tls init`
//! ```

pub mod certificate;
mod client;
mod failure;
mod files;
pub mod issue;
pub mod role;
mod server;
mod stream;
mod trust;
mod verifier;

pub use certificate::{Certificate, Validity};
pub use client::{TlsClient, TlsClientFiles, describe_server};
pub use failure::HandshakeFailure;
pub use files::{TlsFault, TlsFiles};
pub use role::{NoRole, role_in};
pub use server::{ClientIdentity, TlsServer};
pub use stream::{CLIENT_HELLO_TIMEOUT, TlsReader, TlsStream, TlsWriter, accept, split};
pub use trust::{Trust, connect, read_certificates};
pub use verifier::CHAIN_MAX;
