//! What the overview shows: plain values, already counted, worked out and put in order by whoever asks for a page.
//!
//! Owns the shape only: no clock, no lookup, nothing of the other rooms but findings. Times are spans that end when
//! the page is made, shares run from 0 to 1, and `None` always means "not known", which is printed as such and never
//! as 0. Source: docs/design.md, "The status page".

use std::time::Duration;

use crate::findings::Finding;

/// What stands on every page.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    /// What tells this gateway from others, such as the host's name; `None`: it is just "metergate".
    pub name: Option<String>,
    /// The program's version, without a leading `v`.
    pub version: String,
    /// Since the start.
    pub uptime: Duration,
    /// The gateway's clock when the page was made, to be read by people: `2026-11-22 14:03:07 UTC`.
    pub rendered_at: String,
}

/// Everything on the first page.
#[derive(Clone, Debug, PartialEq)]
pub struct Overview {
    /// Who speaks.
    pub gateway: Gateway,
    /// In the order of the configuration.
    pub buses: Vec<Bus>,
    /// In the order of the configuration.
    pub listeners: Vec<Listener>,
    /// Busiest first is the most useful; they are shown as they come.
    pub clients: Vec<Client>,
    /// Clients that are connected but not in `clients`, because that list is bounded.
    pub clients_left_out: usize,
}

/// One bus: its port, its line time, and the meters on its wire.
#[derive(Clone, Debug, PartialEq)]
pub struct Bus {
    /// As configured.
    pub name: String,
    /// As configured: `/dev/serial/by-id/…`.
    pub device: String,
    /// The short form: `19200 8N1`.
    pub framing: String,
    /// The port.
    pub port: Port,
    /// Line time over the last ten seconds or so; `None`: nothing has been measured yet.
    pub utilisation: Option<Split>,
    /// The same by the minute, oldest first, at most 60; `None` for a minute without a measurement.
    pub utilisation_hour: Vec<Option<Split>>,
    /// Requests waiting now.
    pub waiting: usize,
    /// In the order of the wire, which is that of the configuration.
    pub meters: Vec<Meter>,
    /// What is wrong with the line and its meters; `Finding::unit` is the identifier on the line.
    pub findings: Vec<Finding>,
}

/// A port as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Open or not.
    pub state: PortState,
    /// For how long it has been open; `None`: it is not, or that is not known.
    pub open_for: Option<Duration>,
    /// What is in force, each in a few words: `RS-485 direction by the driver`, `low latency`. Empty: nothing known.
    pub active: Vec<String>,
    /// Why it is closed, in words; `None` while it is open or before the first try.
    pub problem: Option<String>,
    /// How often it was opened since the start.
    pub openings: u64,
    /// How often it was lost after that.
    pub losses: u64,
    /// Whether the adapter hands back what is sent; `None`: not known yet.
    pub echo: Option<bool>,
    /// What the driver counted since the start; `None`: this driver does not count.
    pub errors: Option<PortErrors>,
}

/// Faulty characters, by the driver's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortErrors {
    /// Characters without a stop bit.
    pub framing: u64,
    /// Characters with a wrong parity bit.
    pub parity: u64,
    /// Characters lost in the hardware or in the driver.
    pub overrun: u64,
    /// Times the line was low for longer than a character.
    pub breaks: u64,
}

/// Whether a port is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortState {
    /// Every request is refused.
    Closed,
    /// As it should be.
    Open,
    /// Bytes come without end, so nothing is sent.
    Occupied,
}

/// What line time went into, each a share of it. What is missing to 1 is silence.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Split {
    /// Requests of clients and their answers.
    pub clients: f64,
    /// Reading in the background, and probes that were answered.
    pub polling: f64,
    /// Waiting for answers that did not come, and answers that were of no use.
    pub failures: f64,
}

/// Which meter, and how to point at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterRef {
    /// Its identifier as clients know it, 1 to 255.
    pub unit: u8,
    /// What people call it; `None`: nobody gave it a name.
    pub name: Option<String>,
    /// The name of its bus where `unit` alone does not tell it apart, to become `?bus=` in its address; else `None`.
    pub bus: Option<String>,
}

/// One meter on the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct Meter {
    /// Which.
    pub meter: MeterRef,
    /// Its identifier on the line, by which findings name it.
    pub line_id: u8,
    /// Whether it answers.
    pub state: MeterState,
    /// Total real power in kW, as last read; `None`: never read, not available, or no profile says where it stands.
    pub power: Option<f64>,
    /// Age of its oldest measured block; `None`: nothing is held of it.
    pub age: Option<Duration>,
    /// The learned time to the first byte of an answer; `None`: it has not answered yet.
    pub answer_time: Option<Duration>,
    /// Minute by minute, oldest first, at most 60: the last one is the minute before now.
    pub hour: Vec<Minute>,
}

/// Whether a meter answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeterState {
    /// Not heard since the start.
    NeverSeen,
    /// It answers.
    Online,
    /// It does not, and is probed now and then.
    Offline,
    /// It has answered a probe and is being tried.
    Confirming,
}

/// What happened to a meter in one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Minute {
    /// Requests sent to it; 0 makes a gap in the plots.
    pub requests: u64,
    /// Of these, without a good answer.
    pub failures: u64,
    /// Mean time to the first byte of an answer; `None`: none came.
    pub answer_time: Option<Duration>,
}

/// One address that clients connect to.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// As bound: `0.0.0.0:502`.
    pub address: String,
    /// The names of the buses behind it.
    pub buses: Vec<String>,
    /// The oldest data a read here may be given; zero: always from the line.
    pub max_age: Duration,
    /// Whether writes are let through.
    pub writes: bool,
    /// Connections now.
    pub connections: usize,
    /// And at most.
    pub connections_max: usize,
    /// Requests since the start.
    pub requests: u64,
    /// Connections turned away since the start.
    pub refused: u64,
}

/// One client, by address and listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Client {
    /// Its address, with the port if each connection has a row of its own.
    pub address: String,
    /// The listener it came in by.
    pub listener: String,
    /// Since it connected; the longest, where it has several connections.
    pub connected_for: Duration,
    /// Since its last request; `None`: it has sent none.
    pub idle_for: Option<Duration>,
    /// Requests a second, over the last ten seconds or so; `None`: too early to say.
    pub rate: Option<f64>,
    /// Requests since it connected.
    pub requests: u64,
    /// Share of its reads answered without the line; `None`: it has read nothing.
    pub from_snapshot: Option<f64>,
    /// Mean time from request to answer of late; `None`: nothing was answered.
    pub answer_time: Option<Duration>,
    /// Exceptions it was given since it connected, by code; empty: none.
    pub exceptions: Vec<ExceptionCount>,
}

/// How often an exception was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExceptionCount {
    /// Code and name: `0x0B gateway target device failed to respond`.
    pub exception: String,
    /// How often.
    pub count: u64,
}

impl Split {
    /// What remains: nothing was said.
    #[must_use]
    pub fn silence(&self) -> f64 {
        (1.0 - self.clients - self.polling - self.failures).clamp(0.0, 1.0)
    }
}

impl MeterState {
    /// One word, or two.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NeverSeen => "never seen",
            Self::Online => "on-line",
            Self::Offline => "off-line",
            Self::Confirming => "being confirmed",
        }
    }

    /// The same as a name in the style sheet.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::NeverSeen => "unseen",
            Self::Online => "online",
            Self::Offline => "offline",
            Self::Confirming => "confirming",
        }
    }
}

impl PortState {
    /// One word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Occupied => "occupied",
        }
    }
}

impl MeterRef {
    /// Its page, seen from the root of the server.
    #[must_use]
    pub fn href(&self) -> String {
        match &self.bus {
            None => format!("/units/{}", self.unit),
            Some(bus) => format!("/units/{}?bus={}", self.unit, percent_encoded(bus)),
        }
    }

    /// Its name, or else its number.
    #[must_use]
    pub fn title(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("Unit {}", self.unit))
    }

    /// Name and number, for where it stands alone.
    #[must_use]
    pub fn full_title(&self) -> String {
        match &self.name {
            None => format!("Unit {}", self.unit),
            Some(name) => format!("{name} (unit {})", self.unit),
        }
    }
}

/// As RFC 3986 wants it within a query: everything but unreserved characters is a percent sign and two digits.
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}
