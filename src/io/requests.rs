//! One request of a client: judged, answered from what is known, refused, or sent on its way to a bus.
//!
//! The second part of a `Connection`. It waits for nothing and keeps nothing but the entry of the request in
//! the connection's table.
//! Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b, chapter 4.4.2.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tracing::{debug, info, trace};

use super::audit::{Outcome, PendingWrite};
use super::connection::{Connection, Outgoing};
use super::exchange::{Asked, Header, Purpose};
use super::handle::{BusHandle, ReplySender};
use super::routes::{ListenerState, Refusal, Routed};
use super::traffic::Served;
use crate::bus::diagnostics;
use crate::bus::request::{ListenerId, Request, Source, Target};
use crate::bus::settings::UnitId;
use crate::modbus::mbap::Adu;
use crate::modbus::pdu::{ExceptionCode, RequestPdu, is_read};

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Connection<R, W> {
    pub(super) fn handle_request(&mut self, adu: Adu, listening: &ListenerState, now: Instant) {
        // Also when it is answered before anybody looks.
        self.idle_since = None;
        if !listening.admits(self.client.link.client.ip().to_canonical()) {
            self.log_closing(now, "its address is no longer in `allow`");
            return self.drain();
        }
        let header = Header::of(&adu);
        self.counted.note_request(now.into_std());
        trace!(unit = header.unit, function = %header.function, transaction = header.transaction_id, "request");
        match listening.route(adu.unit, adu.pdu) {
            Routed::Refused { refusal, pdu } => {
                self.hint(refusal, listening, header, now);
                self.refuse(listening, header, pdu, refusal.code(), now);
            }
            Routed::Diagnostics(pdu) => {
                match diagnostics::answer(&listening.picture(), &pdu, now.into_std()) {
                    Ok(reply) => {
                        self.exchange.reply(header, reply, Served::Diagnostics, pdu.bytes(), now);
                    }
                    Err(code) => self.refuse(listening, header, pdu.bytes().clone(), code, now),
                }
            }
            Routed::Unit { bus, unit, pdu } => {
                // Who has not waited for the answer to his own write is given what the unit holds after it.
                let behind = self.exchange.writes_to(header.unit);
                if let Some(reply) = self.answer_from_snapshot(listening, bus, unit, &pdu, behind, now) {
                    return self.exchange.reply(header, reply, Served::Snapshot, pdu.bytes(), now);
                }
                let key = self.open(listening, header, Purpose::Unit(None), 1, pdu.bytes(), now);
                self.send(bus, key, Target::Unit(unit), pdu, listening, now);
            }
            Routed::Broadcast { buses, pdu, acknowledge } => {
                let purpose = if acknowledge {
                    Purpose::AcknowledgedBroadcast(pdu.acknowledgement())
                } else {
                    Purpose::SilentBroadcast
                };
                let key = self.open(listening, header, purpose, buses.len(), pdu.bytes(), now);
                for bus in buses {
                    self.send(bus, key, Target::Broadcast, pdu.clone(), listening, now);
                }
            }
        }
    }

    /// Opens a request that so many buses answer.
    fn open(
        &mut self,
        listening: &ListenerState,
        header: Header,
        purpose: Purpose,
        buses: usize,
        pdu: &Bytes,
        now: Instant,
    ) -> u64 {
        let deadline = listening.settings.request_deadline;
        let write = self.ticket(listening, header, pdu, now);
        let asked = Asked { pdu: pdu.clone(), at: now };
        self.exchange.open(header, purpose, buses, deadline, asked, write)
    }

    /// Refuses what no line has heard of.
    fn refuse(
        &mut self,
        listening: &ListenerState,
        header: Header,
        pdu: Bytes,
        code: ExceptionCode,
        now: Instant,
    ) {
        if let Some(ticket) = self.ticket(listening, header, &pdu, now) {
            // One line of the log a refused write is what any stranger can cause; the file has them all.
            let is_quiet = self.client.log_limiter.permit(now).is_none();
            ticket.finish(Outcome::Refused(code), is_quiet);
        }
        self.exchange.refuse(header, code, Asked { pdu, at: now });
    }

    /// What is recorded of a write.
    fn ticket(
        &self,
        listening: &ListenerState,
        header: Header,
        pdu: &Bytes,
        now: Instant,
    ) -> Option<PendingWrite> {
        let addressed = || listening.addressed(header.unit);
        let (audit, now) = (&listening.audit, now.into_std());
        (!is_read(pdu)).then(|| PendingWrite::new(audit, *self.client.link, &addressed(), pdu.clone(), now))
    }

    /// The reply to a read from data this listener's clients may be given, without the bus task. Nothing for one
    /// that goes `behind` something.
    fn answer_from_snapshot(
        &self,
        listening: &ListenerState,
        bus: &BusHandle,
        unit: UnitId,
        pdu: &RequestPdu,
        behind: bool,
        now: Instant,
    ) -> Option<Bytes> {
        let max_age = listening.settings.max_age;
        let range = pdu.range().filter(|_| !max_age.is_zero())?;
        let at_hand = || bus.answer_from_snapshot(unit, &range, max_age, now.into_std());
        let reply = if behind { None } else { at_hand() };
        self.counted.note_lookup(reply.is_some());
        reply
    }

    /// Lays a request out for its bus; the next rounds of the loop hand it over.
    fn send(
        &mut self,
        bus: &BusHandle,
        key: u64,
        target: Target,
        pdu: RequestPdu,
        listening: &ListenerState,
        now: Instant,
    ) {
        let link = &self.client.link;
        let allowed = listening.settings.request_deadline;
        let deadline = now + allowed - DEADLINE_MARGIN.min(allowed / 4);
        let request = Request {
            to: ReplySender::new(&self.back, key),
            source: Source { address: link.client.ip().to_canonical(), connection: link.connection },
            target,
            pdu,
            deadline: deadline.into_std(),
            max_age: listening.settings.max_age,
            listener: ListenerId::default(),
        };
        self.outgoing.push_back(Outgoing { key, bus: bus.clone(), request });
    }

    /// Once per connection, tells the integrator about a unit identifier that leads nowhere.
    fn hint(&mut self, refusal: Refusal, listening: &ListenerState, header: Header, now: Instant) {
        let Header { unit, function, .. } = header;
        debug!(unit, %function, code = %refusal.code(), "refused");
        if refusal == Refusal::WriteDenied
            && let Some(held_back) = self.client.log_limiter.permit(now)
        {
            info!(unit, %function, held_back, "write refused: this listener has `writes: deny`");
        }
        if let Some(hint) = refusal.hint(unit).filter(|_| !self.hinted) {
            self.hinted = true;
            if let Some(held_back) = self.client.log_limiter.permit(now) {
                info!(unit, %function, configured = %listening.routes, held_back, "{hint}");
            }
        }
    }
}

/// The deadline a bus is given is earlier by this, so that its answer is out in time even if it is a refusal
/// that is held back for [`REFUSAL_DELAY`](super::exchange::REFUSAL_DELAY). At most a quarter of the deadline.
pub const DEADLINE_MARGIN: Duration = Duration::from_millis(25);
