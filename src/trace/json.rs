//! One line of JSON for each event, for programs.
//!
//! Owns the names of the fields, which are a stable interface: every field of a kind is always present, `null` if
//! unknown. Bytes are hexadecimal, times UTC. Unlike the lines of text it has both the messages of clients and the
//! transactions of a line. It reads no clock. Fields are explained in `docs/traffic.md`.

use std::time::Duration;

use serde::Serialize;

use super::line::first_register;
use crate::line::{BusId, Cause, Outcome, Record, SegmentKind, Stray, Target, Transaction};
use crate::modbus::hex::Hex;
use crate::modbus::pdu::{ExceptionCode, FunctionCode};
use crate::modbus::write::touched;
use crate::modbus::{AduFraming, function};
use crate::runtime::timestamp::utc;
use crate::traffic::{Message, Sender, TrafficEvent, TrafficKind, UnitDirectory, UnitName};

/// The line for an event, without its end.
#[must_use]
pub fn json(event: &TrafficEvent, names: &UnitDirectory) -> String {
    let (number, time) = (event.number, utc(event.begun()));
    match &event.kind {
        TrafficKind::Line { bus, record } => match &**record {
            Record::Transaction(transaction) => {
                to_json(&transaction_line(number, time, *bus, transaction, names))
            }
            Record::Stray(stray) => to_json(&stray_line(number, time, names.bus(*bus), stray)),
        },
        TrafficKind::Client(message) => to_json(&message_line(number, time, message, names)),
    }
}

/// The line stating that `count` events are missing because they were not collected in time.
#[must_use]
pub fn lost(count: u64) -> String {
    to_json(&Lost { kind: "lost", events: count })
}

#[derive(Serialize)]
struct TransactionLine<'a> {
    kind: &'static str,
    number: u64,
    time: String,
    bus: &'a str,
    /// As addressed by clients; null for a broadcast.
    unit: Option<u8>,
    line_unit: Option<u8>,
    name: Option<&'a str>,
    client: Option<String>,
    clients: usize,
    cause: &'static str,
    attempt: u32,
    #[serde(flatten)]
    asked: RequestFields<'a>,
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
struct MessageLine<'a> {
    kind: &'static str,
    number: u64,
    time: String,
    client: String,
    listener: String,
    /// Null for RTU over TCP, which has none.
    transaction: Option<u16>,
    unit: u8,
    name: Option<&'a str>,
    #[serde(flatten)]
    asked: RequestFields<'a>,
    served: Option<&'static str>,
    #[serde(flatten)]
    exception: Exception,
    took_ms: Option<f64>,
    pdu: String,
}

/// The contents of a request.
#[derive(Serialize)]
struct RequestFields<'a> {
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

impl<'a> RequestFields<'a> {
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

fn transaction_line<'a>(
    number: u64,
    time: String,
    bus: BusId,
    transaction: &Transaction,
    names: &'a UnitDirectory,
) -> TransactionLine<'a> {
    let line_unit = match transaction.target {
        Target::Unit(unit) => Some(unit),
        Target::Broadcast => None,
    };
    let name = line_unit.and_then(|unit| names.unit(bus, unit));
    let parts = transaction.received.parts();
    let answer = parts.iter().find(|part| part.kind == Some(SegmentKind::Answer));
    let exception = match transaction.outcome {
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
        bus: names.bus(bus),
        unit: line_unit.map(|unit| name.map_or(unit.get(), |name| name.alias)),
        line_unit: line_unit.map(|unit| unit.get()),
        name: name.and_then(|name| name.name.as_deref()),
        client: transaction.source.as_ref().map(|source| source.address.to_string()),
        clients: transaction.clients,
        cause: match transaction.cause {
            Cause::Client => "client",
            Cause::Background => "poll",
            Cause::Probe => "probe",
            Cause::EchoCheck => "echo-check",
        },
        attempt: transaction.attempt,
        asked: RequestFields::of(transaction.request_pdu(), name),
        outcome: transaction.outcome.word(),
        exception: exception.into(),
        answer_ms: transaction.answer_time().map(milliseconds),
        took_ms: milliseconds(transaction.ended_at.saturating_duration_since(transaction.sent_at)),
        request: format!("{:X}", Hex(&transaction.request)),
        answer: answer.map(|part| format!("{:X}", Hex(part.bytes))),
        received: format!("{:X}", Hex(&transaction.received.bytes)),
        received_bytes: transaction.received.total,
    }
}

fn stray_line<'a>(number: u64, time: String, bus: &'a str, stray: &Stray) -> StrayLine<'a> {
    let parts = stray.received.parts();
    let part = |part: &crate::line::ReceivedPart<'_>| {
        let head = stray.framing.unit_of(part.bytes);
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

fn message_line<'a>(
    number: u64,
    time: String,
    message: &Message,
    names: &'a UnitDirectory,
) -> MessageLine<'a> {
    let name = names.of_alias(message.adu.unit);
    let (kind, pdu, served, took) = match &message.sender {
        Sender::Client => ("request", &message.adu.pdu, None, None),
        Sender::Gateway { served, asked, since } => {
            ("answer", asked, Some(served.word()), Some(message.at.saturating_duration_since(*since)))
        }
    };
    let exception = match (&message.sender, &message.adu.pdu[..]) {
        (Sender::Gateway { .. }, [function, code]) if function & 0x80 != 0 => Some(ExceptionCode(*code)),
        (Sender::Gateway { .. } | Sender::Client, _) => None,
    };
    MessageLine {
        kind,
        number,
        time,
        client: message.link.client.to_string(),
        listener: message.link.listener.to_string(),
        transaction: (message.link.framing == AduFraming::Tcp).then_some(message.adu.transaction_id),
        unit: message.adu.unit,
        name: name.and_then(|name| name.name.as_deref()),
        asked: RequestFields::of(pdu, name),
        served,
        exception: exception.into(),
        took_ms: took.map(milliseconds),
        pdu: format!("{:X}", Hex(&message.adu.pdu)),
    }
}

fn to_json(line: &impl Serialize) -> String {
    serde_json::to_string(line).expect("no map and no serialiser of ours can fail")
}

/// Rounded to a tenth, the precision of times on a line.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}
