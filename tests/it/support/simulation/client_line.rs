//! The line of a serial client: a master that asks the gateway and other servers, gives up, is damaged and repeats
//! itself, and what else is on that line.
//!
//! The gateway's end is behind [`ClientGateway`], so that nothing here depends on more than the line of a bus. What an
//! answer must be is judged by the world, which knows what units did.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use metergate::line::{Answer, Echo, Framing, ListenerId, Now, Parity, Request, View};
use metergate::modbus::pdu::RequestPdu;
use metergate::modbus::rtu;

use super::answers;
use super::invariants::Asked;
use super::rng::Rng;
use super::swarm::Delivery;
use super::wire::{MILLI, Nanos, Wire};

/// The gateway between the port of a serial client and its bus: the real one, driven by instants.
pub(crate) trait ClientGateway {
    /// The process ends and another takes its place.
    fn restart(&mut self, listener: &ClientListener, now: Instant);
    /// A reload of everything but the port.
    fn reload(&mut self, listener: &ClientListener);
    /// The port was lost, or opened again.
    fn handle_port(&mut self);
    fn handle_bytes(&mut self, bytes: &[u8], now: Now);
    fn handle_answer(&mut self, key: u64, answer: Answer, now: Now);
    fn handle_timeout(&mut self, now: Now);
    fn poll_timeout(&self) -> Option<Instant>;
    fn poll_transmit(&mut self, now: Now) -> Option<Bytes>;
    /// The next request for the bus, under a key of the gateway's own.
    fn poll_request(&mut self) -> Option<Request<u64>>;
    /// Whether nothing waits for this answer any more.
    fn is_gone(&self, key: u64) -> bool;
    /// The bus drops a request that was not sent.
    fn discard(&mut self, key: u64, now: Now);
    fn publish(&mut self, view: &Arc<View>);
    /// The writes whose outcome this process has recorded.
    fn recorded_writes(&mut self) -> u64;
}

/// The settings of the client's listener.
#[derive(Clone, Debug)]
pub(crate) struct ClientListener {
    pub(crate) id: ListenerId,
    pub(crate) connection: u64,
    pub(crate) framing: Framing,
    pub(crate) echo: Echo,
    pub(crate) units: Vec<u8>,
    pub(crate) answer_within: Duration,
    pub(crate) max_age: Duration,
    pub(crate) has_writes: bool,
    /// Whether broadcasts are acknowledged, which a serial client never sees.
    pub(crate) has_acknowledgements: bool,
}

/// What the master and the line are like. Rates in permille of what the master does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClientHabits {
    pub(crate) writes: u64,
    pub(crate) broadcasts: u64,
    /// It asks other servers; of their answers, permille that come late, not at all, or damaged.
    pub(crate) others: u64,
    pub(crate) others_faults: u64,
    /// It asks for a unit that nothing on its line has.
    pub(crate) strangers: u64,
    /// It repeats what it asked last, though it was answered.
    pub(crate) repeats: u64,
    pub(crate) halves: u64,
    pub(crate) flips: u64,
    pub(crate) noise: u64,
    pub(crate) glitches: u64,
    pub(crate) echo_damage: u64,
    /// The port is lost, per action.
    pub(crate) port_lost: u64,
    /// Longest pause between two actions; it changes now and then.
    pub(crate) pause: Nanos,
}

/// What happens on the client's line, independent of the gateway.
#[derive(Debug)]
pub(super) enum ClientEvent {
    /// The master does something.
    Turn,
    /// The master's request of this number is on the wire in full.
    Asked(u64),
    /// The master waits no longer for the answer to this request.
    GiveUp(u64),
    /// Another server sends.
    Other(Vec<u8>),
    /// The gateway's answer to this request is on the wire in full.
    Answered {
        talk: usize,
        number: u64,
        adu: Bytes,
    },
    Opened,
}

/// What the master sends, if it is long enough to be taken for a request.
#[derive(Debug)]
pub(super) struct MasterFrame {
    pub(super) number: u64,
    pub(super) talk: usize,
    pub(super) end: Nanos,
    /// When the gateway receives its first byte, and its last.
    pub(super) begins: Nanos,
    pub(super) arrives: Nanos,
    /// Of a request that the gateway is to answer.
    pub(super) question: Option<Question>,
}

#[derive(Debug)]
pub(super) struct Question {
    pub(super) unit: u8,
    pub(super) pdu: RequestPdu,
    /// As the units' side sees it, from its end on the wire on.
    pub(super) asked: Option<Asked>,
    pub(super) has_used_bus: bool,
    pub(super) is_answered: bool,
    /// It has to be answered with data.
    pub(super) must_succeed: bool,
}

/// What became of the master's requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClientTally {
    /// Answers the master took: to reads, with data of the bus or without the bus, exceptions, and to writes.
    pub(crate) data: u64,
    pub(crate) from_snapshot: u64,
    pub(crate) exceptions: u64,
    pub(crate) writes: u64,
    /// Requests that it gave up.
    pub(crate) given_up: u64,
    /// Requests that the bus was handed and dropped unsent, because the master had sent its next.
    pub(crate) superseded: u64,
}

impl std::ops::AddAssign for ClientTally {
    fn add_assign(&mut self, other: Self) {
        self.data += other.data;
        self.exceptions += other.exceptions;
        self.from_snapshot += other.from_snapshot;
        self.writes += other.writes;
        self.given_up += other.given_up;
        self.superseded += other.superseded;
    }
}

pub(super) struct ClientLine {
    pub(super) gateway: Box<dyn ClientGateway>,
    pub(super) listener: ClientListener,
    pub(super) habits: ClientHabits,
    pub(super) rng: Rng,
    pub(super) wire: Wire,
    /// By how much an adapter delays bytes, at most.
    pub(super) lump: Nanos,
    /// How long the master waits for the beginning of an answer.
    pub(super) timeout: Nanos,
    pub(super) echoes: bool,
    pub(super) is_open: bool,
    events: BTreeMap<(Nanos, u64), ClientEvent>,
    scheduled: u64,
    /// What the master sent, oldest first: the last that has arrived, and what comes behind it.
    pub(super) frames: Vec<MasterFrame>,
    pub(super) next_number: u64,
    /// The request whose answer the master waits for.
    pub(super) awaited: Option<u64>,
    pub(super) turns: u64,
    /// Reads that prove at the end that the client is served.
    pub(super) proofs: Vec<u8>,
    /// The last byte the gateway received or sent.
    pub(super) last_byte: Nanos,
    /// Requests that a bus was handed: the gateway's keys by the world's.
    pub(super) keys: BTreeMap<u64, u64>,
    /// How often the master sent each request, and how often a bus was handed it.
    pub(super) sent: BTreeMap<(u8, Bytes), u64>,
    pub(super) handed: BTreeMap<(u8, Bytes), u64>,
    /// Writes that a bus was handed by this process.
    pub(super) handed_writes: u64,
    pub(super) has_refused_writes: bool,
    /// The last request for a unit that a bus was handed.
    pub(super) last_key: Option<u64>,
    pub(super) tally: ClientTally,
}

/// Identifiers of other servers on the client's line. No unit has one of them.
pub(super) const OTHERS: [u8; 3] = [200, 201, 247];

/// Identifiers that nothing on the client's line has.
pub(super) const STRANGERS: [u8; 3] = [190, 191, 192];

/// The client's listener among those of the process.
const LISTENER: ListenerId = ListenerId(2);

impl ClientLine {
    pub(super) fn new(
        seed: u64,
        units: Vec<u8>,
        start: Instant,
        gateway: fn(&ClientListener, Instant) -> Box<dyn ClientGateway>,
    ) -> Self {
        let mut rng = Rng::new(seed);
        let lump = if rng.chance(600) { 0 } else { rng.range(1, 16) * MILLI };
        let delivery = if lump == 0 { Delivery::Bytewise } else { Delivery::Lumps(lump / MILLI) };
        let framing = Framing {
            baud_rate: rng.pick(&[9600, 19200, 115_200]),
            parity: rng.pick(&[Parity::None, Parity::Even]),
            stop_bits: 1,
        };
        let bits = 9 + u32::from(framing.parity != Parity::None) + u32::from(framing.stop_bits);
        let echoes = rng.chance(400);
        let answer_within = rng.pick(&[50, 150, 300, 300, 1000, 3000]) * MILLI;
        let listener = ClientListener {
            id: LISTENER,
            connection: FIRST_CONNECTION,
            framing,
            echo: rng.pick(&[Echo::Auto, Echo::Auto, if echoes { Echo::On } else { Echo::Off }]),
            units,
            answer_within: Duration::from_nanos(answer_within),
            max_age: Duration::from_millis(rng.pick(&[0, 0, 200, 1500, 5000])),
            has_writes: rng.chance(850),
            has_acknowledgements: rng.chance(500),
        };
        // Behind an adapter that delays bytes, an answer may have begun before the next request is seen: the master
        // must be more patient than the gateway.
        let after = answer_within + lump + 30 * MILLI;
        let timeout = match lump {
            0 => rng.pick(&[answer_within / 3, answer_within / 2, answer_within, after, after * 2]),
            _ => rng.pick(&[after, after, after * 2]),
        };
        let gateway = gateway(&listener, start);
        let mut line = Self {
            gateway,
            listener,
            habits: habits(&mut rng),
            wire: Wire::new(delivery, bits, framing.baud_rate),
            lump,
            timeout,
            echoes,
            is_open: true,
            events: BTreeMap::new(),
            scheduled: 0,
            frames: Vec::new(),
            next_number: 0,
            awaited: None,
            turns: rng.range(20, 80),
            proofs: Vec::new(),
            last_byte: 0,
            keys: BTreeMap::new(),
            sent: BTreeMap::new(),
            handed: BTreeMap::new(),
            handed_writes: 0,
            has_refused_writes: false,
            last_key: None,
            tally: ClientTally::default(),
            rng,
        };
        line.has_refused_writes = !line.listener.has_writes;
        line.schedule(MILLI, ClientEvent::Turn);
        line
    }

    /// When something happens next: by events, bytes and the gateway's timer.
    pub(super) fn next_times(&self) -> (Option<Nanos>, Option<Nanos>) {
        (self.events.keys().next().map(|key| key.0), self.wire.next_delivery())
    }

    pub(super) fn is_over(&self) -> bool {
        self.events.is_empty() && self.wire.next_delivery().is_none()
    }

    pub(super) fn pop_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_first().map(|(_, event)| event)
    }

    pub(super) fn schedule(&mut self, at: Nanos, event: ClientEvent) {
        self.scheduled += 1;
        self.events.insert((at, self.scheduled), event);
    }

    /// Silence before a frame.
    pub(super) fn silence(&self) -> Nanos {
        super::wire::nanos(rtu::silence(self.listener.framing.baud_rate))
    }

    /// The master's next action, after a pause.
    pub(super) fn plan_turn(&mut self, now: Nanos) {
        if self.turns > 0 && self.rng.chance(60) {
            self.habits.pause = pace(&mut self.rng);
        }
        let pause = self.rng.below(self.habits.pause.max(1));
        let at = now + self.silence() + MILLI / 10 + pause;
        self.schedule(at, ClientEvent::Turn);
    }

    /// The master sends something. Returns the number of the transmission, and its end.
    pub(super) fn send(&mut self, now: Nanos, bytes: &[u8]) -> (usize, Nanos) {
        let talk = self.wire.talk(now, bytes, true, &mut self.rng);
        (talk, now + self.wire.time(bytes.len()))
    }

    /// The master sends a frame, of a request to the gateway or not.
    pub(super) fn send_frame(&mut self, now: Nanos, adu: &[u8], question: Option<Question>) -> u64 {
        let (talk, end) = self.send(now, adu);
        self.next_number += 1;
        let number = self.next_number;
        let begins = self.wire.delivered_at(now + self.wire.time(1));
        let arrives = self.wire.delivered_at(end);
        self.frames.drain(..self.frames.len().saturating_sub(FRAMES_KEPT));
        self.frames.push(MasterFrame { number, talk, end, begins, arrives, question });
        number
    }

    /// The master's last frame of which the gateway has received something.
    pub(super) fn last_frame(&mut self, now: Nanos) -> Option<&mut MasterFrame> {
        let last = self.frames.iter().rposition(|frame| frame.begins < now)?;
        self.frames.drain(..last);
        self.frames.first_mut()
    }

    pub(super) fn frame(&mut self, number: u64) -> Option<&mut MasterFrame> {
        self.frames.iter_mut().find(|frame| frame.number == number)
    }

    /// What another server answers, if it does.
    pub(super) fn other_answer(&mut self, unit: u8, pdu: &[u8], serial: u16) -> Option<(Nanos, Vec<u8>)> {
        let rng = &mut self.rng;
        let faults = self.habits.others_faults;
        if rng.chance(faults) {
            return None;
        }
        let reply = match pdu[0] {
            _ if rng.chance(100) => vec![pdu[0] | 0x80, 2],
            3 => {
                let length = usize::from(pdu[4]) * 2;
                let ours = rng.pick(&self.listener.units);
                // A request to the gateway inside.
                let [s1, s0] = serial.to_be_bytes();
                let inside = rtu::encode(ours, &[6, 0, rng.pick(&[0, 1, 2]), s1, s0]);
                let mut data: Vec<u8> = (0..length).map(|_| rng.byte()).collect();
                if length >= inside.len() {
                    let at = usize::try_from(rng.below((length - inside.len() + 1) as u64)).expect("small");
                    data[at..at + inside.len()].copy_from_slice(&inside);
                }
                [&[3, pdu[4] * 2][..], &data].concat()
            }
            1 => vec![1, 3, rng.byte(), rng.byte(), rng.byte()],
            _ => pdu.to_vec(),
        };
        let mut adu = rtu::encode(unit, &reply).to_vec();
        if rng.chance(faults) {
            answers::flip(&mut adu, rng);
        }
        let late = rng.chance(faults);
        let delay = if late { self.timeout + rng.below(300 * MILLI) } else { rng.below(30 * MILLI) };
        Some((self.silence() + delay, adu))
    }

    /// No longer part of any process: the number of the next one's connection.
    pub(super) fn begin_process(&mut self) {
        self.listener.connection += 1;
        self.keys.clear();
        self.handed_writes = 0;
        self.last_key = None;
        self.has_refused_writes = !self.listener.has_writes;
    }
}

fn habits(rng: &mut Rng) -> ClientHabits {
    let mut rate = |most: u64| if rng.chance(500) { 0 } else { rng.range(1, most) };
    ClientHabits {
        others: rate(400),
        others_faults: rate(400),
        strangers: rate(60),
        repeats: rate(400),
        halves: rate(100),
        flips: rate(100),
        noise: rate(150),
        glitches: rate(200),
        echo_damage: rate(150),
        port_lost: rate(20),
        writes: rng.pick(&[0, 200, 500]),
        broadcasts: rng.pick(&[0, 100]),
        pause: pace(rng),
    }
}

fn pace(rng: &mut Rng) -> Nanos {
    rng.pick(&[0, 5, 60, 300, 1500]) * MILLI
}

/// More than the master sends within the delay of an adapter.
const FRAMES_KEPT: usize = 16;

/// Unlike the number of any other connection.
const FIRST_CONNECTION: u64 = 1 << 40;
