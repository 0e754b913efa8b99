//! Every write, allowed or refused: time, client, request, values before and after, and outcome.
//!
//! Owns the record of a write, in the log and as a line of JSON; a broadcast has one for each bus. It decides nothing
//! about writes, and no write waits for it: another thread writes the file ([`AuditLog`]).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use serde::Serialize;
use tracing::info;

use crate::audit::audit_log::AuditLog;
use crate::audit::write_counter::WriteCounter;
use crate::endpoint::Endpoint;
use crate::line::{Answer, BusId, UnitId};
use crate::modbus::hex::Hex;
use crate::modbus::pdu::{EXCEPTION_BIT, ExceptionCode, FunctionCode, acknowledgement};
use crate::modbus::write::{Written, values_of};
use crate::runtime::timestamp::utc;
use crate::runtime::{LogKind, LogRateLimiter};
use crate::serial::BusHandle;
use crate::traffic::{Link, UnitDirectory};

/// The audit of writes, with the names of the units.
#[derive(Debug, Default)]
pub struct Audit {
    names: Arc<UnitDirectory>,
    audit_log: Option<Arc<AuditLog>>,
    counter: Arc<WriteCounter>,
    /// Limits lines of the log; the file has every write.
    log_limiter: LogRateLimiter,
}

impl Audit {
    /// To the log, and to `audit_log` if there is one; `counter` counts them.
    #[must_use]
    pub fn new(
        names: Arc<UnitDirectory>,
        audit_log: Option<Arc<AuditLog>>,
        counter: Arc<WriteCounter>,
    ) -> Self {
        Self { names, audit_log, counter, log_limiter: LogRateLimiter::new() }
    }
}

/// The addressee of a write.
#[derive(Debug)]
pub(crate) struct Addressed<'a> {
    /// As the client addressed it.
    pub(crate) unit: u8,
    /// The unit on its line; none for a broadcast, and if the identifier is unknown.
    pub(crate) on_line: Option<UnitId>,
    /// Its bus; all buses of a broadcast that is refused, one of them of a broadcast that is sent.
    pub(crate) buses: &'a [BusHandle],
}

/// A write whose outcome is pending. It is recorded once: with its outcome, or as unknown when it is dropped.
#[derive(Debug)]
pub(crate) struct PendingWrite {
    audit: Arc<Audit>,
    write: Box<Attempted>,
    is_recorded: bool,
}

/// The outcome of a write (docs/traffic.md).
#[derive(Clone, Debug, PartialEq, Eq)]
enum WriteOutcome {
    /// The unit acknowledged it.
    Answered,
    /// The unit acknowledged the right address with another value or quantity, in this reply: the device limited it.
    AnsweredWithAnotherValue(Bytes),
    /// The unit's own exception.
    RefusedByUnit(ExceptionCode),
    /// No byte of it was sent on a line.
    NeverSent(ExceptionCode),
    /// No byte of it was sent on a line, because the client was gone before its turn.
    ClientLeft,
    /// No byte of it was sent on a line, because the client of a listener for RTU sent its next request before its turn.
    ClientGaveUp,
    /// It was sent and got no valid answer, or its fate is unknown.
    Unknown(Option<ExceptionCode>),
    /// A broadcast, sent on this bus; no unit answers it.
    Broadcast,
}

#[derive(Debug)]
struct Attempted {
    time: SystemTime,
    since: Instant,
    link: Arc<Link>,
    unit: u8,
    /// The unit on its line, and which bus that is.
    on_line: Option<(BusId, UnitId)>,
    /// The names of the buses at the time of the request.
    buses: Vec<String>,
    pdu: Bytes,
    /// The values before it, if the snapshot had them, and their age.
    old: Option<(Vec<u16>, Duration)>,
    withdrawal: Option<Withdrawal>,
}

/// Why a client does not wait for the answer any more.
#[derive(Clone, Copy, Debug)]
enum Withdrawal {
    Left,
    GaveUp,
}

impl PendingWrite {
    /// Notes an incoming write, with the values it will replace.
    pub(crate) fn new(
        audit: &Arc<Audit>,
        link: &Arc<Link>,
        to: &Addressed<'_>,
        pdu: Bytes,
        now: Instant,
    ) -> Self {
        let write = Box::new(Attempted {
            time: SystemTime::now(),
            since: now,
            link: Arc::clone(link),
            unit: to.unit,
            on_line: to.buses.first().map(BusHandle::id).zip(to.on_line),
            buses: to.buses.iter().map(|bus| bus.name().to_owned()).collect(),
            old: old_values(to, &pdu, now),
            pdu,
            withdrawal: None,
        });
        Self { audit: Arc::clone(audit), write, is_recorded: false }
    }

    /// The client is gone: if the write is dropped unsent, that is the reason.
    pub(crate) fn note_client_left(&mut self) {
        self.write.withdrawal = Some(Withdrawal::Left);
    }

    /// The client sent its next request: if the write is dropped unsent, that is the reason.
    pub(crate) fn note_client_gave_up(&mut self) {
        self.write.withdrawal = Some(Withdrawal::GaveUp);
    }

    /// Records the answer of its bus.
    pub(crate) fn finish(mut self, answer: &Answer) {
        let outcome = self.write.outcome(answer);
        self.record(&outcome, LogKind::Write);
    }

    /// Records a refusal before any bus, which any client can cause: the log has few of them.
    pub(crate) fn refuse(mut self, code: ExceptionCode) {
        self.record(&WriteOutcome::NeverSent(code), LogKind::RefusedWrite);
    }

    fn record(&mut self, outcome: &WriteOutcome, kind: LogKind) {
        self.is_recorded = true;
        let refused = u64::from(matches!(outcome, WriteOutcome::NeverSent(_)));
        self.audit.counter.note(self.write.link.client.client_address(), refused);
        let names = &self.audit.names;
        if let Some(held_back) = self.audit.log_limiter.permit(kind, tokio::time::Instant::now()) {
            self.write.log(names, outcome, held_back);
        }
        if let Some(audit_log) = &self.audit.audit_log {
            audit_log.append(self.write.to_json(names, outcome));
        }
    }
}

impl Drop for PendingWrite {
    fn drop(&mut self) {
        if !self.is_recorded {
            self.record(&WriteOutcome::Unknown(None), LogKind::Write);
        }
    }
}

impl WriteOutcome {
    /// A stable word for the outcome.
    fn word(&self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::AnsweredWithAnotherValue(_) => "answered with another value",
            Self::RefusedByUnit(_) => "refused by the unit",
            Self::NeverSent(_) => "refused here, never sent",
            Self::ClientLeft => "client left, never sent",
            Self::ClientGaveUp => "client gave up, never sent",
            Self::Unknown(_) => "sent, no valid answer: unknown",
            Self::Broadcast => "sent to all units",
        }
    }

    fn exception(&self) -> Option<ExceptionCode> {
        match self {
            Self::RefusedByUnit(code) | Self::NeverSent(code) => Some(*code),
            Self::Unknown(code) => *code,
            Self::Answered
            | Self::AnsweredWithAnotherValue(_)
            | Self::ClientLeft
            | Self::ClientGaveUp
            | Self::Broadcast => None,
        }
    }

    /// The reply with another value than was written.
    fn other_value(&self) -> Option<&Bytes> {
        match self {
            Self::AnsweredWithAnotherValue(reply) => Some(reply),
            Self::Answered
            | Self::RefusedByUnit(_)
            | Self::NeverSent(_)
            | Self::ClientLeft
            | Self::ClientGaveUp
            | Self::Unknown(_)
            | Self::Broadcast => None,
        }
    }
}

impl fmt::Display for WriteOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match (self.exception(), self.other_value()) {
            (Some(code), _) => write!(f, " ({code})"),
            (None, Some(reply)) => write!(f, " ({})", Hex(reply)),
            (None, None) => Ok(()),
        }
    }
}

impl Attempted {
    fn function(&self) -> FunctionCode {
        FunctionCode(self.pdu.first().copied().unwrap_or_default())
    }

    /// The outcome of this write by the answer of its bus.
    fn outcome(&self, answer: &Answer) -> WriteOutcome {
        match answer {
            Answer::Reply(reply) => match reply[..] {
                [function, code] if function & EXCEPTION_BIT != 0 => {
                    WriteOutcome::RefusedByUnit(ExceptionCode(code))
                }
                _ if acknowledgement(&self.pdu).is_some_and(|wanted| wanted != &reply[..]) => {
                    WriteOutcome::AnsweredWithAnotherValue(reply.clone())
                }
                _ => WriteOutcome::Answered,
            },
            Answer::Unreached(reply) => WriteOutcome::Unknown(reply.get(1).copied().map(ExceptionCode)),
            Answer::Sent => WriteOutcome::Broadcast,
            Answer::NotSent(code) | Answer::Refused(code) => match self.withdrawal {
                Some(Withdrawal::Left) => WriteOutcome::ClientLeft,
                Some(Withdrawal::GaveUp) => WriteOutcome::ClientGaveUp,
                None => WriteOutcome::NeverSent(*code),
            },
            Answer::NoAnswer(code) => WriteOutcome::Unknown(Some(*code)),
        }
    }

    fn log(&self, names: &UnitDirectory, outcome: &WriteOutcome, held_back: u64) {
        let (unit, function, pdu) = (self.unit, self.function(), Hex(&self.pdu).to_string());
        let (client, bus) = (&self.link.client, self.buses.join(", "));
        let points = self.points(names).join(" ");
        let old = self.old.as_ref().map(|(old, age)| format!("{old:?}, {:.1} s old", age.as_secs_f64()));
        let old = old.unwrap_or_else(|| String::from("not known"));
        let identity = self.link.identity.as_deref();
        let role = identity.and_then(|identity| identity.role.as_deref().ok());
        let certificate = identity.map(|identity| identity.subject.as_str());
        // Usually zero.
        let held_back = (held_back > 0).then_some(held_back);
        info!(%client, bus, unit, %function, points, old, role, certificate, pdu, held_back, "write: {outcome}");
    }

    /// One line of JSON. All keys are always present; unknown values are null.
    fn to_json(&self, names: &UnitDirectory, outcome: &WriteOutcome) -> String {
        let written = Written::of(&self.pdu);
        let range = written.as_ref().map(|written| written.range);
        let name = self.on_line.and_then(|(bus, unit)| names.unit(bus, unit));
        let first = name.and_then(|name| name.profile.as_ref()).map_or(1, |profile| profile.first_register);
        let register = range.map(|range| u64::from(first) + u64::from(range.start));
        let (masks, new) = match &written {
            Some(written) if written.masked => (Some(written.values.as_slice()), None),
            Some(written) => (None, Some(written.values.as_slice())),
            None => (None, None),
        };
        let identity = self.link.identity.as_deref();
        let line = AuditLine {
            time: utc(self.time),
            client: &self.link.client,
            listener: &self.link.listener,
            buses: &self.buses,
            unit: self.unit,
            line_unit: self.on_line.map(|(_, unit)| unit.get()),
            name: name.and_then(|name| name.name.as_deref()),
            function: self.function().to_string(),
            register,
            quantity: range.map(|range| range.quantity),
            points: self.points(names),
            old: self.old.as_ref().map(|(values, _)| values.as_slice()),
            old_age_ms: self.old.as_ref().map(|(_, age)| millis(*age)),
            new,
            masks,
            role: identity.and_then(|identity| identity.role.as_deref().ok()),
            certificate: identity.map(|identity| identity.subject.as_str()),
            pdu: Hex(&self.pdu).to_string(),
            outcome: outcome.word(),
            reply: outcome.other_value().map(|reply| Hex(reply).to_string()),
            exception: outcome.exception().map(|code| code.0),
            exception_name: outcome.exception().map(ExceptionCode::name),
            took_ms: millis(self.since.elapsed()),
        };
        serde_json::to_string(&line).expect("a struct of plain values")
    }

    fn points(&self, names: &UnitDirectory) -> Vec<String> {
        let name = self.on_line.and_then(|(bus, unit)| names.unit(bus, unit));
        let (Some(name), Some(written)) = (name, Written::of(&self.pdu)) else { return Vec::new() };
        name.points(&written.range).map(|point| point.name.clone()).collect()
    }
}

/// A line of the file. All fields are always present, and explained in `docs/traffic.md`; unknown values are null.
#[derive(Serialize)]
struct AuditLine<'a> {
    time: String,
    client: &'a Endpoint,
    listener: &'a Endpoint,
    buses: &'a [String],
    unit: u8,
    line_unit: Option<u8>,
    name: Option<&'a str>,
    function: String,
    register: Option<u64>,
    quantity: Option<u16>,
    points: Vec<String>,
    old: Option<&'a [u16]>,
    old_age_ms: Option<u64>,
    new: Option<&'a [u16]>,
    masks: Option<&'a [u16]>,
    role: Option<&'a str>,
    certificate: Option<&'a str>,
    pdu: String,
    outcome: &'static str,
    reply: Option<String>,
    exception: Option<u8>,
    exception_name: Option<&'static str>,
    took_ms: u64,
}

fn old_values(to: &Addressed<'_>, pdu: &[u8], now: Instant) -> Option<(Vec<u16>, Duration)> {
    let range = Written::of(pdu)?.range;
    let view = to.buses.first()?.view().load();
    let (reply, begun) = view.unit(to.on_line?)?.snapshot.peek(&range)?;
    Some((values_of(&range, &reply), now.saturating_duration_since(begun)))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
