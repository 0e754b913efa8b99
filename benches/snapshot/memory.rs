//! 247 units read in the background and 500 clients, each with its limit of requests in flight.

use std::time::Duration;

use crate::figures::Row;
use crate::gateway::{Gateway, Memory};
use crate::load::{FLOATS, Load, Question, Work};
use crate::wire::{Pace, Wire};

pub(crate) fn measure() -> Vec<Row> {
    let line = Wire::start(PACE);
    let gateway = Gateway::serving(&line, PACE.baud_rate, "5s", "{id: 1-247, profile: leviton-4000r}");
    let idle = gateway.memory().resident;
    let load = Load::new();
    let questions = (1..=247).flat_map(|unit| {
        let number = u16::from(unit - 1) * 2;
        [Question::new(number, unit, FLOATS, 60), Question::new(number + 1, unit, 0, 50)]
    });
    let work = Work { questions: questions.collect(), in_flight: 16, pause: PAUSE };
    let outcome = load.run(gateway.address(), 500, &work, TIME);
    let Memory { resident: loaded, most, .. } = gateway.memory();
    vec![
        Row::judged(
            "resident memory with 500 clients and 247 units",
            format!("{loaded} KiB, at most {most}; at the start {idle}"),
            "below 16384 KiB".into(),
            most < 16384,
        ),
        Row::told(
            "replies meanwhile, and exceptions",
            format!("{}; {}", outcome.replies, outcome.exceptions),
        ),
    ]
}

const PACE: Pace = Pace { baud_rate: 1_000_000, turnaround: None };
const PAUSE: Duration = Duration::from_millis(100);
const TIME: Duration = Duration::from_secs(40);
