//! The state of the gateway at one instant, as plain values: JSON, pages and metrics are views of it.
//!
//! Owns the names and the shapes of the JSON, which stay; `docs/http-api.md` explains each field. Units are in the names,
//! times are ages, and `None` (`null`) always means "not known", never 0. Fields marked `skip` are not in the JSON:
//! they have a path of their own there, or only pages and metrics show them. A bus has its name here, as those who read
//! the JSON know it; names are unique within one configuration.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::number::Number;
use crate::endpoint::{ClientAddress, Endpoint};
use crate::events::Event;
use crate::findings::{Kind, Remedy, Severity};
use crate::meter::Group;
use crate::modbus::AduFraming;
use crate::runtime::Process;

/// Text of the configuration or of a profile where the model was collected, its own where it was read.
pub(super) type Text<'a> = Cow<'a, str>;

/// `/api/v1/status`, and each event of `/api/v1/events`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status<'a> {
    /// The program's, without a leading `v`.
    pub version: Text<'a>,
    /// Since the start.
    pub uptime_s: u64,
    /// Whether a port is open with a unit that answers.
    pub ready: bool,
    /// What tells this gateway from others: the key `site`, or the host's name.
    pub site: Option<Text<'a>>,
    /// In the order of the configuration.
    pub buses: Vec<Bus<'a>>,
    /// Bus by bus, in the order of the identifiers clients use.
    pub units: Vec<Unit<'a>>,
    /// In the order of the configuration.
    pub listeners: Vec<Listener<'a>>,
    /// In the order of the configuration.
    #[serde(default)]
    pub brokers: Vec<Broker<'a>>,
    /// The wall clock, for people: `2026-11-22 15:03:07 CET`.
    #[serde(skip)]
    pub clock: Text<'a>,
    /// Those of brokers, then bus by bus, of the line first.
    #[serde(skip)]
    pub findings: Vec<LocatedFinding<'a>>,
    /// What happened, the newest first; the JSON has it at a path of its own.
    #[serde(skip)]
    pub events: Vec<ListedEvent>,
    /// All connections, the oldest of each listener first.
    #[serde(skip)]
    pub clients: Vec<Client>,
    /// Clients that left within the last hour.
    #[serde(skip)]
    pub departed: Vec<DepartedClient>,
    /// What the process itself uses; empty where it was not read.
    #[serde(skip)]
    pub process: Process,
    /// Events of the traffic that were not collected in time.
    #[serde(skip)]
    pub traffic_events_lost: u64,
    /// Writes that are missing from the audit file; `None`: there is no such file.
    #[serde(skip)]
    pub audit_writes_lost: Option<u64>,
}

/// An event, with its beginning in the local time of the gateway's machine.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedEvent {
    /// What happened.
    pub event: Event,
    /// `2026-11-22 15:30:00`.
    pub begin: String,
}

/// One line and its port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/http-api.md explains the fields of the JSON")]
pub struct Bus<'a> {
    pub bus: Text<'a>,
    pub device: Text<'a>,
    pub framing: Text<'a>,
    pub port: Port<'a>,
    pub utilisation_percent: f64,
    pub busy_ms: u64,
    pub requests_waiting: usize,
    pub queue_limit: usize,
    pub transactions: u64,
    pub failures: u64,
    pub joined: u64,
    pub noise_bytes: u64,
    pub foreign_frames: u64,
    pub collisions: u64,
    pub occupied: u64,
    pub retries: u64,
    pub expired: u64,
    pub line_time: LineTime,
    pub waits: Histogram<'a>,
    pub echo: Option<bool>,
    pub polling: Polling,
    pub units: UnitCounts,
    pub wire_break: Option<WireBreak>,
    /// Times its task was started after it had panicked.
    #[serde(skip)]
    pub restarts: u64,
    /// The `line_unit` of each unit, in the order of the wire.
    #[serde(skip)]
    pub wire: Vec<u8>,
    /// Of the last ten seconds; `None`: nothing has been measured yet.
    #[serde(skip)]
    pub recent: Option<LineShares>,
    /// The last hour, the newest minute last.
    #[serde(skip)]
    pub hour: Vec<Option<BusMinute>>,
}

/// Whether a port is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortState {
    /// Every request is refused.
    #[default]
    Closed,
    /// As it should be.
    Open,
    /// Bytes of no answer fill most of the line's time, so nothing is sent.
    Occupied,
}

/// A port as it is now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/http-api.md explains the fields of the JSON")]
pub struct Port<'a> {
    pub state: PortState,
    pub open_for_ms: Option<u64>,
    /// Parts separated by `; `.
    pub active: Option<Text<'a>>,
    pub problem: Option<Text<'a>>,
    pub openings: u64,
    pub losses: u64,
    pub driver_errors: Option<DriverErrors>,
}

/// Faulty characters the driver counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/http-api.md explains the fields of the JSON")]
pub struct DriverErrors {
    pub framing: u32,
    pub parity: u32,
    pub overrun: u32,
    pub breaks: u32,
    pub buffer_overrun: u32,
}

/// Where line time went since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineTime {
    pub clients_ms: u64,
    pub polling_ms: u64,
    pub probes_ms: u64,
    pub failures_ms: u64,
}

/// Where the wire of a line is broken, by the identifiers clients use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireBreak {
    /// The last unit that answers.
    pub after: u8,
    /// The first that does not, and everything behind it.
    pub before: u8,
}

/// What line time went into, each a share of it from 0 to 1. What is missing to 1 is silence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LineShares {
    /// Requests of clients that were answered.
    pub clients: f64,
    /// Readings in the background and probes that were answered.
    pub polling: f64,
    /// Whatever got no good answer.
    pub failures: f64,
}

impl LineShares {
    /// The rest.
    #[must_use]
    pub fn silence(&self) -> f64 {
        (1.0 - self.clients - self.polling - self.failures).clamp(0.0, 1.0)
    }
}

/// Durations by size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram<'a> {
    /// The upper bounds, each included.
    pub up_to_ms: Cow<'a, [u16]>,
    /// Of each bound, and of what is longer than all of them.
    pub counts: Vec<u64>,
    /// All of them together.
    pub sum_ms: u64,
}

/// How readings in the background go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Polling {
    pub auto_interval_ms: u64,
    pub slowdown: f64,
    pub overrun: Option<f64>,
    pub learned_ranges: usize,
    pub learn_limit: usize,
    pub share_percent: f64,
}

/// How many units are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitCounts {
    pub never_seen: usize,
    pub online: usize,
    pub offline: usize,
    pub confirming: usize,
    pub unreachable: usize,
}

/// Whether a unit answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitState {
    /// Not heard since the start.
    #[default]
    NeverSeen,
    /// It answers.
    Online,
    /// It does not, and is probed now and then.
    Offline,
    /// It stopped answering; what it answered last is being asked again.
    Confirming,
    /// The port is closed, or the line as a whole is silent.
    Unreachable,
}

/// One unit. `/api/v1/units/ID` has its `detail`, too.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/http-api.md explains the fields of the JSON")]
pub struct Unit<'a> {
    pub bus: Text<'a>,
    pub unit: u8,
    pub line_unit: u8,
    pub name: Option<Text<'a>>,
    pub group: Option<Text<'a>>,
    pub profile: Option<Text<'a>>,
    pub state: UnitState,
    pub age_ms: Option<u64>,
    pub last_answer_ms: Option<u64>,
    pub answer_time_ms: Option<f64>,
    pub last_exception: Option<u8>,
    pub transactions: u64,
    pub timeouts: u64,
    pub crc_errors: u64,
    pub late_answers: u64,
    pub truncated: u64,
    pub unexpected_frames: u64,
    pub foreign_frames: u64,
    pub exceptions: u64,
    pub headline: Vec<Point<'a>>,
    pub alerts: Vec<Alert<'a>>,
    #[serde(flatten)]
    pub detail: Option<UnitDetail<'a>>,
    /// The last hour, the newest minute last.
    #[serde(skip)]
    pub hour: Vec<Option<UnitMinute>>,
}

/// What is too much to show of every unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/http-api.md explains the fields of the JSON")]
pub struct UnitDetail<'a> {
    pub profile_title: Option<Text<'a>>,
    pub exceptions_by_code: Vec<ExceptionCount>,
    pub answer_times: Option<Histogram<'a>>,
    pub blocks: Vec<Block>,
    pub points: Vec<Point<'a>>,
    /// The last 12 hours of its headline.
    #[serde(skip)]
    pub readings: Vec<ReadingHistory<'a>>,
    /// The last ones, the newest first.
    #[serde(skip)]
    pub records: Vec<TransactionRecord>,
}

/// What is held of one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    pub function: u8,
    pub address: u16,
    pub quantity: u16,
    pub age_ms: u64,
}

/// One point of a profile, and what was read of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/http-api.md explains the fields of the JSON")]
pub struct Point<'a> {
    pub point: Text<'a>,
    pub quantity: Text<'a>,
    pub description: Text<'a>,
    #[serde(with = "group_word")]
    pub group: Group,
    pub register: u32,
    pub value: Option<Number>,
    pub text: Option<Text<'a>>,
    pub unit: Option<Text<'a>>,
    pub age_ms: Option<u64>,
    pub scale_age_ms: Option<u64>,
    pub problem: Option<ValueProblem>,
    pub in_range: Option<bool>,
    pub meaningful: Option<bool>,
    /// Of a point and its copies, this one stands for the quantity.
    #[serde(skip)]
    pub is_chosen: bool,
    /// Whether energy is billed by this quantity.
    #[serde(skip)]
    pub is_billed: bool,
    /// Whether it is read in the background.
    #[serde(skip)]
    pub is_polled: bool,
    /// Whether its unit answers and the reading is young enough for metrics and sums, which carry no age.
    #[serde(skip)]
    pub is_fresh: bool,
    /// Whether its flags are alerts of the meter.
    #[serde(skip)]
    pub is_alert: bool,
    /// The flags of a register that was read, those that are not set included.
    #[serde(skip)]
    pub flags: Vec<Flag<'a>>,
}

/// A bit with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag<'a> {
    pub name: Text<'a>,
    pub means: Text<'a>,
    pub is_set: bool,
}

/// Why a point has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "docs/http-api.md explains the words of the JSON")]
pub enum ValueProblem {
    NotRead,
    NotAvailable,
    NotANumber,
    ExponentNotRead,
    ExponentChanged,
    ExponentImpossible,
}

/// A flag that a meter raises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/http-api.md explains the fields of the JSON")]
pub struct Alert<'a> {
    pub point: Text<'a>,
    pub alert: Text<'a>,
    pub means: Text<'a>,
    pub age_ms: u64,
}

/// One entry of `/api/v1/findings`: a finding, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/http-api.md explains the fields of the JSON")]
pub struct LocatedFinding<'a> {
    pub severity: Severity,
    pub kind: Kind,
    pub bus: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker: Option<Text<'a>>,
    pub unit: Option<u8>,
    pub line_unit: Option<u8>,
    pub name: Option<Text<'a>>,
    pub what: Text<'a>,
    #[serde(flatten)]
    pub remedy: Remedy,
    pub active_since_ms: u64,
    pub last_seen_ms: u64,
}

/// One address that clients connect to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/http-api.md explains the fields of the JSON")]
pub struct Listener<'a> {
    pub listener: Endpoint,
    pub framing: AduFraming,
    pub buses: Vec<Text<'a>>,
    pub max_age_ms: u64,
    pub writes: bool,
    pub connections: u32,
    pub max_connections: usize,
    pub accepted: u64,
    pub turned_away: u64,
    /// Of a listener for Modbus/TCP Security.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tls: Option<ListenerTls>,
    /// `None`: it listens at a TCP address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port<'a>>,
    #[serde(flatten)]
    pub requests: RequestCounts,
}

/// The clients of a listener for Modbus/TCP Security.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerTls {
    /// Until when its certificate is valid, in seconds since 1970.
    pub certificate_expires: u64,
    /// The connections open now, by the role of the client's certificate; `null`: without a role.
    pub roles: Vec<RoleCount>,
    /// Handshakes that failed, by cause; only causes that occurred.
    pub failed_handshakes: BTreeMap<String, u64>,
}

/// The connections with one role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleCount {
    /// The role; `None`: without one.
    pub role: Option<String>,
    /// How many there are.
    pub connections: u32,
}

/// One MQTT broker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/http-api.md explains the fields of the JSON")]
pub struct Broker<'a> {
    pub broker: Text<'a>,
    pub client_id: Text<'a>,
    pub status_topic: Text<'a>,
    pub connected: bool,
    pub connected_for_ms: Option<u64>,
    pub away_for_ms: Option<u64>,
    pub last_error: Option<String>,
    pub connections: u64,
    pub published: u64,
    pub published_per_second: Option<f64>,
    pub queued: usize,
    pub queued_bytes: usize,
    pub dropped: u64,
}

impl Broker<'_> {
    /// The same without what it borrows.
    #[must_use]
    pub fn into_owned(self) -> Broker<'static> {
        let owned = |text: Text<'_>| Text::Owned(text.into_owned());
        Broker {
            broker: owned(self.broker),
            client_id: owned(self.client_id),
            status_topic: owned(self.status_topic),
            connected: self.connected,
            connected_for_ms: self.connected_for_ms,
            away_for_ms: self.away_for_ms,
            last_error: self.last_error,
            connections: self.connections,
            published: self.published,
            published_per_second: self.published_per_second,
            queued: self.queued,
            queued_bytes: self.queued_bytes,
            dropped: self.dropped,
        }
    }
}

/// What a listener or a client counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/http-api.md explains the fields of the JSON")]
pub struct RequestCounts {
    pub requests: u64,
    pub snapshot_hits: u64,
    pub snapshot_misses: u64,
    pub exceptions: Vec<ExceptionCount>,
}

/// How often an exception was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExceptionCount {
    /// `None`: every code the standard does not have.
    pub code: Option<u8>,
    /// More than 0.
    pub count: u64,
}

/// `/api/v1/clients`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Clients {
    /// How many there are.
    pub connections: usize,
    /// The first of them.
    pub clients: Vec<Client>,
    /// Addresses without a connection that had one within the last hour, the last to leave first.
    pub departed: Vec<DepartedClient>,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/http-api.md explains the fields of the JSON")]
pub struct Client {
    pub client: Endpoint,
    pub listener: Endpoint,
    pub connected_ms: u64,
    pub last_request_ms: Option<u64>,
    pub answer_time_ms: Option<f64>,
    #[serde(flatten)]
    pub requests: RequestCounts,
    /// Over the last ten seconds or so; `None`: too early to say.
    #[serde(skip)]
    pub requests_per_second: Option<f64>,
}

/// All connections of one address to one listener, which have ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/http-api.md explains the fields of the JSON")]
pub struct DepartedClient {
    pub client: ClientAddress,
    pub listener: Endpoint,
    pub left_ms: u64,
    pub connections: u64,
    #[serde(flatten)]
    pub requests: RequestCounts,
}

/// `/api/v1/units/ID/history`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/http-api.md explains the fields of the JSON")]
pub struct UnitHistory<'a> {
    pub bus: Text<'a>,
    pub unit: u8,
    pub minute_s: u64,
    pub last_minute_ended_ms: u64,
    pub readings: Vec<ReadingHistory<'a>>,
    pub health: Vec<Option<UnitMinute>>,
}

/// One-minute means of one quantity over the last 12 hours, the newest last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/http-api.md explains the fields of the JSON")]
pub struct ReadingHistory<'a> {
    pub quantity: Text<'a>,
    pub unit: Option<Text<'a>>,
    pub means: Vec<Option<f32>>,
    /// As the profile has it.
    #[serde(skip)]
    pub description: Text<'a>,
    /// How long ago the newest of the means ended.
    #[serde(skip)]
    pub ended_ms: u64,
    /// While the means are few: how long ago each reading was, in milliseconds, and its value, the newest last.
    #[serde(skip)]
    pub first: Vec<(u64, f32)>,
}

/// One minute of a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UnitMinute {
    /// At its end.
    pub state: UnitState,
    /// Requests sent to it.
    pub transactions: u32,
    /// Of these, answered too late, not at all, or damaged.
    pub errors: u32,
    /// Mean of its smoothed answer time.
    pub answer_time_ms: Option<f32>,
    /// Of its oldest measurement at the minute's end.
    pub age_ms: Option<u32>,
}

/// `/api/v1/buses/NAME/history`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "docs/http-api.md explains the fields of the JSON")]
pub struct BusHistory<'a> {
    pub bus: Text<'a>,
    pub minute_s: u64,
    pub last_minute_ended_ms: u64,
    pub minutes: Vec<Option<BusMinute>>,
}

/// One minute of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BusMinute {
    /// Share of the minute's time that was used.
    pub utilisation_percent: f32,
    /// Of it, for requests of clients that were answered.
    pub clients_percent: f64,
    /// For readings in the background and probes that were answered.
    pub polling_percent: f64,
    /// For whatever got no good answer.
    pub failures_percent: f64,
    /// Requests sent.
    pub transactions: u32,
    /// Of these, without a good answer.
    pub failures: u32,
    /// Whether the port was open at its end.
    pub port_open: bool,
}

/// One attempt at a transaction, or bytes that came without one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TransactionRecord {
    /// Ascending over the records of the bus.
    pub number: u64,
    /// How long ago it began.
    pub begun_ms: u64,
    /// Who wanted it, in words: `client 10.0.0.7`, `polling`, `probe`.
    pub cause: String,
    /// What was asked, in words: `read holding registers 257–308`.
    pub what: String,
    /// How it ended, in words: `answered`, `no answer`.
    pub outcome: String,
    /// Whether it ended as it should.
    pub is_good: bool,
    /// From the first byte sent to the end; `None`: nothing was sent.
    pub took_ms: Option<f64>,
    /// As sent, with its CRC; empty: nothing was sent.
    pub request: Vec<u8>,
    /// What was received, in order, as far as it was kept.
    pub received: Vec<u8>,
    /// How many bytes were received.
    pub received_total: usize,
    /// What the bytes mean.
    pub decoded: Decoded,
}

/// The fields of a request and of its answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Decoded {
    /// The addressed unit, by its identifier on the line; 0: all of them.
    pub unit: Option<u8>,
    /// `0x03 read holding registers`.
    pub function: String,
    /// The first register or coil, as the profile numbers them, and how many.
    pub range: Option<(u32, u16)>,
    /// What a write writes.
    pub written: Vec<DecodedValue>,
    /// What the unit answered.
    pub answer: DecodedAnswer,
}

/// What a unit answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum DecodedAnswer {
    /// Nothing whole, or something without fields of its own.
    #[default]
    Nothing,
    /// The exception, with its name.
    Exception(String),
    /// A read: points of the profile, and registers or coils that belong to none.
    Values(Vec<DecodedValue>),
    /// A write: as it was sent.
    Confirmed,
}

/// A point, or a register or coil without one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecodedValue {
    /// The point's name, else the printed number.
    pub name: String,
    /// In words, with its unit.
    pub value: String,
}

/// Which transactions are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordFilter {
    /// All of them.
    #[default]
    All,
    /// Those that got no answer, or an exception.
    Failed,
}

/// What is answered in place of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Why, in words.
    pub error: String,
}

impl UnitState {
    /// In the order of the JSON's counts.
    pub const ALL: [Self; 5] =
        [Self::NeverSeen, Self::Online, Self::Offline, Self::Confirming, Self::Unreachable];

    /// As people read it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::NeverSeen => "never seen",
            Self::Online => "on-line",
            Self::Offline => "off-line",
            Self::Confirming => "being confirmed",
            Self::Unreachable => "unreachable",
        }
    }

    /// As programs read it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NeverSeen => "never_seen",
            Self::Online => "online",
            Self::Offline => "offline",
            Self::Confirming => "confirming",
            Self::Unreachable => "unreachable",
        }
    }

    /// Whether it gives answers.
    #[must_use]
    pub fn is_answering(self) -> bool {
        match self {
            Self::Online | Self::Confirming => true,
            Self::NeverSeen | Self::Offline | Self::Unreachable => false,
        }
    }
}

impl PortState {
    /// As programs read it, and people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Occupied => "occupied",
        }
    }
}

impl From<crate::line::Availability> for UnitState {
    fn from(state: crate::line::Availability) -> Self {
        use crate::line::Availability as Line;
        match state {
            Line::NeverSeen => Self::NeverSeen,
            Line::Online => Self::Online,
            Line::Offline => Self::Offline,
            Line::Confirming => Self::Confirming,
            Line::Unreachable => Self::Unreachable,
        }
    }
}

impl From<crate::line::PortState> for PortState {
    fn from(state: crate::line::PortState) -> Self {
        use crate::line::PortState as Line;
        match state {
            Line::Closed => Self::Closed,
            Line::Open => Self::Open,
            Line::Occupied => Self::Occupied,
        }
    }
}

impl<'a> Status<'a> {
    /// The units of a bus, in the order of the wire.
    pub fn on_the_wire<'s>(&'s self, bus: &'s Bus<'a>) -> impl Iterator<Item = &'s Unit<'a>> {
        let find = |id: &u8| self.units.iter().find(|unit| unit.line_unit == *id && unit.bus == bus.bus);
        bus.wire.iter().filter_map(find)
    }

    /// Whether clients know several units by this identifier, so that only the bus tells them apart.
    #[must_use]
    pub fn is_ambiguous(&self, unit: u8) -> bool {
        self.units.iter().filter(|other| other.unit == unit).count() > 1
    }
}

impl BusMinute {
    /// The same as shares.
    #[must_use]
    pub fn shares(&self) -> LineShares {
        LineShares {
            clients: self.clients_percent / 100.0,
            polling: self.polling_percent / 100.0,
            failures: self.failures_percent / 100.0,
        }
    }
}

/// A group as the word a profile has for it.
mod group_word {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    use crate::meter::Group;

    pub(super) fn serialize<S: Serializer>(group: &Group, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(group.word())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Group, D::Error> {
        let word = String::deserialize(deserializer)?;
        let group = Group::ALL.iter().find(|group| group.word() == word);
        group.copied().ok_or_else(|| D::Error::custom(format!("no group is called {word}")))
    }
}
