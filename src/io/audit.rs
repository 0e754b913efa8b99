//! Every write, allowed or refused: when, who, what, the values before and after, and what became of it.
//!
//! Owns what is said of a write, in the log and as a line of JSON. It decides nothing about writes, and none
//! waits for it: the file is another thread's ([`Trail`]).

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tracing::info;

use super::handle::BusHandle;
use super::json::Object;
use super::names::Names;
use super::stamp::utc;
use super::throttle::Throttle;
use super::traffic::Link;
use super::trail::Trail;
use crate::bus::settings::UnitId;
use crate::modbus::pdu::{ExceptionCode, FunctionCode};
use crate::modbus::write::{Written, values_of};

/// Where writes are recorded, and what their units are called.
#[derive(Debug)]
pub struct Audit {
    names: Arc<Names>,
    trail: Option<Arc<Trail>>,
    /// Lines of the log; the file has every write.
    throttle: Throttle,
}

impl Default for Audit {
    fn default() -> Self {
        Self::new(Arc::default(), None)
    }
}

impl Audit {
    /// To the log, and to `trail` if there is one.
    #[must_use]
    pub fn new(names: Arc<Names>, trail: Option<Arc<Trail>>) -> Self {
        Self { names, trail, throttle: Throttle::of(WRITES_LOGGED) }
    }
}

/// Where a write was to go.
#[derive(Debug)]
pub(crate) struct Addressed<'a> {
    /// As the client addressed it.
    pub(crate) unit: u8,
    /// The unit on its line; of a broadcast, or where nothing is configured, none.
    pub(crate) on_line: Option<UnitId>,
    /// Its bus, or all buses of a broadcast.
    pub(crate) buses: &'a [BusHandle],
}

/// A write whose outcome is awaited. It is recorded once: with its outcome, or when it is dropped without one.
#[derive(Debug)]
pub(crate) struct Ticket {
    audit: Arc<Audit>,
    write: Box<Attempted>,
    is_told: bool,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The unit says it did it.
    Done,
    /// The unit's own exception.
    RefusedByUnit(ExceptionCode),
    /// It never reached a line.
    Refused(ExceptionCode),
    /// It may have reached the unit; nobody knows what it did.
    NoAnswer(ExceptionCode),
    /// All units were told.
    Broadcast,
    /// The client was gone before the outcome was known.
    ClientLeft,
}

#[derive(Debug)]
struct Attempted {
    time: SystemTime,
    since: Instant,
    link: Link,
    unit: u8,
    on_line: Option<UnitId>,
    buses: Vec<String>,
    pdu: Bytes,
    /// The values before it, as far as the snapshot knew them, and how old they were.
    old: Option<(Vec<u16>, Duration)>,
}

impl Ticket {
    /// Notes a write as it comes in, with the values it is to replace.
    pub(crate) fn new(audit: &Arc<Audit>, link: Link, to: &Addressed<'_>, pdu: Bytes, now: Instant) -> Self {
        let write = Box::new(Attempted {
            time: SystemTime::now(),
            since: now,
            link,
            unit: to.unit,
            on_line: to.on_line,
            buses: to.buses.iter().map(|bus| bus.name().to_owned()).collect(),
            old: old_values(to, &pdu, now),
            pdu,
        });
        Self { audit: Arc::clone(audit), write, is_told: false }
    }

    /// Records it with its outcome. `is_quiet` keeps it out of the log.
    pub(crate) fn finish(mut self, outcome: Outcome, is_quiet: bool) {
        self.tell(outcome, is_quiet);
    }

    fn tell(&mut self, outcome: Outcome, is_quiet: bool) {
        self.is_told = true;
        let names = &self.audit.names;
        if !is_quiet && let Some(held_back) = self.audit.throttle.permit(tokio::time::Instant::now()) {
            self.write.log(names, outcome, held_back);
        }
        if let Some(trail) = &self.audit.trail {
            trail.append(self.write.to_json(names, outcome));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.is_told {
            self.tell(Outcome::ClientLeft, false);
        }
    }
}

impl Outcome {
    /// One word or two, always the same.
    fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::RefusedByUnit(_) => "refused by the unit",
            Self::Refused(_) => "refused by the gateway",
            Self::NoAnswer(_) => "no answer",
            Self::Broadcast => "sent to all units",
            Self::ClientLeft => "client left",
        }
    }

    fn exception(self) -> Option<ExceptionCode> {
        match self {
            Self::RefusedByUnit(code) | Self::Refused(code) | Self::NoAnswer(code) => Some(code),
            Self::Done | Self::Broadcast | Self::ClientLeft => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done | Self::Broadcast => f.write_str(self.word()),
            Self::RefusedByUnit(code) => write!(f, "refused by the unit: {code}"),
            Self::Refused(code) => write!(f, "answered {code} by the gateway"),
            Self::NoAnswer(code) => {
                write!(f, "answered {code} by the gateway; whether the unit carried it out is not known")
            }
            Self::ClientLeft => f.write_str("the client left before the outcome was known"),
        }
    }
}

impl Attempted {
    fn function(&self) -> FunctionCode {
        FunctionCode(self.pdu.first().copied().unwrap_or_default())
    }

    fn log(&self, names: &Names, outcome: Outcome, held_back: u64) {
        let (unit, function, pdu) = (self.unit, self.function(), hex(&self.pdu));
        let (client, bus) = (self.link.client, self.buses.join(", "));
        let points = self.points(names).join(" ");
        let old = self.old.as_ref().map(|(old, age)| format!("{old:?}, {:.1} s old", age.as_secs_f64()));
        let old = old.unwrap_or_else(|| String::from("not known"));
        // Nearly always none is.
        let held_back = (held_back > 0).then_some(held_back);
        info!(%client, bus, unit, %function, points, old, pdu, held_back, "write: {outcome}");
    }

    /// One line of JSON. Keys are always there; what is not known is null.
    fn to_json(&self, names: &Names, outcome: Outcome) -> String {
        let written = Written::of(&self.pdu);
        let range = written.as_ref().map(|written| written.range);
        let name = self.on_line.and_then(|unit| names.unit(self.buses.first()?, unit));
        let first = name.and_then(|name| name.profile.as_ref()).map_or(1, |profile| profile.first_register);
        let register = range.map(|range| u64::from(first) + u64::from(range.start));
        let mut line = Object::default();
        line.text("time", &utc(self.time));
        line.text("client", &self.link.client.to_string());
        line.text("listener", &self.link.listener.to_string());
        line.texts("buses", self.buses.iter().map(String::as_str));
        line.number("unit", Some(u64::from(self.unit)));
        line.number("line_unit", self.on_line.map(|unit| u64::from(unit.get())));
        line.text_or_null("name", name.and_then(|name| name.name.as_deref()));
        line.text("function", &self.function().to_string());
        line.number("register", register);
        line.number("quantity", range.map(|range| u64::from(range.quantity)));
        line.texts("points", self.points(names).iter().map(String::as_str));
        line.numbers("old", self.old.as_ref().map(|(values, _)| values.as_slice()));
        line.number("old_age_ms", self.old.as_ref().map(|(_, age)| millis(*age)));
        let (masks, new) = match &written {
            Some(written) if written.masked => (Some(written.values.as_slice()), None),
            Some(written) => (None, Some(written.values.as_slice())),
            None => (None, None),
        };
        line.numbers("new", new);
        line.numbers("masks", masks);
        line.text("pdu", &hex(&self.pdu));
        line.text("outcome", outcome.word());
        line.number("exception", outcome.exception().map(|code| u64::from(code.0)));
        line.text_or_null("exception_name", outcome.exception().map(ExceptionCode::name));
        line.number("took_ms", Some(millis(self.since.elapsed())));
        line.finish()
    }

    fn points(&self, names: &Names) -> Vec<String> {
        let name = self.on_line.and_then(|unit| names.unit(self.buses.first()?, unit));
        let (Some(name), Some(written)) = (name, Written::of(&self.pdu)) else { return Vec::new() };
        name.points(&written.range).map(|point| point.name.clone()).collect()
    }
}

/// Writes that are logged within a [stretch](super::throttle::STRETCH): far more than people make, and no flood.
pub const WRITES_LOGGED: u32 = 600;

fn old_values(to: &Addressed<'_>, pdu: &[u8], now: Instant) -> Option<(Vec<u16>, Duration)> {
    let range = Written::of(pdu)?.range;
    let view = to.buses.first()?.view().load();
    let (reply, begun) = view.unit(to.on_line?)?.snapshot.peek(&range)?;
    Some((values_of(&range, &reply), now.saturating_duration_since(begun)))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 3);
    for (index, byte) in bytes.iter().enumerate() {
        let gap = if index == 0 { "" } else { " " };
        // Writing to a String cannot fail.
        let _never = write!(text, "{gap}{byte:02X}");
    }
    text
}
