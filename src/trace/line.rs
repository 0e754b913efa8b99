//! One line of text for each event, for people.
//!
//! Owns the words and their order. Reads no clock and has no time zone: the offset of local time from UTC is an
//! argument. A client's request and the line's answer are one line, that of the line.

use std::fmt::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::line::{BusId, Cause, Record, SegmentKind, Stray, Target, Transaction};
use crate::meter::{Sample, Value};
use crate::modbus::function;
use crate::modbus::pdu::{ExceptionCode, FunctionCode, ReadRange};
use crate::modbus::write::{Written, touched};
use crate::traffic::{Message, Sender, Served, TrafficEvent, TrafficKind, UnitDirectory, UnitName};

/// The line for an event, without its end. `None` if another event's line shows the same: the request of a client, and
/// the answer it got from a unit.
///
/// `offset` is how many seconds local time is ahead of UTC at an instant.
#[must_use]
pub fn line(
    event: &TrafficEvent,
    names: &UnitDirectory,
    offset: impl Fn(SystemTime) -> i32,
) -> Option<String> {
    let at = event.begun();
    let mut text = clock(at, offset(at));
    match &event.kind {
        TrafficKind::Line { bus, record } => {
            put(&mut text, format_args!(" {:<12}", names.bus(*bus)));
            match &**record {
                Record::Transaction(transaction) => write_transaction(&mut text, *bus, transaction, names),
                Record::Stray(stray) => write_stray(&mut text, stray),
            }
        }
        TrafficKind::Client(message) => write_answer(&mut text, message, names)?,
    }
    Some(text)
}

fn write_transaction(text: &mut String, bus: BusId, transaction: &Transaction, names: &UnitDirectory) {
    let name = match transaction.target {
        Target::Unit(unit) => names.unit(bus, unit),
        Target::Broadcast => None,
    };
    match (transaction.target, name) {
        (Target::Broadcast, _) => text.push_str(" unit all"),
        (Target::Unit(_), Some(name)) => put(text, format_args!(" unit {:<3}", name.alias)),
        (Target::Unit(unit), None) => put(text, format_args!(" unit {unit:<3}")),
    }
    put(text, format_args!(" {:<22}", requester(transaction)));
    let pdu = transaction.request_pdu();
    write_request(text, pdu, name);
    put(text, format_args!(": {}", transaction.outcome));
    let ended = transaction.answer_time().map(|time| (" after", time));
    let (after, time) =
        ended.unwrap_or((" in", transaction.ended_at.saturating_duration_since(transaction.wire_end)));
    put(text, format_args!("{after} {}", milliseconds(time)));
    if transaction.attempt > 1 {
        put(text, format_args!(", attempt {}", transaction.attempt));
    }
    let parts = transaction.received.parts();
    write_values(text, pdu, transaction.answer_pdu(), name, transaction.sent_at);
    let others =
        parts.iter().filter(|part| matches!(part.kind, Some(SegmentKind::Foreign | SegmentKind::Late(_))));
    match others.count() {
        0 => {}
        1 => text.push_str(", and a frame that does not answer it"),
        count => put(text, format_args!(", and {count} frames that do not answer it")),
    }
    let noise: usize = parts.iter().filter(|part| part.kind.is_none()).map(|part| part.bytes.len()).sum();
    if noise > 0 {
        put(text, format_args!(", {noise} bytes of no frame"));
    }
}

fn requester(transaction: &Transaction) -> String {
    let own = match transaction.cause {
        Cause::Client => None,
        Cause::Background => Some("poll"),
        Cause::Probe => Some("probe"),
        Cause::EchoCheck => Some("echo check"),
    };
    let client = transaction.source.as_ref().map(|source| source.address.to_string());
    let first = own.map(str::to_owned).or(client).unwrap_or_else(|| String::from("nobody"));
    let others = if own.is_some() { transaction.clients } else { transaction.clients.saturating_sub(1) };
    if others > 0 { format!("{first} (+{others})") } else { first }
}

fn write_stray(text: &mut String, stray: &Stray) {
    for (index, part) in stray.received.parts().iter().enumerate() {
        text.push_str(if index == 0 { " " } else { ", " });
        let head = stray.framing.unit_of(part.bytes).unwrap_or_default();
        match part.kind {
            Some(SegmentKind::Late(unit)) => put(text, format_args!("a late answer of line unit {unit}")),
            Some(SegmentKind::Foreign) => {
                put(text, format_args!("a frame of line unit {head} that answers nothing asked"));
            }
            Some(SegmentKind::Echo) => text.push_str("an echo"),
            Some(SegmentKind::Answer) => text.push_str("an answer"),
            None => {
                put(text, format_args!("{} bytes of no frame", stray.received.total.min(part.bytes.len())))
            }
        }
    }
    if stray.received.is_cut() {
        put(text, format_args!("; {} bytes in all", stray.received.total));
    }
}

/// Writes an answer that a client got without use of a line.
fn write_answer(text: &mut String, message: &Message, names: &UnitDirectory) -> Option<()> {
    let Sender::Gateway { served, asked: pdu, since } = &message.sender else { return None };
    let grounds = match served {
        Served::Unit | Served::Acknowledged => return None,
        Served::Snapshot => "from the snapshot",
        Served::Diagnostics => "by the diagnostics unit",
        Served::Refused => "by the gateway",
    };
    let name = names.of_alias(message.adu.unit);
    put(
        text,
        format_args!(
            " {:<12} unit {:<3} {:<22}",
            "-",
            message.adu.unit,
            message.link.client.client_address().to_string()
        ),
    );
    write_request(text, pdu, name);
    let answer = &message.adu.pdu;
    match answer[..] {
        [function, code] if function & 0x80 != 0 => {
            put(text, format_args!(": exception {} {grounds}", ExceptionCode(code)));
        }
        _ => {
            put(text, format_args!(": answered {grounds} after"));
            put(text, format_args!(" {}", milliseconds(message.at.saturating_duration_since(*since))));
            write_values(text, pdu, answer, name, *since);
        }
    }
    Some(())
}

/// The function, the registers by their printed numbers, and the points in them.
fn write_request(text: &mut String, pdu: &[u8], name: Option<&UnitName>) {
    let code = FunctionCode(pdu.first().copied().unwrap_or_default());
    match function::name(code) {
        Some(words) => text.push_str(words),
        None => put(text, format_args!("function {code}")),
    }
    let range = touched(pdu);
    let Some(range) = range else { return };
    let first = first_register(&range, name);
    let last = first + u32::from(range.quantity).saturating_sub(1);
    if first == last {
        put(text, format_args!(" {first}"))
    } else {
        put(text, format_args!(" {first}-{last}"))
    }
    let points: Vec<&str> =
        name.map(|name| name.points(&range).map(|point| point.name.as_str()).collect()).unwrap_or_default();
    if let Some((head, rest)) =
        points.split_at_checked(POINTS_NAMED.min(points.len())).filter(|(head, _)| !head.is_empty())
    {
        put(text, format_args!(" ({}", head.join(", ")));
        text.push_str(&if rest.is_empty() {
            String::from(")")
        } else {
            format!(" and {} more)", rest.len())
        });
    }
}

/// The first values: of a read those in the answer, of a write those written.
fn write_values(text: &mut String, pdu: &[u8], answer: &[u8], name: Option<&UnitName>, at: Instant) {
    if answer.first().is_none_or(|function| function & 0x80 != 0) {
        return;
    }
    let shown = match Written::of(pdu) {
        Some(written) => written.values.iter().take(VALUES_SHOWN).map(u16::to_string).collect(),
        None => read_values(pdu, answer, name, at),
    };
    if !shown.is_empty() {
        put(text, format_args!(" = {}", shown.join(", ")));
    }
}

fn read_values(pdu: &[u8], answer: &[u8], name: Option<&UnitName>, at: Instant) -> Vec<String> {
    let Some(range) = touched(pdu) else { return Vec::new() };
    if let Some(name) = name
        && let Some(profile) = &name.profile
        && let Some(sample) = Sample::new(range, answer, at)
    {
        let readings = name.points(&range).filter_map(|point| profile.decode(point, &[sample]));
        return readings
            .take(VALUES_SHOWN)
            .map(|reading| value(&reading.value, reading.point.unit))
            .collect();
    }
    crate::modbus::write::values_of(&range, answer).iter().take(VALUES_SHOWN).map(u16::to_string).collect()
}

/// In short: `read` with the point explains why there is no number.
fn value(value: &Value<'_>, unit: Option<&str>) -> String {
    let number = match value {
        Value::Number(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Code { code, .. } => code.to_string(),
        Value::Bits { bits, .. } => return format!("0x{bits:04X}"),
        Value::Version(version) => return version.to_string(),
        Value::Text(text) => return text.clone(),
        Value::NotAvailable => return String::from("n/a"),
        Value::NotANumber { .. } => return String::from("NaN"),
        Value::Unscaled { count, .. } => return format!("{count} unscaled"),
    };
    match unit {
        Some(unit) => format!("{number} {unit}"),
        None => number,
    }
}

/// The number of the first register, as in the profile's manual; without a profile, and for bits, from 1.
pub(super) fn first_register(range: &ReadRange, name: Option<&UnitName>) -> u32 {
    let of_profile = name.and_then(|name| name.profile.as_ref()).map(|profile| profile.first_register);
    of_profile.unwrap_or(1) + u32::from(range.start)
}

fn clock(at: SystemTime, offset: i32) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or_default() + i64::from(offset);
    let (hour, minute, second) =
        (seconds.rem_euclid(86_400) / 3600, seconds.rem_euclid(3600) / 60, seconds.rem_euclid(60));
    format!("{hour:02}:{minute:02}:{second:02}.{:03}", since.subsec_millis())
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn put(text: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _never = text.write_fmt(words);
}

/// Points named on a line; how many more there are is appended.
const POINTS_NAMED: usize = 3;

/// Values shown on a line.
const VALUES_SHOWN: usize = 4;
