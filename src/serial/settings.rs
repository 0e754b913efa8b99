//! The settings of a port. `config` builds them from the file.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::line::Framing;

/// How the RS-485 driver is switched between sending and receiving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// By the kernel driver if it can, else by the adapter itself.
    Auto,
    /// By the kernel driver (TIOCSRS485), or the bus stays down.
    Rs485,
    /// By the adapter itself; the kernel driver's mode is left unchanged.
    None,
}

/// One serial port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSettings {
    /// The device's name, as configured; opened by this name each time.
    pub device: PathBuf,
    /// The form of characters on the wire.
    pub framing: Framing,
    /// How the RS-485 driver is switched.
    pub direction: Direction,
}
