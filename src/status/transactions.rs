//! The last transactions of a unit with their bytes, in words.
//!
//! Owns the words for who wanted one and what was asked. What was recorded is shown as it was; which records are kept,
//! and for how long, is decided in `traffic::recent`.

use super::model::TransactionRecord;
use super::published::{Published, PublishedUnit};
use super::spans::{age, fine_millis};
use crate::line::{Cause, Record, SegmentKind, Target, Transaction, UnitId};
use crate::modbus::function;
use crate::modbus::pdu::FunctionCode;
use crate::modbus::write::touched;

/// The last ones, the newest first.
pub(super) fn of_unit(published: &Published, unit: &PublishedUnit<'_>) -> Vec<TransactionRecord> {
    let records = published.traffic.last(unit.bus.name(), MOST, |record| concerns(record, unit.settings.id));
    let first = unit.profile.map_or(1, |known| known.profile.first_register);
    records.iter().map(|record| model(record, first, published)).collect()
}

/// Whether a record is of this unit: sent to it, or to all, or said by it too late.
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

fn model(record: &Record, first: u32, published: &Published) -> TransactionRecord {
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
            ..model
        },
    }
}

/// Who wanted it, and how many with them.
fn cause(told: &Transaction) -> String {
    let (first, others) = match (told.cause, told.source) {
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

/// What was asked, its registers by the numbers of the profile, whose address 0 is `first`.
fn what(told: &Transaction, first: u32) -> String {
    let pdu = told.request.get(1..told.request.len().saturating_sub(2)).unwrap_or_default();
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

/// Transactions on a page.
const MOST: usize = 40;
