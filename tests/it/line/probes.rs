//! Probes of an off-line unit, step by step: what they cost the others, and that they find a slow unit, too.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use metergate::line::{
    Answer, Line, LineSettings, ListenerId, Output, PortEvent, Request, Source, Target, UnitId,
};
use metergate::modbus::pdu::RequestPdu;
use metergate::modbus::rtu;

use crate::support::settings;

const RESPONSE_TIMEOUT: Duration = Duration::from_millis(500);
const TURNAROUND: Duration = Duration::from_millis(5);
const HEALTHY: u8 = 1;
const DEAD: u8 = 2;

/// A line with two units, and an instant that only these tests move.
struct Scene {
    line: Line<()>,
    now: Instant,
    answers: Vec<Answer>,
}

impl Scene {
    fn new() -> Self {
        let settings = settings::line(&[HEALTHY, DEAD]);
        let mut line = Line::new(LineSettings { retries: 0, queue_limit: 16, ..settings });
        let now = Instant::now();
        line.handle_port(PortEvent::Opened, now);
        Self { line, now, answers: Vec::new() }
    }

    fn ask(&mut self, unit: u8) {
        let request = Request {
            to: (),
            source: Source { address: IpAddr::V4(Ipv4Addr::LOCALHOST).into(), connection: 1 },
            target: Target::Unit(UnitId::new(unit).expect("1 to 247")),
            pdu: RequestPdu::decode(Bytes::from_static(&[3, 0, 0, 0, 1])).expect("a good request"),
            deadline: self.now + Duration::from_secs(10),
            max_age: Duration::ZERO,
            listener: ListenerId::default(),
        };
        self.line.handle_request(request, self.now);
    }

    /// Polls outputs; returns the unit of a transmitted request.
    fn outputs(&mut self) -> Option<u8> {
        let mut sent = None;
        while let Some(output) = self.line.poll_output() {
            match output {
                Output::Transmit(adu) => sent = Some(adu[0]),
                Output::Reply { answer, .. } => self.answers.push(answer),
                Output::Publish(_) | Output::Record(_) | Output::Event(_) | Output::Disconnect(_) => {}
            }
        }
        sent
    }

    /// Lets time pass until something is sent, or until the line wants nothing more.
    fn next_sent(&mut self) -> Option<u8> {
        loop {
            if let Some(unit) = self.outputs() {
                return Some(unit);
            }
            self.now = self.line.poll_timeout()?.max(self.now);
            self.line.handle_timeout(self.now);
        }
    }

    fn answer(&mut self, unit: u8) {
        self.line.handle_bytes(&rtu::encode(unit, &[3, 2, 0, 7]), self.now);
        assert_eq!(self.outputs(), None);
    }

    /// Reads the healthy unit once, then the dead one until it is off-line; then lets its first probe be sent.
    fn probed() -> Self {
        let mut scene = Self::new();
        scene.ask(HEALTHY);
        assert_eq!(scene.next_sent(), Some(HEALTHY));
        scene.now += rtu::wire_time(8, 10, 19_200) + TURNAROUND;
        scene.answer(HEALTHY);
        while !scene.answers.iter().any(|answer| matches!(answer, Answer::Refused(_))) {
            scene.ask(DEAD);
            if scene.next_sent().is_none() {
                continue;
            }
            // Until its timeout and its guard have passed.
            while scene.outputs().is_none()
                && let Some(due) = scene.line.poll_timeout()
                && !scene.line.is_idle()
            {
                scene.now = due.max(scene.now);
                scene.line.handle_timeout(scene.now);
            }
            scene.now += RESPONSE_TIMEOUT;
            scene.line.handle_timeout(scene.now);
        }
        scene.answers.clear();
        assert_eq!(scene.next_sent(), Some(DEAD), "a probe");
        scene
    }
}

#[test]
fn a_probe_of_a_unit_never_heard_waits_no_longer_than_its_neighbours_would_need() {
    let mut scene = Scene::probed();
    let probed_at = scene.now;
    scene.ask(HEALTHY);
    assert_eq!(scene.next_sent(), Some(HEALTHY));
    let cost = scene.now - probed_at;
    assert!(cost < Duration::from_millis(110), "the probe took {cost:?}");
}

#[test]
fn a_unit_slower_than_its_probe_waits_is_found_by_its_late_answer() {
    let mut scene = Scene::probed();
    scene.now += Duration::from_millis(300);
    scene.line.handle_timeout(scene.now);
    scene.answer(DEAD);
    scene.now += RESPONSE_TIMEOUT;
    scene.ask(DEAD);
    assert_eq!(scene.next_sent(), Some(DEAD), "it is on-line again");
    assert_eq!(scene.answers, []);
}
