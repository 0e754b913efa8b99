//! What the line carries for one client and for 500 that want the same: registers read in the background, and
//! registers that are learned.

use std::time::Duration;

use crate::figures::Row;
use crate::gateway::Gateway;
use crate::load::{FLOATS, Load, Question, Work};
use crate::wire::{Pace, Wire};

pub(crate) fn measure() -> Vec<Row> {
    let line = Wire::start(PACE);
    let gateway = Gateway::serving(&line, PACE.baud_rate, "5s", UNITS);
    let load = Load::new();
    let questions = (1..=8).flat_map(|unit| {
        let number = u16::from(unit - 1) * 2;
        [Question::new(number, unit, FLOATS, 60), Question::new(number + 1, unit, INTEGERS, 50)]
    });
    let work = Work { questions: questions.collect(), in_flight: 1, pause: PAUSE };
    // Until all has been read once and the integers are learned.
    load.run(gateway.address(), 1, &work, WARM_UP);
    let (mut one, mut many) = (Carried::default(), Carried::default());
    // In this order, what else the machine does weighs on both alike: each reading begins an interval after the
    // one before it began, so a late one makes the next late too.
    for clients in [1, CLIENTS, CLIENTS, 1] {
        let carried = if clients == 1 { &mut one } else { &mut many };
        line.take_seen();
        let outcome = load.run(gateway.address(), clients, &work, TIME);
        carried.transactions += line.take_seen().len();
        carried.replies += outcome.replies;
        carried.exceptions += outcome.exceptions;
    }
    let ratio = many.transactions as f64 / one.transactions as f64;
    vec![
        Row::judged(
            "transactions on the line, 500 clients over one",
            format!("{ratio:.4} ({} to {} in {} s)", many.transactions, one.transactions, 2 * TIME.as_secs()),
            "within 2 %".into(),
            (ratio - 1.0).abs() <= 0.02,
        ),
        Row::told(
            "replies meanwhile, and exceptions",
            format!("{} to {}; {}", many.replies, one.replies, many.exceptions + one.exceptions),
        ),
    ]
}

/// What the line and the clients saw in some stretches of time.
#[derive(Default)]
struct Carried {
    transactions: usize,
    replies: u64,
    exceptions: u64,
}

/// What is read once a minute would fall into one of the two stretches and not into the other.
const UNITS: &str = "{id: 1-8, profile: leviton-4000r, poll_slow: 10m}";
/// Registers of the profile that are not read in the background.
const INTEGERS: u16 = 0;
const PACE: Pace = Pace { baud_rate: 115_200, turnaround: Some(Duration::from_millis(5)) };
const CLIENTS: usize = 500;
/// Every question is asked often enough by one client alone; 500 leave the line's thread its processor.
const PAUSE: Duration = Duration::from_millis(100);
const WARM_UP: Duration = Duration::from_secs(12);
/// Whole periods of what is learned, which is read again every four seconds.
const TIME: Duration = Duration::from_secs(20);
