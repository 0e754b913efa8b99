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
        Self { wire, start, now: 0, sent: vec![], requests: vec![], superseded: 0, too_late: 0 }
    }

    fn instant(&self, at: u64) -> Instant {
        self.start + Duration::from_micros(at)
    }

    fn collect(&mut self) {
        while let Some(action) = self.wire.poll_action() {
            match action {
                WireAction::Request { unit, pdu } => self.requests.push((unit, pdu)),
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

    fn answer(&mut self, pdu: &[u8]) -> Bytes {
        let adu = rtu::encode(OURS, pdu);
        self.wire.handle_answer(adu.clone(), self.instant(self.now));
        self.collect();
        adu
    }
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
fn without_an_echo_a_write_may_be_repeated() {
    let mut rig = Rig::new(Echo::Auto);
    for round in 1..5 {
        rig.receive(&rtu::encode(OURS, WRITE));
        rig.answer(WRITE);
        // At first it takes a pause to learn that there is no echo.
        rig.pass(if round == 1 { 100 } else { 7 });
        assert_eq!((rig.requests.len(), rig.sent.len()), (round, round));
    }
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
fn simulate(seed: u64) {
    let mut dice = Dice(seed);
    let echo = [Echo::On, Echo::Off, Echo::Auto][usize::try_from(dice.below(3)).unwrap()];
    let has_echo = match echo {
        Echo::On => true,
        Echo::Off => false,
        Echo::Auto => dice.one_in(2),
    };
    let mut rig = Rig::new(echo);
    let mut asked: Vec<(u8, Bytes)> = Vec::new();
    for step in 0..40_u16 {
        let (requests, sent) = (rig.requests.len(), rig.sent.len());
        let context = format!("seed {seed}, step {step}");
        match dice.below(8) {
            0 | 1 => {
                // Another server: its request, and perhaps its answer.
                let quantity = 8;
                deliver(&mut rig, &mut dice, &rtu::encode(OTHER, &[3, 0, 0, 0, quantity]));
                if !dice.one_in(3) {
                    rig.to(rig.now + 2_500 + dice.below(30_000));
                    let mut answer = foreign_answer(&mut dice);
                    if dice.one_in(3) {
                        let at = usize::try_from(dice.below(answer.len() as u64)).unwrap();
                        answer[at] ^= 1 << dice.below(8);
                    }
                    deliver(&mut rig, &mut dice, &answer);
                }
                rig.pass(40);
                assert_eq!(
                    (rig.requests.len(), rig.sent.len()),
                    (requests, sent),
                    "{context}: a foreign frame"
                );
            }
            2 => {
                // Damage on the way.
                let mut adu = rtu::encode(OURS, READ).to_vec();
                let at = usize::try_from(dice.below(adu.len() as u64)).unwrap();
                adu[at] ^= 1 << dice.below(8);
                deliver(&mut rig, &mut dice, &adu);
                rig.pass(40);
                assert_eq!(rig.requests.len(), requests, "{context}: a damaged request");
            }
            kind => {
                let pdu = if kind < 5 {
                    Bytes::copy_from_slice(&[3, 0, (step % 250).try_into().unwrap(), 0, 2])
                } else {
                    Bytes::copy_from_slice(&[6, 0, 1, 0, (step % 250).try_into().unwrap()])
                };
                if dice.one_in(4) {
                    rig.receive(&[if dice.one_in(2) { 0x00 } else { 0xFF }]);
                }
                deliver(&mut rig, &mut dice, &rtu::encode(OURS, &pdu));
                asked.push((OURS, pdu.clone()));
                assert_eq!(rig.requests, asked, "{context}: each request once, in order");
                let last = rig.now;
                rig.to(rig.now + dice.below(400_000));
                let answered = rig.now;
                let adu = if pdu[0] == 6 { rig.answer(&pdu) } else { rig.answer(&answer_of_read()) };
                rig.to(rig.now + 3_000);
                let is_in_time = answered < last + 300_000 - 2_006;
                if is_in_time {
                    assert_eq!(rig.sent.len(), sent + 1, "{context}: answered");
                }
                if let Some((at, answer)) = rig.sent.get(sent).cloned() {
                    assert_eq!(answer, adu, "{context}");
                    assert!(at >= last + 2_005 && at < last + 300_000, "{context}: sent after {}", at - last);
                    if has_echo {
                        rig.to(rig.now + dice.below(10_000));
                        deliver(&mut rig, &mut dice, &answer);
                    }
                }
                rig.pass(60);
                assert_eq!(
                    (rig.requests.len(), rig.sent.len() <= sent + 1),
                    (asked.len(), true),
                    "{context}"
                );
            }
        }
    }
}

#[test]
fn seeded_lines_with_other_servers_damage_and_echo() {
    let seeds = std::env::var("METERGATE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(500);
    for seed in 0..seeds {
        simulate(seed);
    }
}
