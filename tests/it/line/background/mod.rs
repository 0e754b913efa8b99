//! The line and its snapshot, one rule each, at instants chosen by hand.

mod crowds;
mod full;
mod habits;
mod healing;
mod lateness;
mod learned;
mod mirrored;
mod never_backwards;
mod outages;
mod reload;
mod suspend;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use metergate::line::{
    Answer, Framing, Line, LineEvent, LineSettings, ListenerId, Output, Pace, Parity, PolledBlock, Polling,
    PortEvent, Request, Source, Target, UnitId, UnitSettings, View,
};
use metergate::modbus::pdu::{ExceptionCode, FunctionCode, ReadRange, RequestPdu, exception_reply};
use metergate::modbus::rtu;

use crate::support::settings;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// The response timeout and the guard of every unit here.
const HOLD: Duration = SECOND;
const CONFIG: ReadRange =
    ReadRange { function: FunctionCode::READ_HOLDING_REGISTERS, start: 128, quantity: 26 };
const FLOATS: ReadRange = registers(256, 90);
const FRAMING: Framing = Framing { baud_rate: 19200, parity: Parity::None, stop_bits: 1 };

const fn registers(start: u16, quantity: u16) -> ReadRange {
    ReadRange { function: FunctionCode::READ_HOLDING_REGISTERS, start, quantity }
}

fn unit(id: u8) -> UnitId {
    UnitId::new(id).unwrap()
}

/// A line with two units, the first of which has a profile, and a clock that is set by hand.
struct Rig {
    line: Line<u64>,
    now: Instant,
    sent: Vec<(Instant, Bytes)>,
    answers: Vec<(u64, Answer)>,
    events: Vec<LineEvent>,
    /// Line time of the transactions that [`pass`](Rig::pass) answered.
    busy: Duration,
    view: View,
}

impl Rig {
    fn start(pace: Pace) -> Self {
        Self::start_with_gap(pace, Duration::ZERO)
    }

    fn start_with_gap(pace: Pace, request_gap: Duration) -> Self {
        Self::of(settings(pace, request_gap))
    }

    fn of(settings: LineSettings) -> Self {
        let (line, now) = (Line::new(settings), Instant::now());
        let (sent, answers, events) = (Vec::new(), Vec::new(), Vec::new());
        let busy = Duration::ZERO;
        let mut rig = Self { line, now, sent, answers, events, busy, view: View::default() };
        rig.open();
        rig
    }

    /// Units with measurements every ten seconds, scaled by settings that are read once a minute.
    fn with_settings(count: u8) -> Self {
        let block = |range, measured, pace| PolledBlock { range, core: None, measured, pace };
        let polling = Polling {
            blocks: vec![
                block(FLOATS, true, Pace::Every(10 * SECOND)),
                block(CONFIG, false, Pace::Every(60 * SECOND)),
            ],
            scales: [CONFIG].into(),
            ..Polling::default()
        };
        let units = (1..=count).map(|id| UnitSettings { polling: polling.clone(), ..settings::unit(id) });
        Self::of(LineSettings { units: units.collect(), ..settings::line(&[]) })
    }

    /// Opens the port, and lets the time pass in which each unit may owe an unknown answer.
    fn open(&mut self) {
        self.line.handle_port(PortEvent::Opened, self.now);
        self.drain();
        self.now += HOLD;
    }

    fn drain(&mut self) {
        while let Some(output) = self.line.poll_output() {
            match output {
                Output::Transmit(adu) => self.sent.push((self.now, adu)),
                Output::Publish(view) => self.view = Arc::unwrap_or_clone(view),
                Output::Record(_) | Output::Disconnect(_) => {}
                Output::Event(event) => self.events.push(event),
                Output::Reply { to, answer } => self.answers.push((to, answer)),
            }
        }
    }

    fn ask(&mut self, to: u64, id: u8, pdu: &[u8], max_age: Duration) {
        let request = self.request(to, id, pdu, max_age);
        self.line.handle_request(request, self.now);
        self.drain();
    }

    fn request(&self, to: u64, id: u8, pdu: &[u8], max_age: Duration) -> Request<u64> {
        Request {
            to,
            source: Source { address: IpAddr::V4(Ipv4Addr::LOCALHOST).into(), connection: to },
            target: if id == 0 { Target::Broadcast } else { Target::Unit(unit(id)) },
            pdu: RequestPdu::decode(Bytes::copy_from_slice(pdu)).unwrap(),
            deadline: self.now + 3 * SECOND,
            max_age,
            listener: ListenerId::default(),
        }
    }

    fn read(&mut self, to: u64, id: u8, range: ReadRange, max_age: Duration) {
        self.ask(to, id, &range.request(), max_age);
    }

    /// Lets time pass, as the line wants it, until something is sent; at most ten seconds.
    fn next_sent(&mut self) -> Option<(u8, Bytes)> {
        let until = self.now + 10 * SECOND;
        let mut calls = 0;
        while self.sent.is_empty() {
            calls += 1;
            assert!(calls < 1000, "called again and again for nothing at {:?}", self.line.poll_timeout());
            let Some(at) = self.line.poll_timeout().filter(|&at| at <= until) else {
                self.now = until;
                return None;
            };
            self.now = self.now.max(at);
            self.line.handle_timeout(self.now);
            self.drain();
        }
        let (_, adu) = self.sent.remove(0);
        Some((adu[0], adu.slice(1..adu.len() - 2)))
    }

    /// A whole answer arrives, `after` the request was sent.
    fn answer(&mut self, id: u8, pdu: &[u8], after: Duration) {
        self.now += after;
        self.line.handle_bytes(&rtu::encode(id, pdu), self.now);
        self.drain();
    }

    /// The answer to the read on the wire comes as fast as the wire is, after the meter's pause.
    fn answer_in_time(&mut self, id: u8, range: ReadRange, pause: Duration) {
        self.give_in_time(id, &reply(range, 1), pause);
    }

    /// The same, whatever the meter answers.
    fn give_in_time(&mut self, id: u8, pdu: &[u8], pause: Duration) {
        let adu = rtu::encode(id, pdu);
        let took = FRAMING.wire_time(8) + pause + FRAMING.wire_time(adu.len());
        let end = self.now + took;
        self.busy += took;
        self.now += FRAMING.wire_time(9) + pause;
        self.line.handle_bytes(&adu[..1], self.now);
        self.drain();
        self.now = end;
        self.line.handle_bytes(&adu[1..], self.now);
        self.drain();
    }

    /// Answers the next request, which must be this read, with registers that all hold `value`.
    fn serve(&mut self, id: u8, range: ReadRange, value: u16) {
        assert_eq!(self.next_sent(), Some((id, range.request())));
        self.answer(id, &reply(range, value), 20 * MS);
    }

    /// Lets time pass up to `until`; every request is answered, as fast as the wire is. Returns what was read, and
    /// when.
    fn pass(&mut self, until: Instant) -> Vec<(Instant, u8, ReadRange)> {
        self.pass_with(until, |_, range| Some(reply(range, 1)))
    }

    /// The same, with a meter that answers so, or not at all.
    fn pass_with(
        &mut self,
        until: Instant,
        mut meter: impl FnMut(u8, ReadRange) -> Option<Bytes>,
    ) -> Vec<(Instant, u8, ReadRange)> {
        let mut read = Vec::new();
        while self.step(until, &mut meter, &mut read) {}
        self.now = self.now.max(until);
        read
    }

    /// Answers what was sent, else lets time pass until the line wants something. False: it wants nothing by `until`.
    fn step(
        &mut self,
        until: Instant,
        meter: &mut impl FnMut(u8, ReadRange) -> Option<Bytes>,
        read: &mut Vec<(Instant, u8, ReadRange)>,
    ) -> bool {
        if !self.sent.is_empty() {
            let (at, adu) = self.sent.remove(0);
            let range = RequestPdu::decode(adu.slice(1..adu.len() - 2)).unwrap().range().expect("a read");
            read.push((at, adu[0], range));
            if let Some(pdu) = meter(adu[0], range) {
                self.give_in_time(adu[0], &pdu, 5 * MS);
            }
            return true;
        }
        let Some(at) = self.line.poll_timeout().filter(|&at| at <= until) else { return false };
        self.now = self.now.max(at);
        self.line.handle_timeout(self.now);
        self.drain();
        true
    }

    /// As a connection does: from the snapshot if that will do, else by the line. Whether it was at hand.
    fn want(&mut self, to: u64, id: u8, range: ReadRange, max_age: Duration) -> bool {
        let at_hand = self.held(id, range, max_age).is_some();
        if !at_hand {
            self.read(to, id, range, max_age);
        }
        at_hand
    }

    fn answered(&mut self, to: u64) -> Answer {
        let index = self.answers.iter().position(|(key, _)| *key == to).expect("an answer");
        self.answers.remove(index).1
    }

    /// What a connection would be served without the line.
    fn held(&self, id: u8, range: ReadRange, max_age: Duration) -> Option<Bytes> {
        self.view.unit(unit(id))?.snapshot.answer(&range, max_age, ListenerId::default(), self.now)
    }
}

/// Two units, the first of which has a profile.
fn settings(pace: Pace, request_gap: Duration) -> LineSettings {
    let polling = Polling {
        blocks: vec![PolledBlock { range: FLOATS, core: None, measured: true, pace }],
        // Floats: every second register belongs to the one before.
        uncut: (257..346).step_by(2).map(|at| (FLOATS.function, at)).collect(),
        ..Polling::default()
    };
    let unit = |id, polling| UnitSettings { request_gap, polling, ..settings::unit(id) };
    let units = vec![unit(1, polling), unit(2, Polling::default())];
    LineSettings { retries: 0, learn_limit: 4, units, ..settings::line(&[]) }
}

/// From the first byte of a read to the last one of its answer, of a meter that makes such a pause.
fn line_time(range: ReadRange, pause: Duration) -> Duration {
    FRAMING.wire_time(8) + pause + FRAMING.wire_time(2 * usize::from(range.quantity) + 5)
}

fn reply(range: ReadRange, value: u16) -> Bytes {
    let mut pdu = vec![range.function.0, u8::try_from(range.byte_count()).unwrap()];
    pdu.extend((0..range.quantity).flat_map(|_| value.to_be_bytes()));
    Bytes::from(pdu)
}

const WRITE: [u8; 5] = [6, 0, 141, 0, 20];

#[test]
fn a_block_of_the_profile_is_read_at_its_interval_and_served_from_there() {
    let mut rig = Rig::start(Pace::Every(2 * SECOND));
    // The first reading is late by the hold at the start, a part of which the second makes up for.
    rig.serve(1, FLOATS, 6);
    rig.serve(1, FLOATS, 7);
    let second = rig.now;
    assert_eq!(rig.held(1, registers(260, 4), SECOND), Some(reply(registers(260, 4), 7)));
    rig.serve(1, FLOATS, 8);
    let interval = rig.now - second;
    assert!(interval.abs_diff(2 * SECOND) < 30 * MS, "{interval:?}");
    assert_eq!(rig.held(1, FLOATS, SECOND), Some(reply(FLOATS, 8)));
}

#[test]
fn the_settings_of_a_unit_are_read_right_behind_its_first_answer() {
    let config = CONFIG;
    let mut rig = Rig::with_settings(16);
    let until = rig.now + 60 * SECOND;
    let read = rig.pass(until);
    for id in 1..=16 {
        let first = |wanted| read.iter().find(|(_, unit, range)| (*unit, *range) == (id, wanted)).unwrap().0;
        let wait = first(config).saturating_duration_since(first(FLOATS));
        assert!(wait < SECOND, "unit {id}: {wait:?}");
    }
    let count = read.iter().filter(|(.., range)| *range == config).count();
    assert!((16..=32).contains(&count), "{count}: at most once more in its place");
}

#[test]
fn settings_are_read_anew_after_a_write_and_after_an_outage_and_not_a_second_time() {
    let mut rig = Rig::with_settings(1);
    rig.pass(rig.now + 30 * SECOND);
    rig.ask(1, 1, &WRITE, SECOND);
    assert_eq!(rig.next_sent().unwrap().1[..], WRITE);
    rig.answer(1, &WRITE, 20 * MS);
    let of_config =
        |read: Vec<(Instant, u8, ReadRange)>| read.iter().filter(|(.., range)| *range == CONFIG).count();
    let read = rig.pass(rig.now + 2 * SECOND);
    assert_eq!(of_config(read), 1, "what was known is gone with the write");
    let read = rig.pass(rig.now + 20 * SECOND);
    assert!(of_config(read) <= 1, "at most once more in its place");

    let until = rig.now + 30 * SECOND;
    rig.pass_with(until, |_, _| None);
    assert!(rig.view.units[0].state.to_string().contains("off"));
    assert!(rig.held(1, CONFIG, 3600 * SECOND).is_some(), "it is kept while the unit is away");
    let mut is_back = false;
    while !is_back {
        rig.pass(rig.now + 100 * MS);
        is_back = rig.view.units[0].state.to_string().contains("on");
    }
    let read = rig.pass(rig.now + 2 * SECOND);
    assert_eq!(of_config(read), 1, "it may be another meter");
}

#[test]
fn a_miss_inside_a_block_reads_the_whole_block_and_shares_it() {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    rig.now += 10 * SECOND;
    rig.read(1, 1, registers(260, 2), 5 * SECOND);
    rig.read(2, 1, registers(300, 6), 5 * SECOND);
    rig.serve(1, FLOATS, 9);
    assert_eq!(rig.answered(1), Answer::Reply(reply(registers(260, 2), 9)));
    assert_eq!(rig.answered(2), Answer::Reply(reply(registers(300, 6), 9)));
    assert_eq!(rig.next_sent(), None, "one reading for both, and the next background one is put off");
}

#[test]
fn without_an_age_every_read_goes_to_the_line_as_it_is() {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    for to in 0..3 {
        rig.read(to, 1, registers(260, 2), Duration::ZERO);
        rig.serve(1, registers(260, 2), 1);
        assert_eq!(rig.answered(to), Answer::Reply(reply(registers(260, 2), 1)));
    }
}

#[test]
fn a_write_drops_what_was_known_before_it_is_answered() {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    assert!(rig.held(1, FLOATS, SECOND).is_some());
    rig.ask(1, 1, &WRITE, SECOND);
    assert_eq!(rig.next_sent().unwrap().1[..], WRITE);
    assert_eq!(rig.held(1, FLOATS, SECOND), None, "from the instant it is sent");
    rig.answer(1, &WRITE, 20 * MS);
    assert_eq!(rig.answered(1), Answer::Reply(Bytes::copy_from_slice(&WRITE)));
    assert_eq!(rig.held(1, FLOATS, SECOND), None);
    rig.read(2, 1, registers(260, 2), 5 * SECOND);
    rig.serve(1, FLOATS, 8);
    assert_eq!(rig.answered(2), Answer::Reply(reply(registers(260, 2), 8)));
}

#[test]
fn a_write_of_unknown_outcome_drops_the_blocks_too() {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    rig.ask(1, 1, &WRITE, SECOND);
    assert!(rig.next_sent().is_some());
    let (sent, _) = (rig.now, rig.next_sent());
    assert_eq!(rig.answered(1), Answer::NoAnswer(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND));
    assert_eq!(rig.held(1, FLOATS, 3600 * SECOND), None, "{:?} after it was sent", rig.now - sent);
}

#[test]
fn a_broadcast_drops_the_blocks_of_every_unit() {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    rig.serve(1, FLOATS, 7);
    rig.ask(1, 0, &WRITE, SECOND);
    assert!(rig.next_sent().is_some());
    assert_eq!(rig.held(1, FLOATS, SECOND), None);
}

#[test]
fn what_was_read_before_a_broadcast_and_comes_late_is_not_kept() {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    assert_eq!(rig.next_sent(), Some((1, FLOATS.request())));
    // The reading times out; its unit owes the answer, and a broadcast does not wait for that.
    rig.ask(1, 0, &WRITE, SECOND);
    assert_eq!(rig.next_sent().map(|(id, _)| id), Some(0));
    rig.answer(1, &reply(FLOATS, 7), 50 * MS);
    assert_eq!(rig.held(1, FLOATS, 3600 * SECOND), None);
    assert_eq!(rig.view.units[0].counters.late_answers, 1);
}

#[test]
fn what_was_read_before_a_write_to_its_unit_and_comes_after_it_is_not_kept() {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    assert_eq!(rig.next_sent(), Some((1, FLOATS.request())));
    // The write waits until the guard of the reading is over.
    rig.ask(1, 1, &WRITE, SECOND);
    assert_eq!(rig.next_sent().unwrap().1[..], WRITE);
    rig.answer(1, &WRITE, 20 * MS);
    rig.answer(1, &reply(FLOATS, 7), 50 * MS);
    assert_eq!(rig.held(1, FLOATS, 3600 * SECOND), None);
    rig.read(2, 1, registers(260, 2), 5 * SECOND);
    assert!(rig.answers.iter().all(|(to, _)| *to == 1), "the line is asked");
}

#[test]
fn a_refused_block_is_read_in_parts_cut_between_values() {
    let mut rig = Rig::start(Pace::Every(2 * SECOND));
    assert_eq!(rig.next_sent(), Some((1, FLOATS.request())));
    let refusal = exception_reply(FLOATS.function, ExceptionCode::ILLEGAL_DATA_ADDRESS);
    rig.answer(1, &refusal, 20 * MS);
    let mut parts = BTreeSet::new();
    for _ in 0..4 {
        let (_, pdu) = rig.next_sent().unwrap();
        let range = RequestPdu::decode(pdu).unwrap().range().unwrap();
        assert_eq!((range.start % 2, range.quantity % 2), (0, 0), "never inside a pair: {range:?}");
        parts.insert((range.start, range.quantity));
        rig.answer(1, &reply(range, 3), 20 * MS);
    }
    let parts: Vec<_> = parts.into_iter().collect();
    assert_eq!(parts.len(), 2, "remembered: {parts:?}");
    assert_eq!(parts[0].0, 256);
    assert_eq!(parts[0].0 + parts[0].1, parts[1].0);
    assert_eq!(parts[1].0 + parts[1].1, 346);
}

#[test]
fn a_block_met_with_silence_while_other_reads_are_answered_is_split() {
    let mut rig = Rig::start(Pace::Every(2 * SECOND));
    for round in 0..2 {
        assert_eq!(rig.view.units[0].measured[..], [FLOATS], "after {round} silences");
        assert_eq!(rig.next_sent(), Some((1, FLOATS.request())));
        rig.read(round, 1, registers(0, 2), Duration::ZERO);
        rig.serve(1, registers(0, 2), 1);
    }
    assert_eq!(rig.view.units[0].measured[..], [registers(256, 44), registers(300, 46)]);
    rig.serve(1, registers(256, 44), 1);
}

#[test]
fn a_unit_that_is_off_line_is_not_polled_and_its_young_data_is_still_served() {
    let mut rig = Rig::start(Pace::Every(SECOND));
    rig.serve(1, FLOATS, 7);
    let mut sent = Vec::new();
    while !rig.view.units[0].state.to_string().contains("off") {
        sent.push(rig.next_sent());
        assert!(sent.len() < 20, "never off-line");
    }
    assert!(rig.held(1, FLOATS, 60 * SECOND).is_some(), "to those who take data so old");
    assert_eq!(rig.held(1, FLOATS, SECOND), None);
}

#[test]
fn a_background_reading_waits_for_clients_and_still_comes() {
    let mut rig = Rig::start(Pace::Every(SECOND));
    rig.serve(1, FLOATS, 7);
    // Three clients that repeat their requests at once: the line is never free.
    let (mut to, mut background) = (10, 0);
    let until = rig.now + 20 * SECOND;
    for _ in 0..3 {
        rig.read(to, 2, registers(0, 10), Duration::ZERO);
        to += 1;
    }
    while rig.now < until {
        let (id, pdu) = rig.next_sent().unwrap();
        let range = RequestPdu::decode(pdu).unwrap().range().unwrap();
        background += u32::from(id == 1);
        rig.answer(id, &reply(range, 1), 40 * MS);
        for _ in 0..rig.answers.drain(..).count() {
            rig.read(to, 2, registers(0, 10), Duration::ZERO);
            to += 1;
        }
    }
    assert!((5..=20).contains(&background), "{background} background readings in 20 s");
}

#[test]
fn a_due_block_that_a_client_waits_for_already_does_not_wake_the_line_without_end() {
    let mut rig = Rig::start_with_gap(Pace::Every(SECOND), 50 * MS);
    // Requested before the unit's gap is over, and due: one reading serves both.
    rig.read(1, 1, FLOATS, 5 * SECOND);
    rig.serve(1, FLOATS, 7);
    assert_eq!(rig.answered(1), Answer::Reply(reply(FLOATS, 7)));
    let answered = rig.now;
    assert_eq!(rig.next_sent(), Some((1, FLOATS.request())));
    assert!(rig.now - answered > 900 * MS, "{:?}", rig.now - answered);
}

#[test]
fn a_block_that_was_read_whole_is_not_split_by_an_answer_lost_now_and_then() {
    let mut rig = Rig::start(Pace::Every(2 * SECOND));
    rig.serve(1, FLOATS, 7);
    for round in 1..10 {
        assert_eq!(rig.next_sent(), Some((1, FLOATS.request())));
        rig.read(round, 1, registers(0, 2), Duration::ZERO);
        rig.serve(1, registers(0, 2), 1);
        assert_eq!(rig.view.units[0].measured[..], [FLOATS], "after {round} silences");
    }
    assert_eq!(rig.next_sent(), Some((1, FLOATS.request())));
    rig.read(10, 1, registers(0, 2), Duration::ZERO);
    rig.serve(1, registers(0, 2), 1);
    assert_eq!(rig.view.units[0].measured.len(), 2, "another meter may hang there now");
}

#[test]
fn a_small_read_is_sent_alone_when_the_whole_block_meets_with_silence() {
    let mut rig = Rig::start(Pace::Every(3600 * SECOND));
    assert_eq!(rig.next_sent(), Some((1, FLOATS.request())));
    rig.read(1, 1, registers(260, 2), 5 * SECOND);
    // The meter is silent to ninety registers, and answers two.
    rig.serve(1, registers(260, 2), 4);
    assert_eq!(rig.answered(1), Answer::Reply(reply(registers(260, 2), 4)));
}

#[test]
fn a_unit_that_owes_an_answer_does_not_keep_others_from_being_read() {
    let mut rig = Rig::start(Pace::Every(SECOND));
    rig.serve(1, FLOATS, 7);
    // Unit 2 is silent, and a client always waits for it.
    let (mut readings, end) = (0, rig.now + 6 * SECOND);
    rig.read(0, 2, registers(0, 2), Duration::ZERO);
    while rig.now < end {
        if let Some((1, _)) = rig.next_sent() {
            rig.answer(1, &reply(FLOATS, 8), 20 * MS);
            readings += 1;
        }
        if !rig.answers.is_empty() {
            rig.answers.clear();
            rig.read(0, 2, registers(0, 2), Duration::ZERO);
        }
    }
    assert!(readings >= 4, "{readings} in six seconds");
}
