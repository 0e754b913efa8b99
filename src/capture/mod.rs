//! Traffic as a file that Wireshark and tshark read (pcapng).
//!
//! Owns the bytes of that file. It has no sockets and no clock.

mod file;
mod frame;
mod pcapng;
mod segment;

pub use file::Capture;
