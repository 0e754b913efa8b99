//! What the records of the line must say: each sending once, each byte received once, in order.

use std::collections::{BTreeMap, VecDeque};
use std::ops::AddAssign;
use std::time::{Duration, Instant};

use bytes::Bytes;

use metergate::line::{Outcome, Record, SegmentKind, Target, Transaction, View};

use super::invariants::{Check, check};

/// What the wire saw and no record has told yet.
#[derive(Debug, Default)]
pub(crate) struct RecordLog {
    sent: VecDeque<(Bytes, Instant)>,
    received: VecDeque<u8>,
    records: u64,
    transactions: u64,
    good: u64,
    /// When each unit last left a request unanswered whose answer may still come.
    unanswered: BTreeMap<Target, Instant>,
    limited: LimitedAnswers,
}

/// What became of intact answers to writes that had the right address and another value or quantity.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LimitedAnswers {
    pub(crate) passed_on: u64,
    pub(crate) not_believed: u64,
}

impl AddAssign for LimitedAnswers {
    fn add_assign(&mut self, other: Self) {
        self.passed_on += other.passed_on;
        self.not_believed += other.not_believed;
    }
}

impl RecordLog {
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
        check(received.total <= self.received.len(), || "a record of bytes that were never sent".into())?;
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
        check(order, || "the times of a record are not in order".into())?;
        self.limited(transaction)
    }

    /// A limited answer is passed on only of a unit that has left nothing unanswered lately.
    fn limited(&mut self, transaction: &Transaction) -> Check {
        let target = transaction.target;
        let parts = transaction.received.parts();
        for part in parts.iter().filter(|part| is_limited(&transaction.request, part.bytes)) {
            match part.kind {
                Some(SegmentKind::Answer) => {
                    self.limited.passed_on += 1;
                    let last = self.unanswered.get(&target);
                    let is_prompt = last.is_none_or(|last| transaction.sent_at >= *last + PROMPT_AFTER);
                    check(is_prompt, || {
                        format!("a limited write was believed of a unit that may be late: {transaction:02X?}")
                    })?;
                }
                Some(SegmentKind::Foreign) => self.limited.not_believed += 1,
                Some(SegmentKind::Echo | SegmentKind::Late(_)) | None => {}
            }
        }
        let may_come = matches!(
            transaction.outcome,
            Outcome::Silent | Outcome::Truncated | Outcome::PortLost | Outcome::Occupied
        );
        if may_come {
            self.unanswered.insert(target, transaction.ended_at);
        }
        Ok(())
    }

    pub(crate) fn limited_answers(&self) -> LimitedAnswers {
        self.limited
    }

    /// A new process begins.
    pub(crate) fn restart(&mut self) {
        *self = Self { limited: self.limited, ..Self::default() };
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

/// Whether the frame answers a write with the right address and another value or quantity.
fn is_limited(request: &[u8], frame: &[u8]) -> bool {
    let is_write = matches!(request[1], 0x05 | 0x06 | 0x0F | 0x10);
    is_write && frame.len() == 8 && frame[..4] == request[..4] && frame[4..6] != request[4..6]
}

/// How long after it left something unanswered a unit may be late.
const PROMPT_AFTER: Duration = Duration::from_secs(5);
