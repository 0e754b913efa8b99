//! The last transactions of a unit with their bytes, in words.
//!
//! Owns the text for the source and the request of each, and the meaning of the bytes by the unit's profile. Records
//! are shown unchanged; `traffic::recent` decides which are kept, and for how long.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::model::{Decoded, DecodedAnswer, DecodedValue, RecordFilter, TransactionRecord};
use super::published::{Published, PublishedUnit};
use super::spans::{age, fine_millis};
use crate::line::{Cause, Outcome, Record, SegmentKind, Target, Transaction, UnitId};
use crate::meter::figure::{figure, grouped};
use crate::meter::{Group, Point, Profile, Sample, Value};
use crate::modbus::function;
use crate::modbus::pdu::{ExceptionCode, FunctionCode, ReadRange};
use crate::modbus::write::{Written, touched};

/// The last ones, the newest first.
pub(super) fn of_unit(
    published: &Published,
    unit: &PublishedUnit<'_>,
    filter: RecordFilter,
) -> Vec<TransactionRecord> {
    let wanted = |record: &Record| {
        concerns(record, unit.settings.id)
            && match filter {
                RecordFilter::All => true,
                RecordFilter::Failed => is_failed(record),
            }
    };
    let records = published.traffic.last(unit.bus.id, MOST, wanted);
    let scales = scale_records(published, unit);
    let snapshot = unit.view.into_iter().flat_map(|view| view.snapshot.reads());
    let recorded = scales.iter().filter_map(|record| read(record, unit.settings.id));
    let samples = Sample::each(snapshot.chain(recorded));
    records.iter().map(|record| model(record, unit, published, &samples)).collect()
}

/// The last reads of the exponents and ratios that values are scaled by: a transaction may be older than those the
/// snapshot keeps.
fn scale_records(published: &Published, unit: &PublishedUnit<'_>) -> Vec<Arc<Record>> {
    let scales = &unit.settings.polling.scales;
    if scales.is_empty() {
        return Vec::new();
    }
    let holds_scale = |record: &Record| {
        read(record, unit.settings.id)
            .is_some_and(|(range, ..)| scales.iter().any(|scale| range.overlaps(scale)))
    };
    published.traffic.last(unit.bus.id, MOST, holds_scale)
}

/// The range, the answer and the beginning of a read of this unit that was answered.
fn read(record: &Record, unit: UnitId) -> Option<(ReadRange, &[u8], Instant)> {
    let Record::Transaction(told) = record else { return None };
    let is_read = told.target == Target::Unit(unit) && told.outcome == Outcome::Answered;
    let range = touched(told.request_pdu()).filter(|_| is_read)?;
    Some((range, told.answer_pdu(), told.sent_at))
}

/// Whether it got no answer, or an exception.
fn is_failed(record: &Record) -> bool {
    match record {
        Record::Transaction(told) => !matches!(told.outcome, Outcome::Answered | Outcome::Sent),
        Record::Stray(_) => true,
    }
}

/// Whether a record is of this unit: sent to it, or to all, or a late answer of it.
fn concerns(record: &Record, unit: UnitId) -> bool {
    match record {
        Record::Transaction(told) => match told.target {
            Target::Unit(id) => id == unit,
            Target::Broadcast => true,
        },
        Record::Stray(stray) => {
            stray.received.segments.iter().any(|segment| segment.kind == SegmentKind::Late(unit))
        }
    }
}

fn model(
    record: &Record,
    unit: &PublishedUnit<'_>,
    published: &Published,
    samples: &[Sample<'_>],
) -> TransactionRecord {
    let profile = unit.profile.map(|known| &*known.profile);
    let first = profile.map_or(1, |profile| profile.first_register);
    let received = record.received();
    let model = TransactionRecord {
        number: record.number(),
        begun_ms: age(record.begun(), published.at),
        received: received.bytes.to_vec(),
        received_total: received.total,
        ..TransactionRecord::default()
    };
    match record {
        Record::Transaction(told) => TransactionRecord {
            cause: cause(told),
            what: what(told, first),
            outcome: told.outcome.to_string(),
            is_good: told.outcome.is_good(),
            took_ms: Some(fine_millis(told.ended_at.saturating_duration_since(told.sent_at))),
            request: told.request.to_vec(),
            decoded: decoded(told, profile, samples),
            ..model
        },
        Record::Stray(stray) => TransactionRecord {
            cause: "nobody any more".to_owned(),
            what: "a late answer".to_owned(),
            outcome: "came too late".to_owned(),
            took_ms: stray
                .received
                .first_at
                .map(|at| fine_millis(stray.ended_at.saturating_duration_since(at))),
            decoded: decoded_late(record, unit.settings.id),
            ..model
        },
    }
}

/// Its source, and the number of further ones.
fn cause(told: &Transaction) -> String {
    let (first, others) = match (told.cause, &told.source) {
        (Cause::Client, Some(source)) => {
            (format!("client {}", source.address), told.clients.saturating_sub(1))
        }
        (Cause::Client, None) => ("a client that has gone".to_owned(), told.clients),
        (Cause::Background, _) => ("polling".to_owned(), told.clients),
        (Cause::Probe, _) => ("probe".to_owned(), told.clients),
        (Cause::EchoCheck, _) => ("echo check".to_owned(), told.clients),
    };
    match others {
        0 => first,
        1 => format!("{first} and 1 client"),
        others => format!("{first} and {others} clients"),
    }
}

/// The request, with the register numbers of the profile, whose address 0 is `first`.
fn what(told: &Transaction, first: u32) -> String {
    let pdu = told.request_pdu();
    let code = FunctionCode(pdu.first().copied().unwrap_or_default());
    let name = function::name(code).map_or_else(|| format!("function {code}"), str::to_owned);
    let range = touched(pdu).map(|range| {
        let from = first + u32::from(range.start);
        match range.quantity {
            0 | 1 => format!(" {from}"),
            quantity => format!(" {from}\u{2013}{}", from + u32::from(quantity) - 1),
        }
    });
    let attempt = if told.attempt > 1 { format!(", attempt {}", told.attempt) } else { String::new() };
    let everybody = if told.target == Target::Broadcast { ", to all units" } else { "" };
    format!("{name}{}{everybody}{attempt}", range.unwrap_or_default())
}

/// The code of a function and its name.
fn function_words(code: FunctionCode) -> String {
    function::name(code).map_or_else(|| code.to_string(), |name| format!("{code} {name}"))
}

fn decoded(told: &Transaction, profile: Option<&Profile>, samples: &[Sample<'_>]) -> Decoded {
    let pdu = told.request_pdu();
    let code = FunctionCode(pdu.first().copied().unwrap_or_default());
    let range = touched(pdu);
    let written = Written::of(pdu).map(|written| {
        let data: Vec<u8> = written.values.iter().flat_map(|word| word.to_be_bytes()).collect();
        let is_registers = written.range.function == FunctionCode::READ_HOLDING_REGISTERS && !written.masked;
        let reply =
            [&[written.range.function.0, u8::try_from(data.len()).unwrap_or(u8::MAX)], &data[..]].concat();
        if is_registers {
            registers(written.range, &reply, told.sent_at, profile, samples)
        } else {
            let first = profile.map_or(1, |profile| profile.first_register) + u32::from(written.range.start);
            numbered(first, written.values.into_iter())
        }
    });
    let answer = told.answer_pdu();
    Decoded {
        unit: told.framing.unit_of(&told.request),
        function: function_words(code),
        range: range.map(|range| {
            (profile.map_or(1, |profile| profile.first_register) + u32::from(range.start), range.quantity)
        }),
        answer: match (answer, range) {
            ([], _) => DecodedAnswer::Nothing,
            ([function, exception, ..], _) if function & 0x80 != 0 => {
                DecodedAnswer::Exception(ExceptionCode(*exception).to_string())
            }
            (reply, Some(range)) if range.function == code => {
                DecodedAnswer::Values(registers(range, reply, told.sent_at, profile, samples))
            }
            (_, _) if written.is_some() && told.outcome == Outcome::Answered => DecodedAnswer::Confirmed,
            (_, _) => DecodedAnswer::Nothing,
        },
        written: written.unwrap_or_default(),
    }
}

/// The fields of an answer that is no longer awaited.
fn decoded_late(record: &Record, unit: UnitId) -> Decoded {
    let parts = record.received().parts();
    let late = parts.iter().find(|part| part.kind == Some(SegmentKind::Late(unit)));
    match late.map(|part| record.framing().pdu_of(part.bytes)).unwrap_or_default() {
        [function, exception, ..] if function & 0x80 != 0 => Decoded {
            unit: Some(unit.get()),
            function: function_words(FunctionCode(function & 0x7F)),
            answer: DecodedAnswer::Exception(ExceptionCode(*exception).to_string()),
            ..Decoded::default()
        },
        [function, ..] => Decoded {
            unit: Some(unit.get()),
            function: function_words(FunctionCode(*function)),
            ..Decoded::default()
        },
        [] => Decoded::default(),
    }
}

/// The points in a reply to a read; registers without a point by their number.
fn registers(
    range: ReadRange,
    reply: &[u8],
    asked_at: Instant,
    profile: Option<&Profile>,
    samples: &[Sample<'_>],
) -> Vec<DecodedValue> {
    let first = profile.map_or(1, |profile| profile.first_register) + u32::from(range.start);
    let data = reply.get(2..).unwrap_or_default();
    if !matches!(range.function, FunctionCode::READ_HOLDING_REGISTERS | FunctionCode::READ_INPUT_REGISTERS) {
        let bits = data.iter().flat_map(|byte| (0..8).map(move |bit| u16::from(byte >> bit & 1)));
        return numbered(first, bits.take(usize::from(range.quantity)));
    }
    let words = || data.chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]]));
    let (Some(profile), Some(sample)) = (profile, Sample::new(range, reply, asked_at)) else {
        return numbered(first, words());
    };
    let is_held = |point: &&Point| range.covers(&profile.range_in(point, range.function));
    let mut named = BTreeSet::new();
    let mut values = Vec::new();
    for point in profile.points.iter().filter(is_held) {
        named.extend(point.register..point.register + u32::from(point.range.quantity));
        let Some(reading) = profile.decode_in(point, &sample, samples) else { continue };
        if point.group != Group::Reserved {
            values.push(DecodedValue { name: point.name.clone(), value: words_of(point, &reading.value) });
        }
    }
    let unnamed = (first..).zip(words()).filter(|(number, _)| !named.contains(number));
    values.extend(unnamed.map(|(number, word)| numbered_one(number, word)));
    values
}

fn numbered(first: u32, words: impl Iterator<Item = u16>) -> Vec<DecodedValue> {
    (first..).zip(words).map(|(number, word)| numbered_one(number, word)).collect()
}

fn numbered_one(number: u32, word: u16) -> DecodedValue {
    DecodedValue { name: number.to_string(), value: grouped(&word.to_string()) }
}

/// A value with its unit, as people read it.
fn words_of(point: &Point, value: &Value<'_>) -> String {
    if let Some(figure) = figure(value, point.group) {
        return match point.unit.filter(|unit| !matches!(*unit, "ratio" | "count")) {
            Some(unit) => format!("{figure}\u{a0}{unit}"),
            None => figure,
        };
    }
    match value {
        Value::Code { code, means } => format!("{code}: {means}"),
        Value::Bits { bits: 0, .. } => "none".to_owned(),
        Value::Bits { bits, set } if set.is_empty() => format!("0x{bits:04X}"),
        Value::Bits { set, .. } => set.iter().map(|bit| bit.means.as_str()).collect::<Vec<_>>().join(", "),
        Value::Version(version) => version.to_string(),
        Value::Text(text) => text.clone(),
        Value::NotAvailable => "not available".to_owned(),
        Value::NotANumber { .. } => "not a number".to_owned(),
        Value::Unscaled { count, .. } => format!("{count} steps, their scale not known"),
        Value::Number(_) | Value::Float(_) | Value::Double(_) => String::new(),
    }
}

/// Transactions on a page.
const MOST: usize = 40;
