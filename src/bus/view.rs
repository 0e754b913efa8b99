//! What others may see of a bus: an immutable value, published whole after each change.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::modbus::pdu::ExceptionCode;

use super::settings::UnitId;
use super::unit::{UnitCounters, UnitState};

/// The port, as the line sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortState {
    /// Not open: every request is refused with 0x0A.
    #[default]
    Closed,
    /// Open.
    Open,
    /// Open, but bytes never end: nothing is sent into them.
    Occupied,
}

/// What happened on the line since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCounters {
    /// Requests sent, probes and further attempts included.
    pub transactions: u64,
    /// Of these, without a good answer.
    pub failures: u64,
    /// Requests of clients that joined another's read.
    pub joined: u64,
    /// Bytes that were part of no frame.
    pub noise_bytes: u64,
    /// Frames of a unit other than the one asked.
    pub foreign_frames: u64,
    /// Echoes that differ from what was sent.
    pub collisions: u64,
    /// Times the line was declared occupied.
    pub occupied: u64,
    /// Line time used: requests, answers and waiting for them.
    pub busy: Duration,
}

/// One unit, as others may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitView {
    /// Its identifier on the line.
    pub id: UnitId,
    /// What people call it.
    pub name: Option<String>,
    /// Whether it answers.
    pub state: UnitState,
    /// What happened to it.
    pub counters: UnitCounters,
    /// The exception it answered last.
    pub last_exception: Option<ExceptionCode>,
    /// When it last answered.
    pub last_good: Option<Instant>,
    /// Smoothed time from the end of a request to the first byte of its answer.
    pub response_time: Option<Duration>,
}

/// One bus at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The port.
    pub port: PortState,
    /// What happened on the line.
    pub counters: LineCounters,
    /// Requests waiting.
    pub waiting: usize,
    /// Whether the adapter hands back what is sent; `None` while that is not known.
    pub echo: Option<bool>,
    /// The units in order of identifier.
    pub units: Vec<Arc<UnitView>>,
}
