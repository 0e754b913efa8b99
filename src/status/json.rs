//! The pages below `/api/v1` as values: what stands in each, under which name, in which unit.
//!
//! Owns the names of the fields, which stay: units are in the names, times are ages, `null` says that there is no
//! value. `docs/api.md` explains each. Decides nothing, and leaves out nothing that is known.

use serde::Serialize;
use serde_json::value::RawValue;

/// `/api/v1/status`, and each event of `/api/v1/events`.
#[derive(Debug, Serialize)]
pub(crate) struct Status<'a> {
    pub(crate) version: &'static str,
    pub(crate) uptime_s: u64,
    pub(crate) ready: bool,
    pub(crate) buses: Vec<Bus<'a>>,
    pub(crate) units: Vec<Unit<'a>>,
    pub(crate) listeners: Vec<Listener<'a>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Bus<'a> {
    pub(crate) bus: &'a str,
    pub(crate) device: String,
    pub(crate) framing: String,
    pub(crate) port: Port<'a>,
    pub(crate) utilisation_percent: f64,
    pub(crate) busy_ms: u64,
    pub(crate) requests_waiting: usize,
    pub(crate) queue_limit: usize,
    pub(crate) transactions: u64,
    pub(crate) failures: u64,
    pub(crate) joined: u64,
    pub(crate) noise_bytes: u64,
    pub(crate) foreign_frames: u64,
    pub(crate) collisions: u64,
    pub(crate) occupied: u64,
    pub(crate) retries: u64,
    pub(crate) expired: u64,
    pub(crate) line_time: LineTime,
    pub(crate) waits: Histogram,
    pub(crate) echo: Option<bool>,
    pub(crate) polling: Polling,
    pub(crate) units: UnitCounts,
}

/// Where line time went since the start.
#[derive(Debug, Serialize)]
pub(crate) struct LineTime {
    pub(crate) clients_ms: u64,
    pub(crate) polling_ms: u64,
    pub(crate) probes_ms: u64,
    pub(crate) failures_ms: u64,
}

/// Durations by size.
#[derive(Debug, Serialize)]
pub(crate) struct Histogram {
    pub(crate) up_to_ms: &'static [u16],
    pub(crate) counts: Vec<u64>,
    pub(crate) sum_ms: u64,
}

/// One entry of `/api/v1/findings`.
#[derive(Debug, Serialize)]
pub(crate) struct Finding<'a> {
    pub(crate) severity: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) bus: &'a str,
    pub(crate) unit: Option<u8>,
    pub(crate) line_unit: Option<u8>,
    pub(crate) name: Option<&'a str>,
    pub(crate) what: String,
    pub(crate) remedy: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Port<'a> {
    pub(crate) state: &'static str,
    pub(crate) open_for_ms: Option<u64>,
    pub(crate) active: Option<&'a str>,
    pub(crate) problem: Option<&'a str>,
    pub(crate) openings: u64,
    pub(crate) losses: u64,
    pub(crate) driver_errors: Option<DriverErrors>,
}

#[derive(Debug, Serialize)]
pub(crate) struct DriverErrors {
    pub(crate) framing: u32,
    pub(crate) parity: u32,
    pub(crate) overrun: u32,
    pub(crate) breaks: u32,
    pub(crate) buffer_overrun: u32,
}

#[derive(Debug, Serialize)]
pub(crate) struct Polling {
    pub(crate) auto_interval_ms: u64,
    pub(crate) slowdown: f64,
    pub(crate) overrun: Option<f64>,
    pub(crate) learned_ranges: usize,
    pub(crate) learn_limit: usize,
    pub(crate) share_percent: f64,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct UnitCounts {
    pub(crate) never_seen: usize,
    pub(crate) online: usize,
    pub(crate) offline: usize,
    pub(crate) confirming: usize,
}

#[derive(Debug, Serialize)]
pub(crate) struct Unit<'a> {
    pub(crate) bus: &'a str,
    pub(crate) unit: u8,
    pub(crate) line_unit: u8,
    pub(crate) name: Option<&'a str>,
    pub(crate) profile: Option<&'a str>,
    pub(crate) state: &'static str,
    pub(crate) age_ms: Option<u64>,
    pub(crate) last_answer_ms: Option<u64>,
    pub(crate) answer_time_ms: Option<f64>,
    pub(crate) last_exception: Option<u8>,
    pub(crate) transactions: u64,
    pub(crate) timeouts: u64,
    pub(crate) crc_errors: u64,
    pub(crate) late_answers: u64,
    pub(crate) truncated: u64,
    pub(crate) unexpected_frames: u64,
    pub(crate) foreign_frames: u64,
    pub(crate) exceptions: u64,
    pub(crate) headline: Vec<Point<'a>>,
    pub(crate) alerts: Vec<Alert<'a>>,
}

/// `/api/v1/units/ID`.
#[derive(Debug, Serialize)]
pub(crate) struct UnitPage<'a> {
    #[serde(flatten)]
    pub(crate) unit: Unit<'a>,
    pub(crate) profile_title: Option<&'a str>,
    pub(crate) exceptions_by_code: Vec<Exceptions>,
    pub(crate) answer_times: Option<Histogram>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) points: Vec<Point<'a>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Block {
    pub(crate) function: u8,
    pub(crate) address: u16,
    pub(crate) quantity: u16,
    pub(crate) age_ms: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Point<'a> {
    pub(crate) point: &'a str,
    pub(crate) quantity: &'a str,
    pub(crate) description: &'a str,
    pub(crate) group: &'static str,
    pub(crate) register: u32,
    pub(crate) value: Option<Number>,
    pub(crate) text: Option<String>,
    pub(crate) unit: Option<&'static str>,
    pub(crate) age_ms: Option<u64>,
    pub(crate) problem: Option<&'static str>,
    pub(crate) in_range: Option<bool>,
    pub(crate) meaningful: Option<bool>,
}

/// A number with the digits its source has: a float of four bytes is not shown with those of eight.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Number {
    Single(f32),
    /// A code, or flags.
    Word(u16),
    /// Exact, in digits of its own.
    Decimal(Box<RawValue>),
}

#[derive(Debug, Serialize)]
pub(crate) struct Alert<'a> {
    pub(crate) point: &'a str,
    pub(crate) alert: &'a str,
    pub(crate) means: &'a str,
    pub(crate) age_ms: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Listener<'a> {
    pub(crate) listener: String,
    pub(crate) buses: &'a [String],
    pub(crate) max_age_ms: u64,
    pub(crate) writes: bool,
    pub(crate) connections: u32,
    pub(crate) max_connections: usize,
    pub(crate) accepted: u64,
    pub(crate) turned_away: u64,
    #[serde(flatten)]
    pub(crate) counted: Counted,
}

#[derive(Debug, Serialize)]
pub(crate) struct Counted {
    pub(crate) requests: u64,
    pub(crate) snapshot_hits: u64,
    pub(crate) snapshot_misses: u64,
    pub(crate) exceptions: Vec<Exceptions>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Exceptions {
    pub(crate) code: Option<u8>,
    pub(crate) count: u64,
}

/// `/api/v1/clients`.
#[derive(Debug, Serialize)]
pub(crate) struct Clients {
    pub(crate) connections: usize,
    pub(crate) clients: Vec<Client>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Client {
    pub(crate) client: String,
    pub(crate) listener: String,
    pub(crate) connected_ms: u64,
    pub(crate) last_request_ms: Option<u64>,
    pub(crate) answer_time_ms: Option<f64>,
    #[serde(flatten)]
    pub(crate) counted: Counted,
}

/// `/api/v1/units/ID/history`.
#[derive(Debug, Serialize)]
pub(crate) struct UnitHistory<'a> {
    pub(crate) bus: &'a str,
    pub(crate) unit: u8,
    pub(crate) minute_s: u64,
    pub(crate) last_minute_ended_ms: u64,
    pub(crate) readings: Vec<ReadingHistory<'a>>,
    pub(crate) health: Vec<Option<UnitMinute>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ReadingHistory<'a> {
    pub(crate) quantity: &'a str,
    pub(crate) unit: Option<&'static str>,
    pub(crate) means: Vec<Option<f32>>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct UnitMinute {
    pub(crate) state: &'static str,
    pub(crate) transactions: u32,
    pub(crate) errors: u32,
    pub(crate) answer_time_ms: Option<f32>,
    pub(crate) age_ms: Option<u32>,
}

/// `/api/v1/buses/NAME/history`.
#[derive(Debug, Serialize)]
pub(crate) struct BusHistory<'a> {
    pub(crate) bus: &'a str,
    pub(crate) minute_s: u64,
    pub(crate) last_minute_ended_ms: u64,
    pub(crate) minutes: Vec<Option<BusMinute>>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct BusMinute {
    pub(crate) utilisation_percent: f32,
    pub(crate) clients_percent: f64,
    pub(crate) polling_percent: f64,
    pub(crate) failures_percent: f64,
    pub(crate) transactions: u32,
    pub(crate) failures: u32,
    pub(crate) port_open: bool,
}

/// What is answered in place of a page.
#[derive(Debug, Serialize)]
pub(crate) struct Fault {
    pub(crate) error: String,
}
