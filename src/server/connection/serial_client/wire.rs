//! The line of a serial client as a state machine: which bytes are requests, and when an answer may be sent.
//!
//! Owns the bytes received, the silence before an answer, its echo, and whether it can still begin in time. It decides
//! nothing about requests, has no clock and no port: bytes and instants in, actions out. Source: MODBUS over Serial
//! Line V1.02, chapters 2.4.2 (server states) and 2.5.1 (frames).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::echo::{NoEcho, OwnEcho};
use crate::line::{Echo, Framing};
use crate::modbus::{END_PAUSE, ForeignFrame, Pause, WireFrame, WireRequests, rtu};

/// The line. `handle_*` changes it; then [`poll_action`](Self::poll_action) until there is none, then until
/// [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct ClientWire {
    framing: Framing,
    echo: OwnEcho,
    served: Box<[bool; 256]>,
    answer_within: Duration,
    requests: WireRequests,
    input: BytesMut,
    received_at: Option<Instant>,
    /// When the last answer is on the wire in full.
    sent_until: Option<Instant>,
    pending: Option<Pending>,
    actions: VecDeque<WireAction>,
}

/// The request whose answer may be sent.
#[derive(Debug)]
struct Pending {
    /// As it was received.
    request: Bytes,
    /// An answer begins before this instant, or not at all.
    until: Instant,
    answer: Option<Bytes>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireAction {
    /// A request has come, and supersedes the one before.
    Request {
        /// The unit identifier; 0 is a broadcast, which is not answered.
        unit: u8,
        /// The PDU, 1 to 253 bytes, not checked.
        pdu: Bytes,
        /// When its last byte came.
        received_at: Instant,
    },
    /// The client asks another server, or sent something damaged: it has given up on its request here.
    Superseded,
    /// Send an answer.
    Transmit(Bytes),
    /// The answer would begin too late and is dropped.
    TooLate,
    /// So many bytes that were no frame were dropped.
    Dropped(usize),
}

impl ClientWire {
    /// A line without a request.
    #[must_use]
    pub fn new(framing: Framing, echo: Echo) -> Self {
        Self {
            framing,
            echo: OwnEcho::new(echo),
            served: Box::new([false; 256]),
            answer_within: Duration::ZERO,
            requests: WireRequests::default(),
            input: BytesMut::new(),
            received_at: None,
            sent_until: None,
            pending: None,
            actions: VecDeque::new(),
        }
    }

    /// The unit identifiers that are answered for from now on, and how soon.
    pub fn handle_settings(&mut self, served: Box<[bool; 256]>, answer_within: Duration) {
        (self.served, self.answer_within) = (served, answer_within);
    }

    /// Bytes have been received. No answer is sent now: what has been received may be the client's next request.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        self.end_pause(now);
        if let Some(NoEcho { bytes, at }) = self.echo.strip(bytes, now) {
            self.accept(&bytes, at, Pause::No);
        }
    }

    /// The answer to the last request, as it is sent. Without effect if that is superseded or too old.
    pub fn handle_answer(&mut self, adu: Bytes, now: Instant) {
        if let Some(pending) = &mut self.pending {
            pending.answer = Some(adu);
        }
        self.send(now);
    }

    /// The last request is not handled, and not answered.
    pub fn drop_request(&mut self) {
        self.pending = None;
    }

    /// Does what is due: ends a frame, sends an answer. Must not be called while bytes wait to be read.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.end_pause(now);
        self.echo.handle_timeout(now);
        self.send(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let quiet = self.received_at.filter(|_| !self.input.is_empty()).map(|at| at + self.quiet());
        let answer = self.pending.as_ref().filter(|pending| pending.answer.is_some());
        let answer = answer.map(|pending| match self.silent_from().filter(|_| self.input.is_empty()) {
            Some(from) => from.min(pending.until),
            None => pending.until,
        });
        [quiet, answer, self.echo.poll_timeout(self.quiet())].into_iter().flatten().min()
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<WireAction> {
        self.actions.pop_front()
    }

    /// Whether an answer waits to be sent.
    #[must_use]
    pub fn has_answer(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.answer.is_some())
    }

    /// Until when the last answer is being sent, with what an adapter adds. The port must stay open so long.
    #[must_use]
    pub fn sending_until(&self) -> Option<Instant> {
        self.sent_until.map(|end| end + self.quiet())
    }

    /// Ends what was received before a pause.
    fn end_pause(&mut self, now: Instant) {
        if let Some(NoEcho { bytes, at }) = self.echo.end_pause(self.quiet(), now) {
            self.accept(&bytes, at, Pause::Over);
        }
        if let Some(at) = self.received_at.filter(|at| now >= *at + self.quiet()) {
            self.receive(Pause::Over, at);
        }
    }

    fn accept(&mut self, bytes: &[u8], at: Instant, pause: Pause) {
        self.input.extend_from_slice(bytes);
        self.received_at = Some(at);
        self.receive(pause, at);
    }

    /// Handles the frames received, the last byte of which came `at`.
    fn receive(&mut self, pause: Pause, at: Instant) {
        loop {
            match self.requests.next(&mut self.input, pause, |unit| self.served[usize::from(unit)]) {
                WireFrame::Request { unit, pdu } => {
                    let request = rtu::encode(unit, &pdu);
                    let until = at + self.answer_within;
                    self.pending = (unit != BROADCAST).then_some(Pending { request, until, answer: None });
                    self.actions.push_back(WireAction::Request { unit, pdu, received_at: at });
                }
                // An ambiguous frame is most likely a request; if it is not, silence does less harm than two answers.
                WireFrame::Foreign(ForeignFrame::Request | ForeignFrame::Ambiguous) => self.supersede(),
                // It may be late: the client has asked here since.
                WireFrame::Foreign(ForeignFrame::Answer) => {}
                WireFrame::Dropped(bytes) => {
                    if bytes >= REQUEST_MIN {
                        self.supersede();
                    }
                    self.actions.push_back(WireAction::Dropped(bytes));
                }
                WireFrame::Incomplete => break,
            }
        }
    }

    /// The client waits for something else now.
    fn supersede(&mut self) {
        if self.pending.take().is_some() {
            self.actions.push_back(WireAction::Superseded);
        }
    }

    /// Sends the answer if the line is silent, and free: bytes that are no frame yet may be the client's next request.
    fn send(&mut self, now: Instant) {
        if self.pending.take_if(|pending| pending.answer.is_some() && now >= pending.until).is_some() {
            return self.actions.push_back(WireAction::TooLate);
        }
        let is_due = self.input.is_empty() && self.silent_from().is_none_or(|from| from <= now);
        let pending = self.pending.take_if(|pending| is_due && pending.answer.is_some());
        let Some(Pending { request, answer: Some(adu), .. }) = pending else { return };
        let sent_until = now + self.framing.wire_time(adu.len());
        self.sent_until = Some(sent_until);
        self.echo.handle_sent(adu.clone(), &request, sent_until);
        self.actions.push_back(WireAction::Transmit(adu));
    }

    /// Since when the line has been silent for as long as it has to be before an answer.
    fn silent_from(&self) -> Option<Instant> {
        self.received_at.max(self.sent_until).map(|end| end + self.silence())
    }

    fn silence(&self) -> Duration {
        rtu::silence(self.framing.baud_rate)
    }

    /// The pause that ends a frame of unknown length, and whatever is no frame: longer than adapters pause inside one.
    fn quiet(&self) -> Duration {
        END_PAUSE.max(self.silence())
    }
}

const BROADCAST: u8 = 0;

/// The shortest request. Fewer bytes that are no frame are noise, and no request that was damaged.
const REQUEST_MIN: usize = 4;
