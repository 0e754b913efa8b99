//! One line of JSON for each thing that happened, for programs that follow a line.
//!
//! Owns the names of the fields, which are promises: every field of a kind is always there, `null` where nothing is
//! known. Bytes are hexadecimal, times UTC. Unlike a line of text it tells both what a client said and what a line
//! did. It reads no clock. Fields are explained in `docs/traffic.md`.

use std::time::Duration;

use serde::Serialize;

use super::line::first_register;
use crate::line::{Cause, Outcome, Record, SegmentKind, Stray, Target, Transaction};
use crate::modbus::function;
use crate::modbus::hex::Hex;
use crate::modbus::pdu::{ExceptionCode, FunctionCode};
use crate::modbus::write::touched;
use crate::runtime::timestamp::utc;
use crate::traffic::{Event, Said, Speaker, UnitDirectory, UnitName, What};

/// The line for an event, without its end.
#[must_use]
pub fn json(event: &Event, names: &UnitDirectory) -> String {
    let (number, time) = (event.number, utc(event.begun()));
    match &event.what {
        What::Line { bus, record } => match &**record {
            Record::Transaction(told) => written(&transaction(number, time, bus, told, names)),
            Record::Stray(stray) => written(&strays(number, time, bus, stray)),
        },
        What::Client(said) => written(&said_line(number, time, said, names)),
    }
}

/// The line that says so many events are not told, because they were not taken in time.
#[must_use]
pub fn lost(count: u64) -> String {
    written(&Lost { kind: "lost", events: count })
}

#[derive(Serialize)]
struct TransactionLine<'a> {
    kind: &'static str,
    number: u64,
    time: String,
    bus: &'a str,
    /// As clients know it; null of a broadcast.
    unit: Option<u8>,
    line_unit: Option<u8>,
    name: Option<&'a str>,
    client: Option<String>,
    clients: usize,
    cause: &'static str,
    attempt: u32,
    #[serde(flatten)]
    asked: Asked<'a>,
    outcome: &'static str,
    #[serde(flatten)]
    exception: Exception,
    answer_ms: Option<f64>,
    took_ms: f64,
    request: String,
    answer: Option<String>,
    received: String,
    received_bytes: usize,
}

#[derive(Serialize)]
struct StrayLine<'a> {
    kind: &'static str,
    number: u64,
    time: String,
    bus: &'a str,
    parts: Vec<StrayPart>,
    received: String,
    received_bytes: usize,
}

#[derive(Serialize)]
struct StrayPart {
    what: &'static str,
    line_unit: Option<u8>,
    bytes: String,
}

#[derive(Serialize)]
struct SaidLine<'a> {
    kind: &'static str,
    number: u64,
    time: String,
    client: String,
    listener: String,
    transaction: u16,
    unit: u8,
    name: Option<&'a str>,
    #[serde(flatten)]
    asked: Asked<'a>,
    served: Option<&'static str>,
    #[serde(flatten)]
    exception: Exception,
    took_ms: Option<f64>,
    pdu: String,
}

/// What was asked for.
#[derive(Serialize)]
struct Asked<'a> {
    function: u8,
    function_name: Option<&'static str>,
    register: Option<u32>,
    quantity: Option<u16>,
    points: Vec<&'a str>,
}

#[derive(Serialize)]
struct Exception {
    exception: Option<u8>,
    exception_name: Option<&'static str>,
}

#[derive(Serialize)]
struct Lost {
    kind: &'static str,
    events: u64,
}

impl<'a> Asked<'a> {
    fn of(pdu: &[u8], name: Option<&'a UnitName>) -> Self {
        let code = pdu.first().copied().unwrap_or_default();
        let range = touched(pdu);
        let points = range.as_ref().zip(name);
        let points = points.map(|(range, name)| name.points(range).map(|point| &*point.name).collect());
        Self {
            function: code,
            function_name: function::name(FunctionCode(code)),
            register: range.as_ref().map(|range| first_register(range, name)),
            quantity: range.as_ref().map(|range| range.quantity),
            points: points.unwrap_or_default(),
        }
    }
}

impl From<Option<ExceptionCode>> for Exception {
    fn from(code: Option<ExceptionCode>) -> Self {
        Self { exception: code.map(|code| code.0), exception_name: code.map(ExceptionCode::name) }
    }
}

fn transaction<'a>(
    number: u64,
    time: String,
    bus: &'a str,
    told: &Transaction,
    names: &'a UnitDirectory,
) -> TransactionLine<'a> {
    let line_unit = match told.target {
        Target::Unit(unit) => Some(unit),
        Target::Broadcast => None,
    };
    let name = line_unit.and_then(|unit| names.unit(bus, unit));
    let parts = told.received.parts();
    let answer = parts.iter().find(|part| part.kind == Some(SegmentKind::Answer));
    let exception = match told.outcome {
        Outcome::Exception(code) => Some(code),
        Outcome::Answered
        | Outcome::Sent
        | Outcome::Silent
        | Outcome::Truncated
        | Outcome::Garbled
        | Outcome::Misfit(_)
        | Outcome::PortLost
        | Outcome::Occupied => None,
    };
    TransactionLine {
        kind: "transaction",
        number,
        time,
        bus,
        unit: line_unit.map(|unit| name.map_or(unit.get(), |name| name.alias)),
        line_unit: line_unit.map(|unit| unit.get()),
        name: name.and_then(|name| name.name.as_deref()),
        client: told.source.map(|source| source.address.to_string()),
        clients: told.clients,
        cause: match told.cause {
            Cause::Client => "client",
            Cause::Background => "poll",
            Cause::Probe => "probe",
            Cause::EchoCheck => "echo-check",
        },
        attempt: told.attempt,
        asked: Asked::of(told.request.get(1..told.request.len().saturating_sub(2)).unwrap_or_default(), name),
        outcome: told.outcome.word(),
        exception: exception.into(),
        answer_ms: told.answer_time().map(milliseconds),
        took_ms: milliseconds(told.ended_at.saturating_duration_since(told.sent_at)),
        request: format!("{:X}", Hex(&told.request)),
        answer: answer.map(|part| format!("{:X}", Hex(part.bytes))),
        received: format!("{:X}", Hex(&told.received.bytes)),
        received_bytes: told.received.total,
    }
}

fn strays<'a>(number: u64, time: String, bus: &'a str, stray: &Stray) -> StrayLine<'a> {
    let parts = stray.received.parts();
    let part = |part: &crate::line::ReceivedPart<'_>| {
        let head = part.bytes.first().copied();
        let (what, line_unit) = match part.kind {
            Some(SegmentKind::Late(unit)) => ("late", Some(unit.get())),
            Some(SegmentKind::Foreign) => ("foreign", head),
            Some(SegmentKind::Echo) => ("echo", head),
            Some(SegmentKind::Answer) => ("answer", head),
            None => ("noise", None),
        };
        StrayPart { what, line_unit, bytes: format!("{:X}", Hex(part.bytes)) }
    };
    StrayLine {
        kind: "stray",
        number,
        time,
        bus,
        parts: parts.iter().map(part).collect(),
        received: format!("{:X}", Hex(&stray.received.bytes)),
        received_bytes: stray.received.total,
    }
}

fn said_line<'a>(number: u64, time: String, said: &Said, names: &'a UnitDirectory) -> SaidLine<'a> {
    let name = names.of_alias(said.adu.unit);
    let (kind, pdu, served, took) = match &said.speaker {
        Speaker::Client => ("request", &said.adu.pdu, None, None),
        Speaker::Gateway { served, asked, since } => {
            ("answer", asked, Some(served.word()), Some(said.at.saturating_duration_since(*since)))
        }
    };
    let exception = match (&said.speaker, &said.adu.pdu[..]) {
        (Speaker::Gateway { .. }, [function, code]) if function & 0x80 != 0 => Some(ExceptionCode(*code)),
        (Speaker::Gateway { .. } | Speaker::Client, _) => None,
    };
    SaidLine {
        kind,
        number,
        time,
        client: said.link.client.to_string(),
        listener: said.link.listener.to_string(),
        transaction: said.adu.transaction_id,
        unit: said.adu.unit,
        name: name.and_then(|name| name.name.as_deref()),
        asked: Asked::of(pdu, name),
        served,
        exception: exception.into(),
        took_ms: took.map(milliseconds),
        pdu: format!("{:X}", Hex(&said.adu.pdu)),
    }
}

fn written(line: &impl Serialize) -> String {
    serde_json::to_string(line).expect("no map and no serialiser of ours can fail")
}

/// To the tenth, which is what is known of a time on a line.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}
