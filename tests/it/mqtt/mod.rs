//! The client of a broker, and the built program with one.

mod program;
mod session;
mod sparkplug;
mod tls;
