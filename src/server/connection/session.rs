//! The requests of one client: routed, answered from the snapshot, refused, or sent to a bus; and their replies.
//!
//! It never reads or writes a socket and waits for nothing; `now` is an argument.
//! Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b, chapter 4.4.2.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;
use tracing::{debug, info, trace, warn};

use super::ClientContext;
use super::handover::Handover;
use super::in_flight::{Header, Ready, RequestTable, TimedRequest};
use super::replies::ReplyBuffer;
use crate::audit::{Addressed, PendingWrite};
use crate::endpoint::Endpoint;
use crate::line::{Answer, Now, Request, Source, Target, UnitId, diagnostics};
use crate::modbus::AduFraming;
use crate::modbus::mbap::Adu;
use crate::modbus::pdu::{EXCEPTION_BIT, ExceptionCode, FunctionCode, RequestPdu};
use crate::modbus::rtu;
use crate::runtime::LogKind;
use crate::serial::{BusHandle, ReplyChannel, ReplyReceiver, ReplySender, clock};
use crate::server::listener_metrics::Connected;
use crate::server::routes::{ListenerState, Refusal, Routed};
use crate::server::rules::Requester;
use crate::traffic::{Link, Message, Sender, Served, Traffic};

/// See the module.
#[derive(Debug)]
pub(super) struct Session {
    client: ClientContext,
    metrics: Arc<Connected>,
    traffic: Arc<Traffic>,
    channel: Arc<ReplyChannel>,
    in_flight: RequestTable,
    handover: Handover,
    replies: ReplyBuffer,
    /// At a serial port: the reply that waits to be sent. Most are not, if the client's patience is short.
    unsent: Option<UnsentReply>,
    /// One hint per connection is enough.
    has_hinted: bool,
    /// Whether the client is a bus of this gateway; `None` before the first request, which a bus sends only once its
    /// connection is known.
    is_own_bus: Option<bool>,
    /// The last one of a request that has none of its own.
    transaction_id: u16,
    /// Requests received, and how many of them the snapshot answered, not counted yet.
    came: u64,
    found: u64,
}

/// A reply that becomes part of traffic and counters only if it is sent.
#[derive(Debug)]
struct UnsentReply {
    sender: Sender,
    adu: Adu,
    visibility: Visibility,
}

/// Who sees a reply in the traffic.
#[derive(Clone, Copy, Debug)]
enum Visibility {
    /// Everybody, also later.
    Kept,
    /// Present followers: it used no line.
    Passing,
    /// Nobody: too many use no line.
    Hidden,
}

impl Session {
    /// A session, and the receiver of the buses' answers.
    pub(super) fn new(client: ClientContext, now: Instant) -> (Self, ReplyReceiver) {
        let (channel, receiver) = ReplyChannel::new();
        let state = client.listener.load();
        let (listener, traffic) = (Arc::clone(&state.metrics), Arc::clone(&state.traffic));
        drop(state);
        let session = Self {
            metrics: Arc::new(listener.connected(client.link.client.clone(), now.into_std())),
            client,
            traffic,
            channel,
            in_flight: RequestTable::default(),
            handover: Handover::default(),
            replies: ReplyBuffer::default(),
            unsent: None,
            has_hinted: false,
            is_own_bus: None,
            transaction_id: 0,
            came: 0,
            found: 0,
        };
        (session, receiver)
    }

    /// Requests in flight, including those whose reply the kernel has not accepted yet.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len() + self.replies.len()
    }

    /// Whether answers of buses may still come.
    pub(super) fn awaits_answers(&self) -> bool {
        self.in_flight.awaits_answers()
    }

    /// Whether the outcome of a write is still to be recorded, even if the client is gone.
    pub(super) fn has_late_writes(&self) -> bool {
        self.in_flight.has_late_writes()
    }

    /// The bytes of replies not sent yet, and the requests not sent to their buses yet.
    pub(super) fn outputs(&mut self) -> (&[u8], &mut Handover) {
        (self.replies.bytes(), &mut self.handover)
    }

    /// Since when the oldest reply has been waiting for the client to read.
    pub(super) fn unsent_since(&self) -> Option<Instant> {
        self.replies.unsent_since()
    }

    /// The kernel accepted `count` bytes of replies.
    pub(super) fn handle_written(&mut self, count: usize) {
        self.replies.handle_written(count);
    }

    /// The reply at a serial port is being sent.
    pub(super) fn handle_transmitted(&mut self, now: Instant) {
        if let Some(reply) = self.unsent.take() {
            self.note_reply(reply, now);
        }
    }

    /// The client closed its sending side.
    pub(super) fn handle_half_close(&self) {
        self.channel.half_close();
    }

    /// The client is gone: requests not on a line are dropped.
    pub(super) fn handle_gone(&mut self, now: Instant) {
        self.channel.leave();
        self.in_flight.abandon(now);
        self.handover.clear();
        self.replies = ReplyBuffer::default();
    }

    /// A transaction identifier for a request that has none: no two in flight may share one.
    pub(super) fn next_transaction(&mut self) -> u16 {
        self.transaction_id = self.transaction_id.wrapping_add(1);
        self.transaction_id
    }

    /// Handles one of the requests that were received together. `present` is `now` with the suspended time.
    pub(super) fn handle_request(&mut self, adu: Adu, state: &ListenerState, now: Instant, present: Now) {
        let header = Header::new(&adu);
        self.supersede();
        self.came += 1;
        trace!(unit = header.unit, function = %header.function, transaction = header.transaction_id, "request");
        if self.is_own_bus(state, now) {
            let asked = TimedRequest::new(header, adu.pdu, now, state);
            return self.refuse(asked, ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
        }
        let asked = |pdu: Bytes| TimedRequest::new(header, pdu, now, state);
        let requester = requester(&self.client.link);
        match state.route(adu.unit, adu.pdu, &requester) {
            Routed::Refused { refusal, pdu } => {
                self.hint(refusal, state, &header.reply(pdu.clone()), now);
                let asked = asked(pdu);
                if refusal.is_of_a_write(&asked.pdu) {
                    self.write(state, &state.addressed(header.unit), &asked).refuse(refusal.code());
                }
                self.refuse(asked, refusal.code());
            }
            Routed::Diagnostics(pdu) => {
                match diagnostics::answer(&state.diagnostics_view(), &pdu, now.into_std()) {
                    Ok(reply) => {
                        self.reply_at_once(asked(pdu.bytes().clone()), reply, Served::Diagnostics, now)
                    }
                    Err(code) => {
                        let asked = asked(pdu.bytes().clone());
                        if !pdu.is_read() {
                            self.write(state, &state.addressed(header.unit), &asked).refuse(code);
                        }
                        self.refuse(asked, code);
                    }
                }
            }
            Routed::Unit { bus, unit, pdu } => {
                if let Some(found) = self.look_up(state, bus, unit, &pdu, present) {
                    if self.in_flight.repeats(header.transaction_id) {
                        let asked = asked(pdu.bytes().clone());
                        self.note_request(&asked);
                        return self.in_flight.postpone(asked, bus.clone(), unit, pdu);
                    }
                    self.found += 1;
                    return self.pass(header, pdu.bytes(), found, Served::Snapshot, now);
                }
                let asked = asked(pdu.bytes().clone());
                self.note_miss(state, &pdu);
                let write =
                    (!pdu.is_read()).then(|| self.write(state, &state.addressed(header.unit), &asked));
                self.note_request(&asked);
                let key = self.in_flight.open(asked.clone(), unit, write);
                self.send(bus, key, Target::Unit(unit), pdu, &asked, state);
            }
            Routed::Broadcast { buses, pdu, acknowledge } => {
                let asked = asked(pdu.bytes().clone());
                let acknowledgement = acknowledge.then(|| pdu.acknowledgement());
                let addressed = |bus| Addressed { unit: header.unit, on_line: None, buses: bus };
                let writes = buses.chunks(1).map(|bus| self.write(state, &addressed(bus), &asked));
                let writes: Vec<PendingWrite> = writes.collect();
                self.note_request(&asked);
                let first = self.in_flight.open_broadcast(asked.clone(), acknowledgement, writes.into_iter());
                for (key, bus) in (first..).zip(buses) {
                    self.send(bus, key, Target::Broadcast, pdu.clone(), &asked, state);
                }
            }
        }
    }

    /// Whether some request of this client with the function is carried out under the unit identifier.
    pub(super) fn is_served(&self, state: &ListenerState, unit: u8, function: FunctionCode) -> bool {
        state.is_served(unit, function, &requester(&self.client.link))
    }

    /// Whether the client is a bus of this gateway, which would wait for its own answer.
    fn is_own_bus(&mut self, state: &ListenerState, now: Instant) -> bool {
        *self.is_own_bus.get_or_insert_with(|| {
            let link = &self.client.link;
            let is_own = match (&link.client, &link.listener) {
                (Endpoint::Tcp(client), Endpoint::Tcp(listener)) => {
                    state.own_connections.contains(*client, *listener)
                }
                (Endpoint::Tcp(_) | Endpoint::Serial(_), _) => false,
            };
            if is_own && let Some(held_back) = self.client.log_limiter.permit(LogKind::NoRoute, now) {
                let listener = &link.listener;
                warn!(
                    held_back,
                    "a bus of this gateway leads back to its listener {listener}; its requests are \
                    answered 0x0A: correct the `device` of the bus"
                );
            }
            is_own
        })
    }

    /// All requests received together have been handled: counts them at once, because many connections share the
    /// counters.
    pub(super) fn count_requests(&mut self, now: Instant) {
        if self.came > 0 {
            self.metrics.note_requests(self.came, self.found, now.into_std());
            (self.came, self.found) = (0, 0);
        }
    }

    /// Handles the answer of a bus.
    pub(super) fn handle_answer(&mut self, key: u64, answer: Answer, now: Instant) {
        if let Some(asked_at) = self.in_flight.handle_answer(key, answer, now) {
            self.metrics.note_answer(now.saturating_duration_since(asked_at));
        }
        self.handle_ready(now);
    }

    /// Handles everything that is due: delayed refusals, and the backstop.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for key in self.in_flight.handle_timeout(now) {
            if let Some(request) = self.handover.withdraw(key) {
                // Through its own channel, as its bus would: it used no line, and will not.
                request.to.send(Answer::NotSent(ExceptionCode::SERVER_DEVICE_BUSY));
                continue;
            }
            if let Some(held_back) = self.client.log_limiter.permit(LogKind::Backstop, now) {
                warn!(held_back, "a bus did not answer by the deadline; answering 0x0B in its place");
            }
            if let Some(asked_at) = self.in_flight.give_up(key, now) {
                self.metrics.note_answer(now.saturating_duration_since(asked_at));
            }
        }
        self.handle_ready(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.in_flight.poll_timeout()
    }

    fn handle_ready(&mut self, now: Instant) {
        while let Some(ready) = self.in_flight.poll_ready(now) {
            match ready {
                Ready::Reply { asked, pdu, served } => {
                    let adu = asked.header.reply(pdu);
                    let sender = Sender::Gateway { served, asked: asked.pdu, since: asked.at.into_std() };
                    self.push(UnsentReply { sender, adu, visibility: Visibility::Kept }, now);
                }
                Ready::Lookup { key, asked, bus, unit, pdu } => {
                    let state = self.client.listener.load_full();
                    if let Some(found) = self.look_up(&state, &bus, unit, &pdu, clock::at(now)) {
                        self.metrics.note_hit();
                        self.in_flight.handle_found(key, found, now);
                    } else {
                        self.note_miss(&state, &pdu);
                        self.send(&bus, key, Target::Unit(unit), pdu, &asked, &state);
                    }
                }
            }
        }
    }

    /// Answers a request without a bus: at once, unless an earlier one of its transaction identifier has no reply yet.
    fn reply_at_once(&mut self, asked: TimedRequest, pdu: Bytes, served: Served, now: Instant) {
        if self.in_flight.repeats(asked.header.transaction_id) {
            self.note_request(&asked);
            return self.in_flight.reply(asked, pdu, served);
        }
        self.pass(asked.header, &asked.pdu, pdu, served, now);
    }

    /// Answers a request without use of a line.
    fn pass(&mut self, header: Header, asked: &Bytes, pdu: Bytes, served: Served, now: Instant) {
        let reply = header.reply(pdu);
        let visibility = match self.traffic.permits_passing(now.into_std()) {
            true => Visibility::Passing,
            false => Visibility::Hidden,
        };
        self.note(Sender::Client, header.reply(asked.clone()), visibility, now);
        let sender = Sender::Gateway { served, asked: asked.clone(), since: now.into_std() };
        self.push(UnsentReply { sender, adu: reply, visibility }, now);
    }

    /// Refuses a request before it reaches a line.
    fn refuse(&mut self, asked: TimedRequest, code: ExceptionCode) {
        self.note_request(&asked);
        self.in_flight.refuse(asked, code);
    }

    /// The audit record of a write.
    fn write(&self, state: &ListenerState, to: &Addressed<'_>, asked: &TimedRequest) -> PendingWrite {
        PendingWrite::new(&state.audit, &self.client.link, to, asked.pdu.clone(), asked.at.into_std())
    }

    /// The reply to a read from data that may be served on this listener, without the bus task. None while the client's
    /// own write to the unit is unanswered: the read must show its effect.
    fn look_up(
        &self,
        state: &ListenerState,
        bus: &BusHandle,
        unit: UnitId,
        pdu: &RequestPdu,
        now: Now,
    ) -> Option<Bytes> {
        let max_age = state.settings.max_age;
        let range = pdu.range().filter(|_| !max_age.is_zero() && !self.in_flight.writes_to(unit))?;
        bus.answer_from_snapshot(unit, &range, state.id, max_age, now)
    }

    fn note_miss(&self, state: &ListenerState, pdu: &RequestPdu) {
        if !state.settings.max_age.is_zero() && pdu.range().is_some() {
            self.metrics.note_miss();
        }
    }

    fn send(
        &mut self,
        bus: &BusHandle,
        key: u64,
        target: Target,
        pdu: RequestPdu,
        asked: &TimedRequest,
        state: &ListenerState,
    ) {
        let link = &self.client.link;
        let to = ReplySender::new(&self.channel, key);
        let to = match target {
            Target::Unit(_) => to,
            Target::Broadcast => to.outliving_next(),
        };
        let request = Request {
            to,
            source: Source { address: link.client.client_address(), connection: link.connection },
            target,
            pdu,
            deadline: asked.bus_deadline.into_std(),
            max_age: state.settings.max_age,
            listener: state.id,
        };
        self.handover.send(bus, request);
    }

    /// Without transaction identifiers, a request supersedes those before it: the client has given up on them.
    pub(super) fn supersede(&mut self) {
        match self.client.link.framing {
            AduFraming::Tcp => return,
            AduFraming::Rtu => self.replies.drop_unbegun(),
        }
        self.unsent = None;
        if let Some(key) = self.in_flight.supersede() {
            debug!("the client sent its next request; the one before is given up");
            self.channel.supersede(key);
        }
    }

    /// Logs a hint about an unknown unit identifier, once per connection.
    fn hint(&mut self, refusal: Refusal, state: &ListenerState, request: &Adu, now: Instant) {
        let Header { unit, function, .. } = Header::new(request);
        debug!(unit, %function, code = %refusal.code(), "refused");
        let denied = match refusal {
            Refusal::WriteDenied => Some("write refused: this listener has `writes: deny`"),
            Refusal::WriteForbidden => Some("write refused: none of the listener's `rules` allows it"),
            Refusal::ReadForbidden => Some("read refused: none of the listener's `rules` allows it"),
            Refusal::NoRoute | Refusal::NoBroadcast | Refusal::NotForAll | Refusal::Pdu(_) => None,
        };
        if let Some(denied) = denied
            && let Some(held_back) = self.client.log_limiter.permit(LogKind::Denied, now)
        {
            info!(unit, %function, held_back, "{denied}");
        }
        if let Some(hint) = refusal.hint(unit).filter(|_| !self.has_hinted) {
            self.has_hinted = true;
            let mut bytes = BytesMut::new();
            request.encode(&mut bytes);
            let is_rtu = self.client.link.framing == AduFraming::Tcp && rtu::crc_is_right(&bytes);
            if is_rtu {
                self.note_misframed(AduFraming::Rtu, now);
            }
            let (kind, hint) =
                if is_rtu { (LogKind::Misframed, RTU_OVER_TCP) } else { (LogKind::NoRoute, hint) };
            if let Some(held_back) = self.client.log_limiter.permit(kind, now) {
                info!(unit, %function, configured = %state.routes, held_back, "{hint}");
            }
        }
    }

    /// The client sent a request in another framing than the listener's.
    pub(super) fn note_misframed(&self, spoken: AduFraming, now: Instant) {
        self.metrics.note_misframed(spoken, now.into_std());
    }

    /// A client's request was sent to a line, postponed, or refused.
    fn note_request(&self, asked: &TimedRequest) {
        let request = asked.header.reply(asked.pdu.clone());
        self.note(Sender::Client, request, Visibility::Kept, asked.at);
    }

    fn note(&self, sender: Sender, adu: Adu, visibility: Visibility, at: Instant) {
        let message = || Message { link: Arc::clone(&self.client.link), sender, adu, at: at.into_std() };
        match visibility {
            Visibility::Kept => self.traffic.note_message(message()),
            Visibility::Passing => self.traffic.note_passing(message()),
            Visibility::Hidden => {}
        }
    }

    /// A reply is sent.
    fn note_reply(&self, reply: UnsentReply, now: Instant) {
        let UnsentReply { sender, adu, visibility } = reply;
        if let [function, code, ..] = adu.pdu[..]
            && function & EXCEPTION_BIT != 0
        {
            self.metrics.note_exception(ExceptionCode(code));
        }
        self.note(sender, adu, visibility, now);
    }

    /// Sends a reply; at a serial port, only if it can begin in time, which is not known here.
    fn push(&mut self, reply: UnsentReply, now: Instant) {
        let adu = &reply.adu;
        trace!(unit = adu.unit, transaction = adu.transaction_id, length = adu.pdu.len(), "reply");
        self.replies.push(adu, self.client.link.framing, now);
        match self.client.link.client {
            Endpoint::Tcp(_) => self.note_reply(reply, now),
            Endpoint::Serial(_) => self.unsent = Some(reply),
        }
    }
}

/// The client, as far as rules see it.
fn requester(link: &Link) -> Requester<'_> {
    let role = link.identity.as_ref().and_then(|identity| identity.role.as_deref().ok());
    Requester { address: link.client.tcp().map(|address| address.ip()), role }
}

/// The remedy for a client that sends Modbus TCP to a listener for RTU.
pub(super) const MODBUS_TCP: &str = "the client speaks Modbus TCP to a listener for RTU over TCP; set it to RTU over TCP, or give it another listener";

/// The remedy for a client that sends RTU frames.
pub(super) const RTU_OVER_TCP: &str =
    "the client speaks RTU over TCP; set it to Modbus TCP, or give it a listener with `framing: rtu`";
