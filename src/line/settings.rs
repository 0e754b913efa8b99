//! The settings of one line. `config` builds them from the file.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use super::poll::Pace;
use super::snapshot::Snapshot;
use super::tables::Tables;
use crate::modbus::pdu::{FunctionCode, ReadRange};
use crate::modbus::{AduFraming, mbap, rtu};

/// The identifier of one unit on the line: 1 to 247 by the standard (MODBUS over Serial Line V1.02, chapter 2.2); 248
/// to 255 are reserved by it, but some devices have no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitId(u8);

impl UnitId {
    /// The highest identifier.
    pub const MAX: u8 = 255;

    /// The highest identifier the standard gives to a unit.
    pub const STANDARD_MAX: u8 = 247;

    /// `None` for 0, which is broadcast.
    #[must_use]
    pub fn new(id: u8) -> Option<Self> {
        (id > 0).then_some(Self(id))
    }

    /// The byte on the line.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for UnitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Parity bit of a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Parity {
    /// No parity bit.
    None,
    /// Even parity.
    Even,
    /// Odd parity.
    Odd,
}

/// The form of characters on the wire: one start bit, eight data bits, and these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// Bits per second.
    pub baud_rate: u32,
    /// Parity bit.
    pub parity: Parity,
    /// 1 or 2.
    pub stop_bits: u8,
}

impl Framing {
    /// The time `bytes` take on the wire: a start bit, eight data bits, the parity bit and the stop bits each.
    #[must_use]
    pub fn wire_time(&self, bytes: usize) -> Duration {
        let parity = u32::from(self.parity != Parity::None);
        rtu::wire_time(bytes, 9 + parity + u32::from(self.stop_bits), self.baud_rate)
    }
}

impl fmt::Display for Framing {
    /// In the usual short form: `19200 8N1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parity = match self.parity {
            Parity::None => 'N',
            Parity::Even => 'E',
            Parity::Odd => 'O',
        };
        write!(f, "{} 8{parity}{}", self.baud_rate, self.stop_bits)
    }
}

/// How requests and answers of a line are framed, and with it how long they take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Modbus RTU, in characters of this form.
    Rtu(Framing),
    /// Modbus TCP. Nothing of its time can be computed: the time on the way is part of the response time.
    Tcp,
}

impl Protocol {
    /// The time `bytes` take on the wire, as far as it can be computed.
    #[must_use]
    pub fn wire_time(&self, bytes: usize) -> Duration {
        match self {
            Self::Rtu(framing) => framing.wire_time(bytes),
            Self::Tcp => Duration::ZERO,
        }
    }

    /// The silence before every request.
    #[must_use]
    pub fn silence(&self) -> Duration {
        match self {
            Self::Rtu(framing) => rtu::silence(framing.baud_rate),
            Self::Tcp => Duration::ZERO,
        }
    }

    /// The response time of a unit until one has been measured.
    #[must_use]
    pub fn usual_response_time(&self) -> Duration {
        match self {
            Self::Rtu(_) => Duration::from_millis(5),
            // A meter on Ethernet answers within a few milliseconds, one behind another gateway within some fifty.
            Self::Tcp => Duration::from_millis(20),
        }
    }

    /// Bytes around the PDU of a frame.
    #[must_use]
    pub fn overhead(&self) -> usize {
        match self {
            Self::Rtu(_) => rtu::OVERHEAD,
            Self::Tcp => mbap::HEADER_LENGTH,
        }
    }

    /// How a frame is laid out.
    #[must_use]
    pub fn adu_framing(&self) -> AduFraming {
        match self {
            Self::Rtu(_) => AduFraming::Rtu,
            Self::Tcp => AduFraming::Tcp,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rtu(framing) => framing.fmt(f),
            Self::Tcp => f.write_str(AduFraming::Tcp.name()),
        }
    }
}

/// Whether the adapter echoes what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Echo {
    /// Determined on requests that cannot equal their answer.
    Auto,
    /// Every request comes back first.
    On,
    /// Nothing comes back.
    Off,
}

/// Both must be met before a unit counts as off-line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfflineAfter {
    /// Failed transactions in a row.
    pub failures: u32,
    /// Time since the first of them began.
    pub time: Duration,
}

/// Which answers of a unit are passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Replies {
    /// Those that fit their request.
    #[default]
    Strict,
    /// Any intact answer of the right unit and function.
    Loose,
}

/// One unit of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitSettings {
    /// Its identifier on the line.
    pub id: UnitId,
    /// The identifier that clients use, for log lines.
    pub client_id: u8,
    /// Its name in the configuration.
    pub name: Option<String>,
    /// From the end of the request on the wire to the first byte of the answer.
    pub response_timeout: Duration,
    /// Longest pause inside an answer, in addition to wire time.
    pub byte_timeout: Duration,
    /// Silence before a request to this unit, where longer than 3.5 characters.
    pub request_gap: Duration,
    /// Unrequested registers that may be read to join two learned ranges; `None`: touching ranges stay apart, too.
    pub merge_gap: Option<u16>,
    /// Longest read of registers the gateway composes itself; 16 times as many coils.
    pub max_read: u16,
    /// Which answers are passed on.
    pub replies: Replies,
    /// Its background readings.
    pub polling: Polling,
}

impl LineSettings {
    /// The unit as text, as clients address it: `unit 7 (Tenant 7)`, `unit 107 (7 on the line)`.
    #[must_use]
    pub fn label(&self, unit: UnitId) -> String {
        let settings = self.units.iter().find(|settings| settings.id == unit);
        let client_id = settings.map_or(unit.get(), |settings| settings.client_id);
        let name = settings.and_then(|settings| settings.name.clone());
        let on_the_line = (client_id != unit.get()).then(|| format!("{unit} on the line"));
        let more: Vec<String> = name.into_iter().chain(on_the_line).collect();
        if more.is_empty() {
            format!("unit {client_id}")
        } else {
            format!("unit {client_id} ({})", more.join(", "))
        }
    }
}

impl UnitSettings {
    /// A unit without a profile, with the defaults of docs/configuration.md.
    #[must_use]
    pub fn new(id: UnitId, response_timeout: Duration) -> Self {
        Self {
            id,
            client_id: id.get(),
            name: None,
            response_timeout,
            byte_timeout: Duration::from_millis(50),
            request_gap: Duration::ZERO,
            merge_gap: Some(0),
            max_read: 125,
            replies: Replies::Strict,
            polling: Polling::default(),
        }
    }

    /// Which of its tables hold the same registers, and whether anything can be cut from its answers.
    #[must_use]
    pub fn tables(&self) -> Tables {
        match self.replies {
            Replies::Strict => self.polling.tables(),
            Replies::Loose => Tables::Exact,
        }
    }

    /// The snapshot of the unit before anything is read.
    pub(super) fn empty_snapshot(&self) -> Snapshot {
        Snapshot::new(self.tables(), Arc::clone(&self.polling.scales))
    }
}

/// The background readings of one unit, from its profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Polling {
    /// The blocks that are polled; without a profile there are none.
    pub blocks: Vec<PolledBlock>,
    /// The profile's blocks that are not polled, and all of its blocks in the further tables it names: read as a whole
    /// from a client's first read inside one.
    pub demanded: Vec<DemandedBlock>,
    /// The profile's measurement blocks, polled or not, in each of their tables.
    pub measurements: Arc<[ReadRange]>,
    /// Input registers repeat holding registers, so either table serves reads of both.
    pub mirrored: bool,
    /// Registers, by table and address, before which a block must not be cut: they continue a value that begins before
    /// them.
    pub uncut: BTreeSet<(FunctionCode, u16)>,
    /// Ranges of the exponents and ratios that numbers of other ranges are scaled by, in each table the profile names.
    pub scales: Arc<[ReadRange]>,
}

impl Polling {
    /// Which of the unit's tables hold the same registers.
    #[must_use]
    pub fn tables(&self) -> Tables {
        if self.mirrored { Tables::Mirrored } else { Tables::Apart }
    }

    /// Whether the same ranges are read as with `other`, at whatever pace.
    #[must_use]
    pub fn reads_like(&self, other: &Self) -> bool {
        let is_like =
            |one: &PolledBlock, other: &PolledBlock| *one == PolledBlock { pace: one.pace, ..*other };
        self.blocks.len() == other.blocks.len()
            && self.blocks.iter().zip(&other.blocks).all(|(one, other)| is_like(one, other))
            && (&self.demanded, self.mirrored) == (&other.demanded, other.mirrored)
            && (&self.uncut, &self.scales) == (&other.uncut, &other.scales)
    }

    /// How far into `range` a core ends, or begins where it reaches to the end of the range.
    #[must_use]
    pub fn core_edge(&self, range: &ReadRange) -> Option<u16> {
        let around = self.blocks.iter().filter(|block| block.range.covers(range));
        around.filter_map(|block| block.core).filter(|core| core.function == range.function).find_map(
            |core| {
                let edges = [core.start.checked_add(core.quantity), Some(core.start)];
                let inside = edges.into_iter().flatten().filter_map(|edge| edge.checked_sub(range.start));
                inside.into_iter().find(|at| (1..range.quantity).contains(at))
            },
        )
    }
}

/// One block that is read in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolledBlock {
    /// What is read in one transaction.
    pub range: ReadRange,
    /// The part of it that every such unit has: if the unit refuses the whole, it is cut there.
    pub core: Option<ReadRange>,
    /// Whether it holds measured values, whose age matters, rather than settings or identity.
    pub measured: bool,
    /// How often it is read.
    pub pace: Pace,
}

/// One block that is read once a client has requested a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DemandedBlock {
    /// What is read in one transaction.
    pub range: ReadRange,
    /// The part of it that every such unit has: if the unit refuses the whole, it is cut there.
    pub core: Option<ReadRange>,
}

/// One line. Durations and limits are within the bounds of docs/configuration.md.
#[derive(Clone, Debug, PartialEq)]
pub struct LineSettings {
    /// The bus's name, for logs.
    pub name: String,
    /// How its frames are laid out, and how long they take.
    pub protocol: Protocol,
    /// For units that are not configured one by one, and the upper limit of learned response times.
    pub response_timeout: Duration,
    /// Silence before a request, where longer than that of the protocol.
    pub request_gap: Duration,
    /// Silence after a broadcast, for the units to act on it.
    pub turnaround_delay: Duration,
    /// How long after a timeout an answer still counts as a late one.
    pub late_guard: Duration,
    /// Retries of a read that was not answered.
    pub retries: u32,
    /// Requests that may wait; each connection may always have one.
    pub queue_limit: usize,
    /// Share of line time for background reading, 0 to 1.
    pub poll_share: f64,
    /// Ranges learned from clients and kept fresh.
    pub learn_limit: usize,
    /// Share of line time for probing off-line units, and as much again for trying reads that a unit ignored; 0 to 1.
    pub failure_share: f64,
    /// When a unit counts as off-line.
    pub offline_after: OfflineAfter,
    /// Longest pause between two probes of an off-line unit.
    pub probe_max: Duration,
    /// Whether the adapter echoes what is sent.
    pub echo: Echo,
    /// The units, in order of identifier, each once.
    pub units: Vec<UnitSettings>,
}
