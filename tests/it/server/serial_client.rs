//! The line of a serial client: which bytes are requests, and when an answer is sent. No clock, no port: instants and
//! bytes by hand, and a seeded simulation of a line with other servers, damage, glitches and echo.

use std::time::{Duration, Instant};

use bytes::Bytes;
use metergate::line::{Echo, Framing, Parity};
use metergate::modbus::rtu;
use metergate::server::connection::serial_client::{ClientWire, WireAction};

const OURS: u8 = 7;
const OTHER: u8 = 9;
const READ: &[u8] = &[3, 0, 0, 0, 2];
const WRITE: &[u8] = &[6, 0, 1, 0, 3];
const WITHIN: Duration = Duration::from_millis(300);
const FRAMING: Framing = Framing { baud_rate: 19200, parity: Parity::None, stop_bits: 1 };

/// A line and the present, in microseconds after its start.
struct Rig {
    wire: ClientWire,
    start: Instant,
    now: u64,
    /// What was sent, and when.
    sent: Vec<(u64, Bytes)>,
    requests: Vec<(u8, Bytes)>,
    /// When the last byte of each request had come.
    received: Vec<u64>,
    superseded: usize,
    too_late: usize,
}

impl Rig {
    fn new(echo: Echo) -> Self {
        let mut served = Box::new([false; 256]);
        served[usize::from(OURS)] = true;
        let mut wire = ClientWire::new(FRAMING, echo);
        wire.handle_settings(served, WITHIN);
        let start = Instant::now();
        Self {
            wire,
            start,
            now: 0,
            sent: vec![],
            requests: vec![],
            received: vec![],
            superseded: 0,
            too_late: 0,
        }
    }

    fn instant(&self, at: u64) -> Instant {
        self.start + Duration::from_micros(at)
    }

    fn collect(&mut self) {
        while let Some(action) = self.wire.poll_action() {
            match action {
                WireAction::Request { unit, pdu, received_at } => {
                    self.requests.push((unit, pdu));
                    let micros = received_at.saturating_duration_since(self.start).as_micros();
                    self.received.push(u64::try_from(micros).unwrap());
                }
                WireAction::Superseded => self.superseded += 1,
                WireAction::Transmit(adu) => self.sent.push((self.now, adu)),
                WireAction::TooLate => self.too_late += 1,
                WireAction::Dropped(bytes) => assert!(bytes > 0),
            }
        }
    }

    /// Lets time pass, with everything that falls due on the way.
    fn to(&mut self, at: u64) {
        let mut steps = 0;
        while let Some(due) = self.wire.poll_timeout() {
            let due = u64::try_from(due.saturating_duration_since(self.start).as_nanos().div_ceil(1000));
            let due = due.unwrap().max(self.now);
            if due > at {
                break;
            }
            self.now = due;
            self.wire.handle_timeout(self.instant(due));
            self.collect();
            steps += 1;
            assert!(steps < 100, "a timeout that changes nothing");
        }
        self.now = at;
    }

    fn pass(&mut self, millis: u64) {
        self.to(self.now + millis * 1000);
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.wire.handle_bytes(bytes, self.instant(self.now));
        self.collect();
    }

    /// A request and its answer, up to the end of the silence after it.
    fn exchange(&mut self, asked: &[u8], answered: &[u8]) -> Bytes {
        let (requests, sent) = (self.requests.len(), self.sent.len());
        self.receive(&rtu::encode(OURS, asked));
        assert_eq!(self.requests.len(), requests + 1, "{asked:02X?} is a request");
        let adu = self.answer(answered);
        self.pass(3);
        assert_eq!(self.sent.len(), sent + 1, "{asked:02X?} is answered");
        self.to(self.sent[sent].0 + wire_micros(&adu) + 2_006);
        adu
    }

    fn answer(&mut self, pdu: &[u8]) -> Bytes {
        let adu = rtu::encode(OURS, pdu);
        self.wire.handle_answer(adu.clone(), self.instant(self.now));
        self.collect();
        adu
    }
}

/// How long a frame takes on the wire.
fn wire_micros(adu: &[u8]) -> u64 {
    u64::try_from(FRAMING.wire_time(adu.len()).as_nanos().div_ceil(1000)).unwrap()
}

fn answer_of_read() -> [u8; 6] {
    [3, 4, 0, 1, 0, 2]
}

#[test]
fn an_answer_waits_for_the_silence_of_three_and_a_half_characters() {
    let mut rig = Rig::new(Echo::Off);
    rig.receive(&rtu::encode(OURS, READ));
    assert_eq!(rig.requests, [(OURS, Bytes::from_static(READ))]);
    let adu = rig.answer(&answer_of_read());
    assert_eq!(rig.sent, []);
    rig.pass(10);
    assert_eq!(rig.sent, [(2006, adu)], "2.005 ms at 19200 baud");
    rig.pass(1000);
    assert_eq!(rig.sent.len(), 1, "once");
}

#[test]
fn an_answer_begins_in_time_or_not_at_all() {
    for (after, is_sent) in [(299, true), (300, false), (2000, false)] {
        let mut rig = Rig::new(Echo::Off);
        rig.receive(&rtu::encode(OURS, READ));
        rig.pass(after);
        rig.answer(&answer_of_read());
        rig.pass(100);
        assert_eq!(
            (rig.sent.len(), rig.too_late),
            (usize::from(is_sent), usize::from(!is_sent)),
            "{after} ms"
        );
    }
}

#[test]
fn the_next_request_supersedes_the_one_before_wherever_it_goes() {
    let mut rig = Rig::new(Echo::Off);
    rig.receive(&rtu::encode(OURS, READ));
    rig.pass(50);
    rig.receive(&rtu::encode(OTHER, READ));
    assert_eq!(rig.superseded, 1);
    rig.answer(&answer_of_read());
    rig.pass(50);
    assert_eq!(rig.sent, [], "the client waits for the other server");
    rig.receive(&rtu::encode(OURS, WRITE));
    let adu = rig.answer(WRITE);
    rig.pass(50);
    assert_eq!(rig.sent.last().map(|(_, adu)| adu), Some(&adu));
}

#[test]
fn nothing_is_sent_while_the_client_is_sending() {
    let mut rig = Rig::new(Echo::Off);
    rig.receive(&rtu::encode(OURS, READ));
    rig.pass(10);
    let next = rtu::encode(OURS, WRITE);
    rig.receive(&next[..3]);
    rig.answer(&answer_of_read());
    rig.pass(5);
    rig.receive(&next[3..]);
    rig.pass(50);
    assert_eq!(rig.sent, []);
    assert_eq!(rig.requests.len(), 2);
}

#[test]
fn noise_delays_an_answer_and_does_not_drop_it() {
    let mut rig = Rig::new(Echo::Off);
    rig.receive(&rtu::encode(OURS, READ));
    rig.pass(1);
    rig.receive(&[0x00]);
    rig.answer(&answer_of_read());
    rig.pass(15);
    assert_eq!(rig.sent, []);
    rig.pass(50);
    assert_eq!(rig.sent.len(), 1);
}

#[test]
fn an_answer_is_given_up_in_time_though_the_line_is_never_silent() {
    let mut rig = Rig::new(Echo::Off);
    rig.receive(&rtu::encode(OURS, READ));
    rig.answer(&answer_of_read());
    for _ in 0..160 {
        rig.receive(&[0x00]);
        rig.pass(2);
    }
    assert_eq!((rig.sent.len(), rig.superseded, rig.too_late), (0, 0, 1));
    assert!(!rig.wire.has_answer());
}

#[test]
fn a_broadcast_is_a_request_without_an_answer() {
    let mut rig = Rig::new(Echo::Off);
    rig.receive(&rtu::encode(0, WRITE));
    assert_eq!(rig.requests.len(), 1);
    rig.answer(WRITE);
    rig.pass(500);
    assert_eq!(rig.sent, []);
}

#[test]
fn an_echo_is_never_a_request() {
    for echo in [Echo::On, Echo::Auto] {
        let mut rig = Rig::new(echo);
        for round in 1..5 {
            rig.receive(&rtu::encode(OURS, WRITE));
            let adu = rig.answer(WRITE);
            rig.pass(3);
            // In pieces, and later than the wire takes.
            rig.receive(&adu[..5]);
            rig.pass(8);
            rig.receive(&adu[5..]);
            rig.pass(100);
            assert_eq!((rig.requests.len(), rig.sent.len()), (round, round), "{echo:?}");
        }
    }
}

#[test]
fn an_echo_behind_a_glitch_is_no_request() {
    for echo in [Echo::On, Echo::Auto] {
        for glitch in [&[0x00][..], &[0xFF], &[0x00, 0xFF], &[0x7E]] {
            let mut rig = Rig::new(echo);
            for round in 1..5 {
                rig.receive(&rtu::encode(OURS, WRITE));
                let adu = rig.answer(WRITE);
                rig.pass(3);
                rig.receive(glitch);
                rig.pass(5);
                rig.receive(&adu);
                rig.pass(1000);
                assert_eq!((rig.requests.len(), rig.sent.len()), (round, round), "{echo:?} {glitch:02X?}");
            }
        }
    }
}

#[test]
fn a_late_echo_is_no_request_and_no_proof_that_there_is_none() {
    for echo in [Echo::On, Echo::Auto] {
        let mut rig = Rig::new(echo);
        for round in 1..8 {
            rig.receive(&rtu::encode(OURS, WRITE));
            let adu = rig.answer(WRITE);
            rig.pass([40, 150, 490][round % 3]);
            rig.receive(&adu);
            rig.pass(1000);
            assert_eq!((rig.requests.len(), rig.sent.len()), (round, round), "{echo:?}");
        }
    }
    // With `on` an echo may take any time.
    let mut rig = Rig::new(Echo::On);
    rig.receive(&rtu::encode(OURS, WRITE));
    let adu = rig.answer(WRITE);
    rig.pass(3000);
    rig.receive(&adu);
    rig.pass(1000);
    assert_eq!(rig.requests.len(), 1);
}

#[test]
fn two_lost_echoes_are_no_proof_that_there_is_none() {
    let mut rig = Rig::new(Echo::Auto);
    rig.exchange(READ, &answer_of_read());
    rig.exchange(READ, &answer_of_read());
    let adu = rig.exchange(WRITE, WRITE);
    rig.receive(&adu);
    rig.pass(1000);
    assert_eq!((rig.requests.len(), rig.sent.len()), (3, 3));
}

#[test]
fn what_is_left_of_a_damaged_echo_is_no_request() {
    // The registers of the answer hold a request to this gateway.
    let held = rtu::encode(OURS, WRITE);
    let answer = [&[3, 8][..], &held].concat();
    for echo in [Echo::On, Echo::Auto] {
        let mut rig = Rig::new(echo);
        let adu = rig.exchange(READ, &answer);
        rig.receive(&adu[3..11]);
        rig.pass(30);
        rig.receive(&adu[..2]);
        rig.pass(30);
        rig.receive(&adu[3..]);
        rig.pass(1000);
        assert_eq!((rig.requests.len(), rig.sent.len()), (1, 1), "{echo:?}");
        // It is over: the client goes on.
        rig.exchange(&[6, 0, 1, 0, 4], &[6, 0, 1, 0, 4]);
    }
}

#[test]
fn nothing_that_comes_while_an_answer_is_being_sent_is_a_request() {
    for echo in [Echo::On, Echo::Off, Echo::Auto] {
        let mut rig = Rig::new(echo);
        rig.receive(&rtu::encode(OURS, READ));
        rig.answer(&answer_of_read());
        rig.pass(3);
        rig.receive(&rtu::encode(OURS, WRITE));
        rig.pass(500);
        assert_eq!((rig.requests.len(), rig.sent.len()), (1, 1), "{echo:?}");
    }
}

#[test]
fn a_client_that_asks_again_at_once_is_answered_whatever_is_known_of_an_echo() {
    for echo in [Echo::On, Echo::Off, Echo::Auto] {
        let mut rig = Rig::new(echo);
        for round in 0..10 {
            let address = round % 2;
            rig.exchange(&[3, 0, address, 0, 2], &answer_of_read());
            // In pieces, the first of which may be the begin of an echo, and behind a glitch.
            let next = rtu::encode(OURS, &[3, 0, address, 0, 7]);
            if round % 3 == 0 {
                rig.receive(&[0x00]);
            }
            rig.receive(&next[..2]);
            rig.pass(12);
            let last = rig.now;
            rig.receive(&next[2..]);
            assert_eq!(rig.received.last(), Some(&last), "{echo:?}, round {round}");
            rig.answer(&answer_of_read());
            rig.pass(20);
        }
        assert_eq!((rig.requests.len(), rig.sent.len()), (20, 20), "{echo:?}");
    }
}

#[test]
fn without_an_echo_a_write_may_be_repeated() {
    // Not known yet: only a repetition that comes soon is taken for an echo.
    let mut rig = Rig::new(Echo::Auto);
    rig.exchange(WRITE, WRITE);
    rig.pass(600);
    rig.exchange(WRITE, WRITE);
    // Three requests without an echo before them.
    for address in 0..3 {
        rig.exchange(&[3, 0, address, 0, 2], &answer_of_read());
    }
    rig.exchange(&[3, 0, 9, 0, 2], &answer_of_read());
    for _ in 0..3 {
        rig.exchange(WRITE, WRITE);
    }
}

#[test]
fn an_echo_that_shows_up_later_is_noticed() {
    let mut rig = Rig::new(Echo::Auto);
    for address in 0..5 {
        rig.exchange(&[3, 0, address, 0, 2], &answer_of_read());
    }
    let adu = rig.exchange(&[3, 0, 9, 0, 2], &answer_of_read());
    rig.receive(&adu);
    rig.pass(100);
    let adu = rig.exchange(WRITE, WRITE);
    rig.pass(700);
    rig.receive(&adu);
    rig.pass(700);
    assert_eq!((rig.requests.len(), rig.sent.len()), (7, 7));
}

#[test]
fn an_answer_is_not_sent_because_the_next_bytes_arrive() {
    let mut rig = Rig::new(Echo::Off);
    rig.receive(&rtu::encode(OURS, READ));
    rig.answer(&answer_of_read());
    // The silence is over, and the client begins before the timer runs.
    rig.now += 5_000;
    rig.receive(&rtu::encode(OTHER, READ)[..4]);
    assert_eq!(rig.sent, []);
    rig.receive(&rtu::encode(OTHER, READ)[4..]);
    rig.pass(100);
    assert_eq!((rig.sent.len(), rig.superseded), (0, 1));
}

#[test]
fn the_time_to_answer_counts_from_the_last_byte() {
    // Of a function whose length is not known: a pause ends it.
    let mut rig = Rig::new(Echo::Off);
    rig.pass(10);
    rig.receive(&rtu::encode(OURS, &[0x41, 1, 2]));
    rig.pass(25);
    assert_eq!((rig.requests.len(), &rig.received[..]), (1, &[10_000][..]));
    rig.to(310_001);
    rig.answer(&[0x41, 9]);
    rig.pass(100);
    assert_eq!((rig.sent.len(), rig.too_late), (0, 1));
}

#[test]
fn a_late_answer_of_another_server_supersedes_nothing() {
    let mut rig = Rig::new(Echo::Off);
    for (asked, late) in [(READ, &answer_of_read()[..]), (WRITE, WRITE)] {
        let (sent, superseded) = (rig.sent.len(), rig.superseded);
        rig.receive(&rtu::encode(OTHER, asked));
        rig.pass(1000);
        rig.receive(&rtu::encode(OURS, READ));
        rig.pass(1);
        rig.receive(&rtu::encode(OTHER, late));
        rig.answer(&answer_of_read());
        rig.pass(50);
        assert_eq!((rig.sent.len(), rig.superseded), (sent + 1, superseded));
    }
}

#[test]
fn a_damaged_next_request_supersedes_and_noise_does_not() {
    for (length, sent) in [(3, 1), (4, 0), (8, 0)] {
        let mut rig = Rig::new(Echo::Off);
        rig.receive(&rtu::encode(OURS, READ));
        rig.pass(1);
        rig.receive(&[0x55; 8][..length]);
        rig.pass(50);
        rig.answer(&answer_of_read());
        rig.pass(50);
        assert_eq!((rig.sent.len(), rig.superseded), (sent, 1 - sent), "{length} bytes");
    }
}

#[test]
fn a_request_soon_after_frames_of_another_server_is_answered() {
    for glitch in [&[][..], &[0x00]] {
        let mut rig = Rig::new(Echo::Off);
        for round in 1..5 {
            rig.receive(&rtu::encode(OTHER, READ));
            rig.pass(4);
            rig.receive(glitch);
            rig.receive(&rtu::encode(OTHER, &answer_of_read()));
            rig.pass(3);
            rig.receive(&rtu::encode(OURS, READ));
            assert_eq!(rig.requests.len(), round, "{glitch:02X?}");
            rig.answer(&answer_of_read());
            rig.pass(12);
            assert_eq!(rig.sent.len(), round, "{glitch:02X?}");
        }
    }
}

#[test]
fn a_request_that_is_not_handled_gets_no_answer_of_another() {
    let mut rig = Rig::new(Echo::Off);
    rig.receive(&rtu::encode(OURS, READ));
    rig.pass(50);
    rig.receive(&rtu::encode(OURS, WRITE));
    rig.wire.drop_request();
    rig.answer(&answer_of_read());
    rig.pass(100);
    assert_eq!(rig.sent, []);
}

#[test]
fn the_end_of_an_answer_is_known() {
    let mut rig = Rig::new(Echo::Off);
    assert_eq!(rig.wire.sending_until(), None);
    rig.receive(&rtu::encode(OURS, READ));
    let adu = rig.answer(&answer_of_read());
    rig.pass(3);
    let end = rig.wire.sending_until().unwrap();
    assert!(end >= rig.instant(rig.sent[0].0 + wire_micros(&adu)));
    assert!(end <= rig.instant(rig.now + 30_000));
}

/// A small generator: the simulation needs no more than that its seeds repeat.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn one_in(&mut self, limit: u64) -> bool {
        self.below(limit) == 0
    }
}

/// Delivers bytes as an adapter does: in pieces, up to 12 ms apart.
fn deliver(rig: &mut Rig, dice: &mut Dice, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let size = 1 + usize::try_from(dice.below(rest.len() as u64)).unwrap();
        rig.receive(&rest[..size]);
        rest = &rest[size..];
        if !rest.is_empty() {
            rig.to(rig.now + dice.below(12_000));
        }
    }
}

/// A frame of another server with a request to this one inside.
fn foreign_answer(dice: &mut Dice) -> Vec<u8> {
    let mut data = rtu::encode(OURS, READ).to_vec();
    data.extend(rtu::encode(OURS, WRITE));
    data.resize(16 + 2 * usize::try_from(dice.below(20)).unwrap(), 0x55);
    rtu::encode(OTHER, &[&[3, u8::try_from(data.len()).unwrap()], &data[..]].concat()).to_vec()
}

/// One line with a client that asks both servers, gives up, is damaged and repeats itself.
struct Simulation {
    dice: Dice,
    rig: Rig,
    has_echo: bool,
    asked: Vec<(u8, Bytes)>,
    /// The seed and the step, for messages.
    context: String,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let echo = [Echo::On, Echo::Off, Echo::Auto][usize::try_from(dice.below(3)).unwrap()];
        let has_echo = match echo {
            Echo::On => true,
            Echo::Off => false,
            Echo::Auto => dice.one_in(2),
        };
        Self { dice, rig: Rig::new(echo), has_echo, asked: Vec::new(), context: String::new() }
    }

    fn run(&mut self, seed: u64) {
        for step in 0..40_u8 {
            self.context = format!("seed {seed}, step {step}");
            match self.dice.below(8) {
                0 | 1 => self.ask_another_server(),
                2 => self.ask_with_damage(),
                kind => {
                    let pdu = if kind < 5 { [3, 0, step, 0, 2] } else { [6, 0, 1, 0, step] };
                    self.ask(Bytes::copy_from_slice(&pdu));
                }
            }
        }
    }

    /// Its request, and perhaps its answer, whole or damaged. The next request may follow soon.
    fn ask_another_server(&mut self) {
        let Self { dice, rig, context, .. } = self;
        let before = (rig.requests.len(), rig.sent.len());
        deliver(rig, dice, &rtu::encode(OTHER, &[3, 0, 0, 0, 8]));
        let mut is_damaged = false;
        if !dice.one_in(3) {
            rig.to(rig.now + 2_500 + dice.below(30_000));
            if dice.one_in(4) {
                rig.receive(&[0x00]);
            }
            let mut answer = foreign_answer(dice);
            is_damaged = dice.one_in(3);
            if is_damaged {
                let at = usize::try_from(dice.below(answer.len() as u64)).unwrap();
                answer[at] ^= 1 << dice.below(8);
            }
            deliver(rig, dice, &answer);
        }
        rig.pass(if is_damaged { 40 } else { 3 + dice.below(40) });
        assert_eq!((rig.requests.len(), rig.sent.len()), before, "{context}: a foreign frame");
    }

    fn ask_with_damage(&mut self) {
        let Self { dice, rig, context, asked, .. } = self;
        let mut adu = rtu::encode(OURS, READ).to_vec();
        let at = usize::try_from(dice.below(adu.len() as u64)).unwrap();
        adu[at] ^= 1 << dice.below(8);
        deliver(rig, dice, &adu);
        rig.pass(40);
        assert_eq!(rig.requests.len(), asked.len(), "{context}: a damaged request");
    }

    /// A request to the gateway, which is answered after a while.
    fn ask(&mut self, pdu: Bytes) {
        let Self { dice, rig, context, asked, .. } = self;
        let sent = rig.sent.len();
        if dice.one_in(4) {
            rig.receive(&[if dice.one_in(2) { 0x00 } else { 0xFF }]);
        }
        deliver(rig, dice, &rtu::encode(OURS, &pdu));
        asked.push((OURS, pdu.clone()));
        assert_eq!(rig.requests, *asked, "{context}: each request once, in order");
        let last = rig.now;
        rig.to(rig.now + dice.below(400_000));
        let answered = rig.now;
        let adu = if pdu[0] == 6 { rig.answer(&pdu) } else { rig.answer(&answer_of_read()) };
        rig.to(rig.now + 3_000);
        if answered < last + 300_000 - 2_006 {
            assert_eq!(rig.sent.len(), sent + 1, "{context}: answered");
        }
        if let Some((at, answer)) = rig.sent.get(sent).cloned() {
            assert_eq!(answer, adu, "{context}");
            assert!(at >= last + 2_005 && at < last + 300_000, "{context}: sent after {}", at - last);
            rig.to(at.max(rig.now) + wire_micros(&adu));
            if self.has_echo {
                self.echo(&answer);
            }
        }
        self.rig.pass(3 + self.dice.below(60));
        let Self { rig, context, asked, .. } = self;
        assert_eq!((rig.requests.len(), rig.sent.len() <= sent + 1), (asked.len(), true), "{context}");
    }

    /// Usually at once, sometimes late, behind a glitch, or with damage.
    fn echo(&mut self, answer: &[u8]) {
        let Self { dice, rig, .. } = self;
        let latest = if dice.one_in(5) { 400_000 } else { 10_000 };
        rig.to(rig.now + dice.below(latest));
        if dice.one_in(5) {
            rig.receive(&[[0x00, 0xFF, 0x7E][usize::try_from(dice.below(3)).unwrap()]]);
        }
        let mut echo = answer.to_vec();
        let is_damaged = dice.one_in(8);
        if is_damaged {
            let at = usize::try_from(dice.below(echo.len() as u64)).unwrap();
            echo[at] ^= 1 << dice.below(8);
        }
        deliver(rig, dice, &echo);
        if is_damaged {
            // Behind something damaged only a pause shows where the next frame begins.
            rig.pass(40);
        }
    }
}

#[test]
fn seeded_lines_with_other_servers_damage_and_echo() {
    let seeds = std::env::var("METERGATE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(500);
    for seed in 0..seeds {
        Simulation::new(seed).run(seed);
    }
}
