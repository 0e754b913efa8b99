//! The environment of the line: a clock, clients, units, and the check of all outputs.
//!
//! Values identify the attempt and the request by which they were read. They are checked only as long as no bytes were
//! put on the line that no unit would send: CRC and counts do not detect a forgery.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use metergate::line::{
    Answer, Echo, Framing, Line, LineSettings, ListenerId, OfflineAfter, Output, Parity, PortEvent,
    PortSettingsChange, Protocol, Request, Source, Target, UnitId, UnitSettings,
};
use metergate::modbus::pdu::{ReadRange, RequestPdu};
use metergate::modbus::rtu;

/// A request of a client. Unit 0: a broadcast; unit 4 is not configured.
#[derive(Clone, Debug)]
pub struct Asked {
    pub connection: u64,
    pub unit: u8,
    pub pdu: RequestPdu,
    pub since: Instant,
    pub deadline: Instant,
    pub max_age: Duration,
}

/// A request on the wire.
#[derive(Debug)]
struct Sent {
    at: Instant,
    wire_end: Instant,
    adu: Bytes,
    pdu: RequestPdu,
    /// The answer of its unit, if it can be trusted.
    answered: Option<Vec<u8>>,
}

pub struct World {
    pub now: Instant,
    line: Line<u32>,
    settings: LineSettings,
    echoes: bool,
    opened: bool,
    closed: bool,
    /// Whether only units have sent so far.
    honest: bool,
    /// Whether units answer each request at once.
    healthy: bool,
    next_id: u32,
    waiting: BTreeMap<u32, Asked>,
    /// Requests whose client has gone.
    left: BTreeSet<u32>,
    sent: Vec<Sent>,
    /// Whether something has happened since the last request that may have ended it.
    disturbed: bool,
    quiet_since: Instant,
    written: BTreeSet<Bytes>,
    /// Bytes that units will send.
    due: Option<(Instant, Vec<u8>)>,
    /// Number of events that give the line a reason to request a call: calls beyond it are a spin.
    reasons: usize,
    calls: usize,
}

impl World {
    pub fn new((first, second): (u8, u8)) -> Self {
        let now = Instant::now();
        let echo = [Echo::Auto, Echo::Off, Echo::On, Echo::Auto][usize::from(first % 4)];
        let gap = Duration::from_millis(u64::from(first >> 4));
        let settings = settings(echo, gap, second);
        let mut world = Self {
            now,
            line: Line::new(settings.clone()),
            settings,
            echoes: echo == Echo::On,
            opened: false,
            closed: false,
            honest: true,
            healthy: false,
            next_id: 0,
            waiting: BTreeMap::new(),
            left: BTreeSet::new(),
            sent: Vec::new(),
            disturbed: true,
            quiet_since: now,
            written: BTreeSet::new(),
            due: None,
            reasons: 0,
            calls: 0,
        };
        world.port(PortEvent::Opened);
        world
    }

    pub fn next_id(&self) -> u32 {
        self.next_id
    }

    pub fn ask(&mut self, asked: Asked) {
        let target = match asked.unit {
            0 if asked.pdu.function().may_be_broadcast() => Target::Broadcast,
            unit => Target::Unit(UnitId::new(unit.max(1)).expect("1 to 4")),
        };
        let source = Source {
            address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1 + (asked.connection / 2) as u8)).into(),
            connection: asked.connection,
        };
        let (pdu, deadline, max_age) = (asked.pdu.clone(), asked.deadline, asked.max_age);
        let to = self.next_id;
        self.next_id += 1;
        self.reasons += 1;
        self.waiting.insert(to, asked);
        self.line.handle_request(
            Request { to, source, target, pdu, deadline, max_age, listener: ListenerId::default() },
            self.now,
        );
        self.settle();
    }

    /// The unit answers the `which`-last request with its values, or with an exception; in two chunks, the first of
    /// `lump` bytes, if that is not 0. Answers later than the guard cannot be distinguished, and a unit answers in
    /// order and once: other answers are not generated.
    pub fn answer(&mut self, which: u8, exception: Option<u8>, lump: usize) {
        let Some(index) = self.chosen(which) else { return };
        let (unit, arrival) =
            (self.sent[index].adu[0], self.now + if lump > 0 { LUMP } else { Duration::ZERO });
        let later = self.sent[index..].iter().any(|sent| sent.adu[0] == unit && sent.answered.is_some());
        if later || arrival >= self.sent[index].wire_end + TIMEOUT_MIN + GUARD {
            return;
        }
        let pdu = match exception {
            Some(code) => vec![self.sent[index].pdu.function().exception().0, code],
            None => answer_to(&self.sent[index].pdu, index),
        };
        self.sent[index].answered = Some(pdu.clone());
        let adu = self.with_echo(index, &rtu::encode(unit, &pdu));
        if lump > 0 && lump < adu.len() {
            self.deliver(&adu[..lump]);
            self.pass(LUMP);
            self.deliver(&adu[lump..]);
        } else {
            self.deliver(&adu);
        }
    }

    /// The unit answers, but the answer is damaged on the wire.
    pub fn damaged(&mut self, which: u8, damage: impl FnOnce(&mut Vec<u8>)) {
        let Some(index) = self.chosen(which) else { return };
        let pdu = answer_to(&self.sent[index].pdu, index);
        let mut adu = rtu::encode(self.sent[index].adu[0], &pdu).to_vec();
        damage(&mut adu);
        self.raw(&adu);
    }

    /// Bytes that no unit would send.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.honest = false;
        self.deliver(bytes);
    }

    /// The adapter echoes a request.
    pub fn echo(&mut self, which: u8) {
        if let Some(index) = self.chosen(which) {
            let adu = self.sent[index].adu.clone();
            self.raw(&adu);
        }
    }

    /// Repeats the same bytes in chunks, 15 ms apart.
    pub fn babble(&mut self, count: u8, length: usize, byte: u8) {
        for _ in 0..count {
            self.raw(&vec![byte; length]);
            self.pass(Duration::from_millis(15));
        }
        self.check_size();
    }

    pub fn port(&mut self, event: PortEvent) {
        // The owner of the port opens a lost one, and loses an open one.
        if self.opened == (event == PortEvent::Opened) {
            return;
        }
        self.opened = event == PortEvent::Opened;
        self.reasons += 1;
        self.disturbed = true;
        if self.opened {
            self.quiet_since = self.now;
        }
        self.line.handle_port(event, self.now);
        self.settle();
        if !self.opened {
            assert!(self.waiting.is_empty(), "somebody waits for a port that is gone: {:?}", self.waiting);
        }
    }

    pub fn leave(&mut self, connection: u64) {
        // Requests on the wire are answered with their outcome, the others at once.
        let of_it = |(&id, asked): (&u32, &Asked)| (asked.connection == connection).then_some(id);
        let gone: BTreeSet<u32> = self.waiting.iter().filter_map(of_it).collect();
        self.left.extend(&gone);
        self.line.drop_requests(|to| gone.contains(to));
        self.settle();
    }

    /// A reload: other limits, unit 3 added or removed, and the port reopened or not.
    pub fn reload(&mut self, how: u8) {
        let mut settings = self.settings.clone();
        settings.retries = u32::from(how % 3);
        settings.queue_limit = 1 + usize::from(how >> 2 & 7);
        settings.units.truncate(if how & 0x20 == 0 { 3 } else { 2 });
        let port = if how & 0x40 == 0 { PortSettingsChange::Unchanged } else { PortSettingsChange::Reopened };
        self.obey(settings, port);
    }

    fn obey(&mut self, settings: LineSettings, port: PortSettingsChange) {
        self.reasons += 1;
        self.line.handle_settings(settings, port, self.now);
        self.settle();
        if port == PortSettingsChange::Reopened && self.opened {
            self.opened = false;
            self.port(PortEvent::Opened);
        }
    }

    pub fn close(&mut self) {
        self.closed = true;
        self.line.close();
        self.settle();
    }

    /// Time passes; the line is called exactly when it requests it.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let bytes_at = self.due.as_ref().map(|(at, _)| *at).filter(|&at| at <= until);
            let call_at = self.line.poll_timeout().filter(|&at| at <= until);
            match (bytes_at, call_at) {
                (Some(at), call) if call.is_none_or(|call| at <= call) => {
                    self.now = self.now.max(at);
                    let (_, bytes) = self.due.take().expect("it is due");
                    self.deliver(&bytes);
                }
                (_, Some(at)) => self.call(at),
                (_, None) => break,
            }
        }
        self.now = until;
    }

    pub fn pass_to_next(&mut self) {
        if let Some(at) = self.line.poll_timeout() {
            self.pass(at.saturating_duration_since(self.now).min(Duration::from_secs(5)));
        }
    }

    /// A call before its time does nothing.
    pub fn call_early(&mut self) {
        if self.line.poll_timeout().is_none_or(|at| at > self.now) {
            self.line.handle_timeout(self.now);
            let output = self.line.poll_output();
            assert!(output.is_none(), "a call before its time did something: {output:?}");
        }
    }

    /// No more input: all requests are answered. Then the units and the line recover.
    pub fn finish(mut self) {
        self.pass(Duration::from_secs(6));
        assert!(self.waiting.is_empty(), "never answered: {:?}", self.waiting);
        assert!(self.line.is_idle() || !self.closed, "closed, but not idle");
        if self.closed {
            return;
        }
        self.port(PortEvent::Opened);
        self.obey(self.settings.clone(), PortSettingsChange::Unchanged);
        self.healthy = true;
        self.pass(Duration::from_secs(30));
        for unit in 1..=3 {
            // Not requested before, so not among the reads that a unit ignores.
            let pdu = RequestPdu::decode(Bytes::from_static(&[3, 0, 100, 0, 2])).expect("a good request");
            let (since, deadline) = (self.now, self.now + Duration::from_secs(2));
            self.ask(Asked { connection: 9, unit, pdu, since, deadline, max_age: Duration::ZERO });
            let before = self.sent.len();
            self.pass(Duration::from_secs(3));
            let last = self.sent[before.saturating_sub(1)..].iter().any(|sent| sent.adu[0] == unit);
            assert!(last, "unit {unit} is well, but is not asked");
        }
        assert!(self.waiting.is_empty());
        self.check_size();
    }

    fn call(&mut self, at: Instant) {
        self.now = self.now.max(at);
        self.calls += 1;
        assert!(self.calls <= 64 + 8 * self.reasons, "the line asks for calls without a reason");
        self.line.handle_timeout(self.now);
        self.settle();
    }

    fn deliver(&mut self, bytes: &[u8]) {
        if !self.opened || bytes.is_empty() {
            return;
        }
        self.reasons += 1;
        self.disturbed = true;
        self.quiet_since = self.quiet_since.max(self.now);
        self.line.handle_bytes(bytes, self.now);
        self.settle();
    }

    /// Polls outputs until there are none.
    fn settle(&mut self) {
        let most = 16 + 2 * self.waiting.len() + 2 * FRAMES_MAX;
        for _ in 0..most {
            match self.line.poll_output() {
                None => return,
                Some(Output::Publish(_) | Output::Record(_) | Output::Event(_)) => {}
                Some(Output::Transmit(adu)) => self.transmitted(adu),
                Some(Output::Disconnect(error)) => panic!("RTU has no connection to close: {error:?}"),
                Some(Output::Reply { to, answer }) => self.replied(to, &answer),
            }
        }
        panic!("more than {most} outputs at once");
    }

    fn transmitted(&mut self, adu: Bytes) {
        assert!(self.opened && !self.closed, "sent into a port that is not there");
        assert!(adu.len() <= rtu::ADU_MAX && rtu::crc_is_right(&adu));
        let pdu = RequestPdu::decode(adu.slice(1..adu.len() - 2)).expect("what is sent keeps the limits");
        assert!(self.now >= self.quiet_since + SILENCE, "sent without silence");
        if let Some(last) = self.sent.last() {
            let rest = if last.adu[0] == 0 { TURNAROUND } else { TIMEOUT_MIN };
            let over = self.now >= last.wire_end + rest;
            assert!(over || (self.disturbed && last.adu[0] != 0) || !self.opened, "two requests at once");
        }
        if !pdu.is_read() {
            // Each has a number of its own, except those whose bytes come from the fuzzer.
            assert!(self.written.insert(adu.clone()) || !is_unique(&pdu), "a write was repeated");
        }
        let wire_end = self.now + wire_time(adu.len());
        self.quiet_since = wire_end;
        self.disturbed = false;
        self.reasons += 1;
        self.sent.push(Sent { at: self.now, wire_end, adu, pdu, answered: None });
        let index = self.sent.len() - 1;
        if self.healthy && self.sent[index].adu[0] != 0 {
            let answer = answer_to(&self.sent[index].pdu, index);
            let adu = rtu::encode(self.sent[index].adu[0], &answer);
            self.sent[index].answered = Some(answer);
            self.due = Some((wire_end + Duration::from_millis(5), self.with_echo(index, &adu)));
        }
    }

    fn replied(&mut self, to: u32, answer: &Answer) {
        self.reasons += 1;
        let asked = self.waiting.remove(&to).expect("answered twice");
        let at_once = self.now <= asked.since;
        assert!(self.now <= asked.deadline || at_once, "answered after its deadline");
        let Answer::Reply(reply) = answer else {
            let left = self.left.contains(&to);
            assert!(left || !self.healthy, "unit {} is well, but {answer:?}", asked.unit);
            return;
        };
        if self.honest {
            let genuine = |(index, sent): (usize, &Sent)| is_answer(&asked, sent, index, reply);
            assert!(self.sent.iter().enumerate().any(genuine), "{reply:02X?} was never read for {asked:?}");
        }
    }

    /// One of the last four requests on the wire to a unit that exists.
    fn chosen(&self, which: u8) -> Option<usize> {
        let index = self.sent.len().checked_sub(1 + usize::from(which % 4))?;
        (self.sent[index].adu[0] != 0 && self.now >= self.sent[index].wire_end).then_some(index)
    }

    fn with_echo(&self, index: usize, answer: &[u8]) -> Vec<u8> {
        let sent = &self.sent[index];
        let echo = if self.echoes && self.sent.len() == index + 1 { &sent.adu[..] } else { &[] };
        [echo, answer].concat()
    }

    /// Everything the line keeps is bounded by its waiting requests, however long the line has babbled.
    fn check_size(&self) {
        let size = format!("{:?}", self.line).len();
        assert!(size < 32_000 + 2_000 * self.waiting.len(), "the line has grown to {size}");
    }
}

/// Whether `reply` is what `sent` read for `asked`, and young enough for it.
fn is_answer(asked: &Asked, sent: &Sent, index: usize, reply: &[u8]) -> bool {
    let Some(answer) = &sent.answered else { return false };
    if asked.unit.max(1) != sent.adu[0] || sent.at + asked.max_age < asked.since {
        return false;
    }
    match (asked.pdu.range(), sent.pdu.range()) {
        (Some(wanted), Some(read)) if answer[0] & 0x80 == 0 => {
            read.covers(&wanted) && values(&wanted, index) == reply
        }
        (Some(wanted), Some(read)) => read.covers(&wanted) && answer == reply,
        _ => asked.pdu == sent.pdu && answer == reply,
    }
}

/// The answer of a healthy meter; values identify the address and the attempt.
fn answer_to(pdu: &RequestPdu, sending: usize) -> Vec<u8> {
    match (pdu.range(), pdu.function().0) {
        (Some(range), _) => values(&range, sending),
        (None, 0x05 | 0x06 | 0x08) => pdu.bytes().to_vec(),
        (None, 0x10) => pdu.bytes()[..5].to_vec(),
        (None, 0x11) => vec![0x11, 3, sending as u8, 0xFF, 0x4C],
        (None, _) => vec![pdu.function().exception().0, 0x01],
    }
}

fn values(range: &ReadRange, sending: usize) -> Vec<u8> {
    let mut reply = vec![range.function.0, range.byte_count() as u8];
    if range.function.0 <= 2 {
        reply.resize(2 + range.byte_count(), 0);
        for bit in 0..range.quantity {
            let value = (sending as u32).wrapping_mul(0x9E37_79B9) >> ((range.start + bit) % 32) & 1;
            reply[2 + usize::from(bit / 8)] |= (value as u8) << (bit % 8);
        }
    } else {
        let words = (range.start..).take(usize::from(range.quantity));
        reply.extend(words.flat_map(|address| [sending as u8, address as u8]));
    }
    reply
}

/// Whether the request carries a unique number.
fn is_unique(pdu: &RequestPdu) -> bool {
    match pdu.bytes()[..] {
        [0x06, 0, address, ..] => address < 32 && pdu.bytes().len() == 5,
        _ => false,
    }
}

fn wire_time(bytes: usize) -> Duration {
    Duration::from_nanos((bytes as u64 * 10 * 1_000_000_000).div_ceil(19_200))
}

fn settings(echo: Echo, gap: Duration, second: u8) -> LineSettings {
    let unit = |id: u8, response_timeout: u64, request_gap: u64| UnitSettings {
        request_gap: Duration::from_millis(request_gap),
        ..UnitSettings::new(UnitId::new(id).expect("1 to 3"), Duration::from_millis(response_timeout))
    };
    LineSettings {
        name: "fuzz".into(),
        protocol: Protocol::Rtu(Framing { baud_rate: 19_200, parity: Parity::None, stop_bits: 1 }),
        response_timeout: Duration::from_millis(200),
        request_gap: gap,
        turnaround_delay: TURNAROUND,
        late_guard: GUARD,
        retries: u32::from(second % 3),
        queue_limit: 1 + usize::from(second >> 2 & 7),
        poll_share: 0.6,
        learn_limit: 4,
        failure_share: 0.02,
        offline_after: OfflineAfter { failures: 3, time: Duration::from_secs(1) },
        probe_max: Duration::from_secs(4),
        echo,
        units: vec![unit(1, 200, 0), unit(2, 200, 20), unit(3, 100, 0)],
    }
}

/// The shortest timeout of any unit.
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
const GUARD: Duration = Duration::from_millis(200);
const TURNAROUND: Duration = Duration::from_millis(50);
/// Frames that may be in received bytes that were not examined in full: each is an event and a record.
const FRAMES_MAX: usize = 2 * rtu::ADU_MAX / 4;
/// 3.5 characters of 11 bits.
const SILENCE: Duration = Duration::from_nanos(38_500_000_000 / 19_200);
/// Between two chunks of one answer, as USB adapters deliver them.
const LUMP: Duration = Duration::from_millis(16);
