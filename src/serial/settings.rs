//! The settings of a port. `config` makes them of the file's keys.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::line::Framing;

/// What switches the RS-485 driver between sending and receiving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The kernel driver where it can, else the adapter by itself.
    Auto,
    /// The kernel driver (TIOCSRS485), or the bus stays down.
    Rs485,
    /// The adapter by itself; the driver is left as it is.
    None,
}

/// One serial port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSettings {
    /// The device's name, as configured; opened by it each time.
    pub device: PathBuf,
    /// How characters stand on the wire.
    pub framing: Framing,
    /// What switches the RS-485 driver.
    pub direction: Direction,
}
