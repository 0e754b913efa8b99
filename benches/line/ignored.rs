//! One client whose reads are all ignored, each a different one: how much of the line is left to another?

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Clients, Read, Reads, ask};
use crate::figures::Row;
use crate::gateway::Gateway;
use crate::wire::{HOLDING, IGNORED, Pace, Wire};

pub(crate) fn measure() -> Vec<Row> {
    let share = |unit, what: &str| {
        let share = share_beside(unit);
        Row::judged(what, format!("{:.1} %", share * 100.0), "at least 45 %".into(), share >= 0.45)
    };
    vec![
        share(1, "line left to a client beside one whose reads the same unit ignores"),
        share(2, "line left to a client beside one whose reads another unit ignores"),
    ]
}

/// The share of the line that a client of unit 1 has while `unit` ignores another's reads.
fn share_beside(unit: u8) -> f64 {
    let line = Wire::start(PACE);
    let gateway = Gateway::start(&line, PACE.baud_rate);
    // A unit that never answered would be marked off-line, and cost nothing.
    let mut stream = TcpStream::connect(gateway.address()).expect("the gateway listens");
    let known = Read { unit, function: HOLDING, start: 0, quantity: 1 };
    assert_eq!(ask(&mut stream, 0, known), None, "an exception on a good line");
    let ignored = Reads { units: vec![unit], start: IGNORED, step: 1, ..Reads::of(1) };
    let clients = Clients::start(gateway.address(), [Reads::of(QUANTITY), ignored]);
    let from = Instant::now();
    thread::sleep(TIME);
    let until = Instant::now();
    let replies = clients.stop();
    let served = replies[0].iter().filter(|reply| reply.at <= until && reply.exception.is_none()).count();
    served as f64 * PACE.period(QUANTITY).as_secs_f64() / (until - from).as_secs_f64()
}

const PACE: Pace = Pace { baud_rate: 19200, turnaround: Some(Duration::from_millis(5)) };
const QUANTITY: u16 = 60;
const TIME: Duration = Duration::from_secs(40);
