//! The pages below `/api/v1` as values: what stands in each, under which name, in which unit.
//!
//! Owns the names of the fields, which stay: units are in the names, times are ages, `null` says that there is no
//! value. `docs/api.md` explains each. Decides nothing, and leaves out nothing that is known.

use serde::Serialize;
use serde_json::value::RawValue;

/// `/api/v1/status`, and each event of `/api/v1/events`.
#[derive(Debug, Serialize)]
pub(super) struct Status<'a> {
    pub(super) version: &'static str,
    pub(super) uptime_s: u64,
    pub(super) ready: bool,
    pub(super) buses: Vec<Bus<'a>>,
    pub(super) units: Vec<Unit<'a>>,
    pub(super) listeners: Vec<Listener<'a>>,
}

#[derive(Debug, Serialize)]
pub(super) struct Bus<'a> {
    pub(super) bus: &'a str,
    pub(super) device: String,
    pub(super) framing: String,
    pub(super) port: Port<'a>,
    pub(super) utilisation_percent: f64,
    pub(super) busy_ms: u64,
    pub(super) requests_waiting: usize,
    pub(super) queue_limit: usize,
    pub(super) transactions: u64,
    pub(super) failures: u64,
    pub(super) joined: u64,
    pub(super) noise_bytes: u64,
    pub(super) foreign_frames: u64,
    pub(super) collisions: u64,
    pub(super) occupied: u64,
    pub(super) retries: u64,
    pub(super) expired: u64,
    pub(super) line_time: LineTime,
    pub(super) waits: Histogram,
    pub(super) echo: Option<bool>,
    pub(super) polling: Polling,
    pub(super) units: UnitCounts,
}

/// Where line time went since the start.
#[derive(Debug, Serialize)]
pub(super) struct LineTime {
    pub(super) clients_ms: u64,
    pub(super) polling_ms: u64,
    pub(super) probes_ms: u64,
    pub(super) failures_ms: u64,
}

/// Durations by size.
#[derive(Debug, Serialize)]
pub(super) struct Histogram {
    pub(super) up_to_ms: &'static [u16],
    pub(super) counts: Vec<u64>,
    pub(super) sum_ms: u64,
}

/// One entry of `/api/v1/findings`.
#[derive(Debug, Serialize)]
pub(super) struct Finding<'a> {
    pub(super) severity: &'static str,
    pub(super) kind: &'static str,
    pub(super) bus: &'a str,
    pub(super) unit: Option<u8>,
    pub(super) line_unit: Option<u8>,
    pub(super) name: Option<&'a str>,
    pub(super) what: String,
    pub(super) remedy: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Port<'a> {
    pub(super) state: &'static str,
    pub(super) open_for_ms: Option<u64>,
    pub(super) active: Option<&'a str>,
    pub(super) problem: Option<&'a str>,
    pub(super) openings: u64,
    pub(super) losses: u64,
    pub(super) driver_errors: Option<DriverErrors>,
}

#[derive(Debug, Serialize)]
pub(super) struct DriverErrors {
    pub(super) framing: u32,
    pub(super) parity: u32,
    pub(super) overrun: u32,
    pub(super) breaks: u32,
    pub(super) buffer_overrun: u32,
}

#[derive(Debug, Serialize)]
pub(super) struct Polling {
    pub(super) auto_interval_ms: u64,
    pub(super) slowdown: f64,
    pub(super) overrun: Option<f64>,
    pub(super) learned_ranges: usize,
    pub(super) learn_limit: usize,
    pub(super) share_percent: f64,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct UnitCounts {
    pub(super) never_seen: usize,
    pub(super) online: usize,
    pub(super) offline: usize,
    pub(super) confirming: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Unit<'a> {
    pub(super) bus: &'a str,
    pub(super) unit: u8,
    pub(super) line_unit: u8,
    pub(super) name: Option<&'a str>,
    pub(super) profile: Option<&'a str>,
    pub(super) state: &'static str,
    pub(super) age_ms: Option<u64>,
    pub(super) last_answer_ms: Option<u64>,
    pub(super) answer_time_ms: Option<f64>,
    pub(super) last_exception: Option<u8>,
    pub(super) transactions: u64,
    pub(super) timeouts: u64,
    pub(super) crc_errors: u64,
    pub(super) late_answers: u64,
    pub(super) truncated: u64,
    pub(super) unexpected_frames: u64,
    pub(super) foreign_frames: u64,
    pub(super) exceptions: u64,
    pub(super) headline: Vec<Point<'a>>,
    pub(super) alerts: Vec<Alert<'a>>,
}

/// `/api/v1/units/ID`.
#[derive(Debug, Serialize)]
pub(super) struct UnitPage<'a> {
    #[serde(flatten)]
    pub(super) unit: Unit<'a>,
    pub(super) profile_title: Option<&'a str>,
    pub(super) exceptions_by_code: Vec<Exceptions>,
    pub(super) answer_times: Option<Histogram>,
    pub(super) blocks: Vec<Block>,
    pub(super) points: Vec<Point<'a>>,
}

#[derive(Debug, Serialize)]
pub(super) struct Block {
    pub(super) function: u8,
    pub(super) address: u16,
    pub(super) quantity: u16,
    pub(super) age_ms: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Point<'a> {
    pub(super) point: &'a str,
    pub(super) quantity: &'a str,
    pub(super) description: &'a str,
    pub(super) group: &'static str,
    pub(super) register: u32,
    pub(super) value: Option<Number>,
    pub(super) text: Option<String>,
    pub(super) unit: Option<&'static str>,
    pub(super) age_ms: Option<u64>,
    pub(super) problem: Option<&'static str>,
    pub(super) in_range: Option<bool>,
    pub(super) meaningful: Option<bool>,
}

/// A number with the digits its source has: a float of four bytes is not shown with those of eight.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Number {
    Single(f32),
    /// A code, or flags.
    Word(u16),
    /// Exact, in digits of its own.
    Decimal(Box<RawValue>),
}

#[derive(Debug, Serialize)]
pub(super) struct Alert<'a> {
    pub(super) point: &'a str,
    pub(super) alert: &'a str,
    pub(super) means: &'a str,
    pub(super) age_ms: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Listener<'a> {
    pub(super) listener: String,
    pub(super) buses: &'a [String],
    pub(super) max_age_ms: u64,
    pub(super) writes: bool,
    pub(super) connections: u32,
    pub(super) max_connections: usize,
    pub(super) accepted: u64,
    pub(super) turned_away: u64,
    #[serde(flatten)]
    pub(super) counted: Counted,
}

#[derive(Debug, Serialize)]
pub(super) struct Counted {
    pub(super) requests: u64,
    pub(super) snapshot_hits: u64,
    pub(super) snapshot_misses: u64,
    pub(super) exceptions: Vec<Exceptions>,
}

#[derive(Debug, Serialize)]
pub(super) struct Exceptions {
    pub(super) code: Option<u8>,
    pub(super) count: u64,
}

/// `/api/v1/clients`.
#[derive(Debug, Serialize)]
pub(super) struct Clients {
    pub(super) connections: usize,
    pub(super) clients: Vec<Client>,
}

#[derive(Debug, Serialize)]
pub(super) struct Client {
    pub(super) client: String,
    pub(super) listener: String,
    pub(super) connected_ms: u64,
    pub(super) last_request_ms: Option<u64>,
    pub(super) answer_time_ms: Option<f64>,
    #[serde(flatten)]
    pub(super) counted: Counted,
}

/// `/api/v1/units/ID/history`.
#[derive(Debug, Serialize)]
pub(super) struct UnitHistory<'a> {
    pub(super) bus: &'a str,
    pub(super) unit: u8,
    pub(super) minute_s: u64,
    pub(super) last_minute_ended_ms: u64,
    pub(super) readings: Vec<ReadingHistory<'a>>,
    pub(super) health: Vec<Option<UnitMinute>>,
}

#[derive(Debug, Serialize)]
pub(super) struct ReadingHistory<'a> {
    pub(super) quantity: &'a str,
    pub(super) unit: Option<&'static str>,
    pub(super) means: Vec<Option<f32>>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct UnitMinute {
    pub(super) state: &'static str,
    pub(super) transactions: u32,
    pub(super) errors: u32,
    pub(super) answer_time_ms: Option<f32>,
    pub(super) age_ms: Option<u32>,
}

/// `/api/v1/buses/NAME/history`.
#[derive(Debug, Serialize)]
pub(super) struct BusHistory<'a> {
    pub(super) bus: &'a str,
    pub(super) minute_s: u64,
    pub(super) last_minute_ended_ms: u64,
    pub(super) minutes: Vec<Option<BusMinute>>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct BusMinute {
    pub(super) utilisation_percent: f32,
    pub(super) clients_percent: f64,
    pub(super) polling_percent: f64,
    pub(super) failures_percent: f64,
    pub(super) transactions: u32,
    pub(super) failures: u32,
    pub(super) port_open: bool,
}

/// What is answered in place of a page.
#[derive(Debug, Serialize)]
pub(super) struct Fault {
    pub(super) error: String,
}
