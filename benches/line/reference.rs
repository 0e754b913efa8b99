//! The bare reference: a client on the line itself, without a gateway, that keeps the same silence.
//!
//! It does nothing but write, read and check the clock.

use std::fs::File;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use metergate::modbus::rtu;

use crate::clock;
use crate::wire::{self, Pace, Wire};

/// Reads units 1 to 8 in turn for `time`, `quantity` registers each. Returns the time from each request to its whole
/// reply.
pub(crate) fn run(line: &Wire, pace: Pace, quantity: u16, time: Duration) -> Vec<Duration> {
    clock::be_punctual();
    let mut client = line.client();
    let until = Instant::now() + time;
    let mut times = Vec::new();
    for unit in (1..=8).cycle() {
        if Instant::now() >= until {
            break;
        }
        times.push(transaction(&mut client, pace, unit, quantity));
    }
    times
}

fn transaction(client: &mut File, pace: Pace, unit: u8, quantity: u16) -> Duration {
    let request = rtu::encode(unit, &wire::read(wire::HOLDING, 0, quantity));
    let begun = Instant::now();
    client.write_all(&request).expect("a request fits a terminal's buffer");
    let mut reply = vec![0; wire::reply_length(quantity)];
    client.read_exact(&mut reply).expect("every unit answers the reference");
    let ended = Instant::now();
    assert_eq!(
        reply,
        rtu::encode(unit, &wire::registers(wire::HOLDING, unit, 0, quantity)),
        "the reference's reply"
    );
    // On an unpaced line the reply may be there before the request's own time is over.
    let last_byte = ended.max(begun + pace.wire_time(wire::REQUEST_LENGTH));
    clock::sleep_until(last_byte + pace.silence());
    ended - begun
}
