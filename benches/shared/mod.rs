//! What the benches share: the wire and its clock, the gateway on it, clients, and the table of what was measured.

#![allow(dead_code, reason = "each bench uses its own part")]

pub(crate) mod client;
pub(crate) mod clock;
pub(crate) mod figures;
pub(crate) mod gateway;
pub(crate) mod table;
pub(crate) mod wire;
