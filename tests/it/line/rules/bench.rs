//! A line, the time, and what came out of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use metergate::endpoint::ClientAddress;
use metergate::line::{
    Answer, Disconnection, Line, LineEvent, LineSettings, ListenerId, Output, PortEvent, PortSettingsChange,
    Record, Request, Source, Target, UnitId, UnitState, View,
};
use metergate::modbus::mbap::Adu;
use metergate::modbus::pdu::{ExceptionCode, RequestPdu};
use metergate::modbus::{AduFraming, rtu};

pub(crate) use crate::support::settings::line as settings;

/// A request that left the line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sent {
    pub(crate) at: f64,
    /// The transaction identifier of Modbus TCP.
    pub(crate) id: Option<u16>,
    pub(crate) unit: u8,
    pub(crate) pdu: Vec<u8>,
}

pub(crate) struct Bench {
    pub(crate) line: Line<u32>,
    t0: Instant,
    now: f64,
    sent: VecDeque<Sent>,
    answers: VecDeque<(u32, f64, Answer)>,
    pub(crate) view: View,
    pub(crate) records: VecDeque<Arc<Record>>,
    pub(crate) events: VecDeque<LineEvent>,
    pub(crate) disconnects: VecDeque<Disconnection>,
}

/// A request as tests ask it: unit 0 is a broadcast.
#[derive(Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) address: u8,
    pub(crate) connection: u64,
    pub(crate) unit: u8,
    pub(crate) max_age: f64,
    /// From now on.
    pub(crate) deadline: f64,
}

impl Ask {
    pub(crate) fn of(unit: u8) -> Self {
        Self { address: 1, connection: 1, unit, max_age: 0.0, deadline: 10_000.0 }
    }

    pub(crate) fn on(self, address: u8, connection: u64) -> Self {
        Self { address, connection, ..self }
    }
}

impl Bench {
    pub(crate) fn new(settings: LineSettings) -> Self {
        let mut bench = Self {
            line: Line::new(settings),
            t0: Instant::now() + millis(OPEN_FOR),
            now: 0.0,
            sent: VecDeque::new(),
            answers: VecDeque::new(),
            view: View::default(),
            records: VecDeque::new(),
            events: VecDeque::new(),
            disconnects: VecDeque::new(),
        };
        // Long enough ago that no unit owes an answer to a request before the start.
        bench.line.handle_port(PortEvent::Opened, bench.t0 - millis(OPEN_FOR));
        bench.outputs();
        bench.to(0.0);
        bench
    }

    /// Half a minute of a line whose three units send the first byte of each answer.
    pub(crate) fn with_answers_that_break_off() -> Self {
        let mut bench = Self::of(&[1, 2, 3]);
        while bench.now() < 30_000.0 {
            if bench.line.is_idle() {
                for unit in 1..=3_u8 {
                    bench.read(u32::from(unit), Ask { deadline: 3_000.0, ..Ask::of(unit) }, unit, 1);
                }
            }
            match bench.next_sent() {
                Some(sent) => {
                    bench.to(sent.at + 10.0);
                    bench.bytes(&[sent.unit]);
                }
                None => bench.step(),
            }
        }
        bench
    }

    pub(crate) fn of(units: &[u8]) -> Self {
        Self::new(settings(units))
    }

    pub(crate) fn now(&self) -> f64 {
        self.now
    }

    /// Lets time pass up to `at`, timers included.
    pub(crate) fn to(&mut self, at: f64) {
        while let Some(due) = self.due().filter(|&due| due <= at) {
            self.fire(due);
        }
        self.now = self.now.max(at);
    }

    /// Time passes without a call of the line.
    pub(crate) fn stall(&mut self, until: f64) {
        self.now = until;
    }

    pub(crate) fn ask(&mut self, id: u32, ask: Ask, pdu: &[u8]) {
        let target = UnitId::new(ask.unit).map_or(Target::Broadcast, Target::Unit);
        let request = Request {
            to: id,
            source: Source {
                address: ClientAddress::Ip([10, 0, 0, ask.address].into()),
                connection: ask.connection,
            },
            target,
            pdu: RequestPdu::decode(Bytes::copy_from_slice(pdu)).expect("a good request"),
            deadline: self.instant(self.now + ask.deadline),
            max_age: millis(ask.max_age),
            listener: ListenerId::default(),
        };
        self.line.handle_request(request, self.instant(self.now));
        self.outputs();
    }

    /// A read of holding registers.
    pub(crate) fn read(&mut self, id: u32, ask: Ask, start: u8, quantity: u8) {
        self.ask(id, ask, &[3, 0, start, 0, quantity]);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.line.handle_bytes(bytes, self.instant(self.now));
        self.outputs();
    }

    /// A whole frame arrives at once.
    pub(crate) fn frame(&mut self, unit: u8, pdu: &[u8]) {
        self.bytes(&rtu::encode(unit, pdu));
    }

    /// The answer to a request that was sent with Modbus TCP.
    pub(crate) fn answer_to(&mut self, sent: &Sent, pdu: &[u8]) {
        let transaction_id = sent.id.expect("a request of Modbus TCP");
        self.adu(transaction_id, sent.unit, pdu);
    }

    /// An ADU of Modbus TCP arrives at once.
    pub(crate) fn adu(&mut self, transaction_id: u16, unit: u8, pdu: &[u8]) {
        let mut bytes = BytesMut::new();
        Adu { transaction_id, unit, pdu: Bytes::copy_from_slice(pdu) }.encode(&mut bytes);
        self.bytes(&bytes);
    }

    pub(crate) fn port(&mut self, event: PortEvent) {
        self.line.handle_port(event, self.instant(self.now));
        self.outputs();
    }

    /// Runs until the next request leaves.
    pub(crate) fn sent(&mut self) -> Sent {
        for _ in 0..10_000 {
            if let Some(sent) = self.sent.pop_front() {
                return sent;
            }
            let due = self.due().expect("something to wait for");
            self.fire(due);
        }
        panic!("nothing is sent");
    }

    /// When the next timer of the line runs out.
    pub(crate) fn next_due(&self) -> Option<f64> {
        self.due()
    }

    /// Lets the next timer of the line run out.
    pub(crate) fn step(&mut self) {
        let due = self.due().expect("something to wait for");
        self.fire(due);
    }

    /// A request that has been sent since the last call, if any.
    pub(crate) fn next_sent(&mut self) -> Option<Sent> {
        self.sent.pop_front()
    }

    /// Nothing has been sent since the last call, and nothing is sent before `at`.
    pub(crate) fn silent_to(&mut self, at: f64) {
        self.to(at);
        assert_eq!(self.sent.pop_front(), None, "before {at}");
    }

    /// Runs until the next answer.
    pub(crate) fn answer(&mut self) -> (u32, Answer) {
        let (id, _, answer) = self.timed_answer();
        (id, answer)
    }

    pub(crate) fn timed_answer(&mut self) -> (u32, f64, Answer) {
        for _ in 0..10_000 {
            if let Some(answer) = self.answers.pop_front() {
                return answer;
            }
            let due = self.due().expect("something to wait for");
            self.fire(due);
        }
        panic!("nothing is answered");
    }

    /// An answer that has been sent, if any.
    pub(crate) fn take_answer(&mut self) -> Option<(u32, Answer)> {
        self.answers.pop_front().map(|(id, _, answer)| (id, answer))
    }

    /// No answer has been sent since the last call.
    pub(crate) fn no_answer(&self) {
        assert!(self.answers.is_empty(), "{:?}", self.answers);
    }

    /// Answers the next request with this many registers of `value`, 5 ms later, and returns the request.
    pub(crate) fn serve(&mut self, value: u8) -> Sent {
        let sent = self.sent();
        self.to(sent.at + 10.0);
        let count = sent.pdu[4] * 2;
        let reply = [&[sent.pdu[0], count][..], &vec![value; usize::from(count)]].concat();
        self.frame(sent.unit, &reply);
        sent
    }

    /// Lets clients send one request after the other, and units answer by themselves, up to `until`. `respond` returns
    /// the answer of a unit, if any, and how long after the end of the request it begins. Returns all requests sent.
    pub(crate) fn run(
        &mut self,
        until: f64,
        clients: &mut [Client],
        mut respond: impl FnMut(&Sent) -> Option<(f64, Vec<u8>)>,
    ) -> Vec<Sent> {
        let mut asks: Vec<(f64, usize)> = (0..clients.len()).map(|client| (self.now, client)).collect();
        let mut frames: Vec<(f64, u8, Vec<u8>)> = Vec::new();
        let mut all_sent = Vec::new();
        loop {
            while let Some(sent) = self.sent.pop_front() {
                if let Some((pause, pdu)) = respond(&sent) {
                    let on_the_wire = wire_millis(sent.pdu.len()) + wire_millis(pdu.len());
                    frames.push((sent.at + on_the_wire + pause, sent.unit, pdu));
                }
                all_sent.push(sent);
            }
            while let Some((id, at, answer)) = self.answers.pop_front() {
                let index = usize::try_from(id).expect("small");
                let Some(client) = clients.get_mut(index) else { continue };
                let pause = if matches!(answer, Answer::Refused(_)) { REFUSED_AFTER } else { 0.0 };
                asks.push((at + pause + client.pause, index));
                client.answers.push((at, answer));
            }
            let first_ask = asks.iter().map(|(at, _)| *at).fold(f64::INFINITY, f64::min);
            let first_frame = frames.iter().map(|(at, ..)| *at).fold(f64::INFINITY, f64::min);
            let due = self.due().unwrap_or(f64::INFINITY);
            let next = first_ask.min(first_frame).min(due);
            if next > until {
                self.now = until;
                return all_sent;
            }
            self.now = self.now.max(next);
            if first_frame <= next {
                let index = frames.iter().position(|(at, ..)| *at <= next).expect("just seen");
                let (_, unit, pdu) = frames.remove(index);
                self.frame(unit, &pdu);
            } else if first_ask <= next {
                let index = asks.iter().position(|(at, _)| *at <= next).expect("just seen");
                let (_, index) = asks.remove(index);
                let client = &mut clients[index];
                let pdu = client.pdus[client.asked % client.pdus.len()].clone();
                client.asked += 1;
                let ask = client.ask;
                self.ask(u32::try_from(index).expect("few"), ask, &pdu);
            } else {
                self.fire(due);
            }
        }
    }

    /// Line time that requests of this connection took, in milliseconds.
    pub(crate) fn line_time(&self, connection: u64) -> f64 {
        let of = |record: &Arc<Record>| match &**record {
            Record::Transaction(transaction) => transaction
                .source
                .as_ref()
                .filter(|source| source.connection == connection)
                .map(|_| transaction.ended_at - transaction.sent_at),
            Record::Stray(_) => None,
        };
        self.records.iter().filter_map(of).sum::<Duration>().as_secs_f64() * 1e3
    }

    pub(crate) fn settings(&mut self, settings: LineSettings, port: PortSettingsChange) {
        self.line.handle_settings(settings, port, self.instant(self.now));
        self.outputs();
    }

    /// Milliseconds of the bench's time at `at`.
    pub(crate) fn millis(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.t0).as_secs_f64() * 1e3
    }

    pub(crate) fn state(&self, unit: u8) -> UnitState {
        let seen = self.view.units.iter().find(|seen| seen.id.get() == unit);
        seen.expect("a unit of the line").state
    }

    fn due(&self) -> Option<f64> {
        self.line.poll_timeout().map(|at| self.millis(at))
    }

    fn fire(&mut self, due: f64) {
        self.now = self.now.max(due);
        // The very instant, not its rounded picture.
        let at = self.line.poll_timeout().expect("due").max(self.instant(self.now));
        self.line.handle_timeout(at);
        self.outputs();
    }

    fn outputs(&mut self) {
        while let Some(output) = self.line.poll_output() {
            match output {
                Output::Transmit(adu) => {
                    let framing = self.line.settings().protocol.adu_framing();
                    let id = match framing {
                        AduFraming::Tcp => Some(u16::from_be_bytes([adu[0], adu[1]])),
                        AduFraming::Rtu => None,
                    };
                    let unit = framing.unit_of(&adu).expect("a whole ADU");
                    self.sent.push_back(Sent { at: self.now, id, unit, pdu: framing.pdu_of(&adu).to_vec() });
                }
                Output::Disconnect(error) => self.disconnects.push_back(error),
                Output::Publish(view) => self.view = Arc::unwrap_or_clone(view),
                Output::Event(event) => self.events.push_back(event),
                Output::Record(record) => self.records.push_back(record),
                Output::Reply { to, answer } => self.answers.push_back((to, self.now, answer)),
            }
        }
    }

    pub(crate) fn instant(&self, at: f64) -> Instant {
        self.t0 + millis(at)
    }
}

/// A client that sends one request after the other, endlessly.
pub(crate) struct Client {
    ask: Ask,
    pdus: Vec<Vec<u8>>,
    /// Between an answer and the next request.
    pause: f64,
    asked: usize,
    /// What it was answered, and when.
    pub(crate) answers: Vec<(f64, Answer)>,
}

impl Client {
    pub(crate) fn new(ask: Ask, pdus: impl IntoIterator<Item = Vec<u8>>, pause: f64) -> Self {
        Self { ask, pdus: pdus.into_iter().collect(), pause, asked: 0, answers: Vec::new() }
    }

    /// How many of its requests were answered with data.
    pub(crate) fn served(&self) -> usize {
        self.answers.iter().filter(|(_, answer)| matches!(answer, Answer::Reply(_))).count()
    }
}

/// The answer to a read of registers, each byte of it `value`.
pub(crate) fn registers(pdu: &[u8], value: u8) -> Vec<u8> {
    let count = pdu[4] * 2;
    [&[pdu[0], count][..], &vec![value; usize::from(count)]].concat()
}

pub(crate) fn reply(pdu: &[u8]) -> Answer {
    Answer::Reply(Bytes::copy_from_slice(pdu))
}

pub(crate) const BUSY: Answer = Answer::NotSent(ExceptionCode::SERVER_DEVICE_BUSY);
pub(crate) const NO_PATH: Answer = Answer::NoAnswer(ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
pub(crate) const NO_RESPONSE: Answer = Answer::NoAnswer(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND);
pub(crate) const REFUSED_OFFLINE: Answer = Answer::Refused(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND);

/// How long the port has been open when a bench begins.
const OPEN_FOR: f64 = 60_000.0;

/// The delay of an answer that used no line.
const REFUSED_AFTER: f64 = 10.0;

/// Milliseconds that a frame with such a PDU takes on the wire.
fn wire_millis(pdu: usize) -> f64 {
    (pdu + rtu::OVERHEAD) as f64 * 10.0 / 19.2
}

fn millis(at: f64) -> Duration {
    Duration::from_secs_f64(at / 1e3)
}
