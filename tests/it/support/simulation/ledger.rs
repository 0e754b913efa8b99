//! What the records of the line must say: each sending once, each byte received once, in order.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use metergate::bus::record::Record;
use metergate::bus::view::View;

use super::books::{Check, check};

/// What the wire saw and no record has told yet.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    sent: VecDeque<(Bytes, Instant)>,
    received: VecDeque<u8>,
    records: u64,
    transactions: u64,
    good: u64,
}

impl Ledger {
    pub(crate) fn sent(&mut self, adu: &Bytes, at: Instant) {
        self.sent.push_back((adu.clone(), at));
    }

    pub(crate) fn received(&mut self, bytes: &[u8]) {
        self.received.extend(bytes);
    }

    /// A record is made: it tells the next sending, and the next bytes.
    pub(crate) fn record(&mut self, record: &Record, now: Instant) -> Check {
        self.records += 1;
        check(record.number() == self.records, || {
            format!("record {} after {}", record.number(), self.records - 1)
        })?;
        let received = record.received();
        check(received.total <= self.received.len(), || "a record of bytes nobody sent".into())?;
        let bytes: Vec<u8> = self.received.drain(..received.total).collect();
        check(bytes.starts_with(&received.bytes), || {
            format!("received {bytes:02X?}, recorded {received:02X?}")
        })?;
        let told: usize = received.parts().iter().map(|part| part.bytes.len()).sum();
        check(told == received.bytes.len(), || format!("parts lose bytes: {received:02X?}"))?;
        let Record::Transaction(transaction) = record else {
            return check(received.total > 0, || "a record of nothing".into());
        };
        self.transactions += 1;
        self.good += u64::from(transaction.outcome.is_good());
        let sent = self.sent.pop_front();
        check(sent == Some((transaction.request.clone(), transaction.sent_at)), || {
            format!("recorded {:02X?}, sent {sent:02X?}", transaction.request)
        })?;
        let order = transaction.sent_at <= transaction.wire_end && transaction.ended_at == now;
        check(order, || "the times of a record are not in order".into())
    }

    /// Nothing is missing, and the figures agree with the records.
    pub(crate) fn complete(&self, view: &View) -> Check {
        check(self.sent.is_empty(), || format!("sent and not recorded: {:02X?}", self.sent))?;
        check(self.received.is_empty(), || format!("received and not recorded: {:02X?}", self.received))?;
        let counters = view.counters;
        check(self.transactions == counters.transactions, || "recorded and counted differ".into())?;
        let figures = view.statistics;
        let told = figures.clients + figures.background + figures.probes + figures.failures;
        check(told == counters.busy, || format!("line time told {told:?}, used {:?}", counters.busy))?;
        let answers: u64 = view.units.iter().map(|unit| unit.statistics.answer_times.count()).sum();
        check(answers <= self.good, || "more answers than transactions".into())
    }
}
