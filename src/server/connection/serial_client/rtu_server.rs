//! The RTU server of a serial client as a state machine: its wire and its session, and what passes between them.
//!
//! Owns which answer belongs to the last request: at most one is open at a time, and the next drops what is not sent of
//! the one before. It has no clock and no port: bytes, answers and instants in, frames to be sent out.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::{info, trace};

use super::wire::{ClientWire, WireAction};
use crate::line::{Answer, Now};
use crate::modbus::hex::Hex;
use crate::modbus::mbap::Adu;
use crate::runtime::LogKind;
use crate::serial::ReplyReceiver;
use crate::server::connection::ClientContext;
use crate::server::connection::handover::Handover;
use crate::server::connection::session::Session;
use crate::server::routes::ListenerState;
use crate::server::settings::ClientPort;

/// The server. `handle_*` changes it; then [`poll_transmit`](Self::poll_transmit) until there is nothing, then until
/// [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct RtuServer {
    client: ClientContext,
    /// As last taken from the listener.
    state: Arc<ListenerState>,
    wire: ClientWire,
    session: Session,
    intake: Intake,
}

/// Whether requests are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intake {
    Open,
    /// Only those in flight are answered.
    Ended,
}

impl RtuServer {
    /// The server at a port that was opened with these settings, and the receiver of the buses' answers.
    #[must_use]
    pub fn new(client: ClientContext, port: &ClientPort, now: Instant) -> (Self, ReplyReceiver) {
        let (session, answers) = Session::new(client.clone(), now);
        let state = client.listener.load_full();
        let mut server = Self { client, state, wire: new_wire(port), session, intake: Intake::Open };
        server.handle_settings();
        (server, answers)
    }

    /// Takes over the listener's present settings, those of the port aside.
    pub fn handle_settings(&mut self) {
        self.state = self.client.listener.load_full();
        self.wire.handle_settings(self.state.served_units(), self.state.settings.deadline());
    }

    /// The port was opened anew or lost: its client waits for nothing any more.
    pub fn handle_port(&mut self, port: &ClientPort) {
        self.session.supersede();
        self.wire = new_wire(port);
        self.wire.handle_settings(self.state.served_units(), self.state.settings.deadline());
    }

    /// Bytes have been received.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        trace!(listener = %self.client.link.listener, "received {}", Hex(bytes));
        self.handle_settings();
        self.wire.handle_bytes(bytes, now.into_std());
    }

    /// A bus has answered.
    pub fn handle_answer(&mut self, key: u64, answer: Answer, now: Instant) {
        self.session.handle_answer(key, answer, now);
    }

    /// Does what is due. Must not be called while bytes wait to be read.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.wire.handle_timeout(now.into_std());
        self.session.handle_timeout(now);
    }

    /// No further request is handled.
    pub(super) fn end_intake(&mut self) {
        self.intake = Intake::Ended;
    }

    /// The client is no longer served: only the outcomes of its writes are awaited.
    pub(super) fn handle_gone(&mut self, now: Instant) {
        self.session.handle_gone(now);
    }

    /// The frame to be sent now, if there is one.
    pub fn poll_transmit(&mut self, present: Now) -> Option<Bytes> {
        let now = Instant::from_std(present.instant);
        loop {
            while let Some(action) = self.wire.poll_action() {
                match action {
                    WireAction::Request { unit, pdu, received_at } => {
                        self.handle_request(unit, pdu, received_at.into(), present);
                    }
                    WireAction::Superseded => self.session.supersede(),
                    WireAction::Transmit(adu) => return Some(adu),
                    WireAction::TooLate => self.log_too_late(now),
                    WireAction::Dropped(bytes) => {
                        self.log(LogKind::Damaged, now, &format!("{bytes} bytes that are no frame dropped"));
                    }
                }
            }
            self.session.count_requests(now);
            // At most one answer: the next request drops what is not sent of the one before.
            let answer = Bytes::copy_from_slice(self.session.outputs().0);
            if answer.is_empty() {
                return None;
            }
            self.session.handle_written(answer.len());
            self.wire.handle_answer(answer, now.into_std());
        }
    }

    /// The frame was handed to the port.
    pub fn handle_transmitted(&mut self, adu: &Bytes, now: Instant) {
        trace!(listener = %self.client.link.listener, "sent {}", Hex(adu));
        self.session.handle_transmitted(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let wire = self.wire.poll_timeout().map(Instant::from_std);
        [wire, self.session.poll_timeout()].into_iter().flatten().min()
    }

    /// The settings that were last taken over.
    pub(super) fn state(&self) -> &Arc<ListenerState> {
        &self.state
    }

    /// The requests that their buses have no capacity for yet.
    pub(super) fn handover(&mut self) -> &mut Handover {
        self.session.outputs().1
    }

    /// Whether answers of buses may still come.
    pub(super) fn awaits_answers(&self) -> bool {
        self.session.awaits_answers()
    }

    /// Whether the outcome of a write is still to be recorded, though the client is gone.
    pub(super) fn has_late_writes(&self) -> bool {
        self.session.has_late_writes()
    }

    /// Whether a request has no answer yet.
    pub(super) fn owes_answer(&self) -> bool {
        self.session.in_flight() > 0 || self.wire.has_answer()
    }

    /// Until when the last answer is being sent, with what an adapter adds. The port must stay open so long.
    pub(super) fn sending_until(&self) -> Option<Instant> {
        self.wire.sending_until().map(Instant::from_std)
    }

    fn handle_request(&mut self, unit: u8, pdu: Bytes, received_at: Instant, present: Now) {
        let has_room = self.session.in_flight() < self.state.settings.max_in_flight;
        if self.intake == Intake::Ended || !has_room {
            // The answer to the request before must not be taken for the answer to this one.
            self.session.supersede();
            self.wire.drop_request();
            if !has_room {
                let what = "a request is not answered: too many before it are still open";
                self.log(LogKind::Stalled, Instant::from_std(present.instant), what);
            }
            return;
        }
        // Its transaction identifier matters to no one: one request is in flight.
        let adu = Adu { transaction_id: self.session.next_transaction(), unit, pdu };
        let state = Arc::clone(&self.state);
        self.session.handle_request(adu, &state, received_at, present);
    }

    fn log_too_late(&self, now: Instant) {
        let within = self.state.settings.deadline();
        self.log(
            LogKind::Backstop,
            now,
            &format!("an answer would begin later than {within:?} and is not sent"),
        );
    }

    fn log(&self, kind: LogKind, now: Instant, what: &str) {
        if let Some(held_back) = self.client.log_limiter.permit(kind, now) {
            info!(listener = %self.client.link.listener, held_back, "{what}");
        }
    }
}

fn new_wire(port: &ClientPort) -> ClientWire {
    ClientWire::new(port.framing, port.echo)
}
