//! All loads at once: 247 polled units, 500 clients, ten viewers; and the history of 12 hours.

use std::time::Duration;

use crate::UNITS;
use crate::figures::Row;
use crate::gateway::{Gateway, Memory};
use crate::load::{FLOATS, Load, Question, Work};
use crate::past;
use crate::viewers::{Viewers, until_all_is_read};
use crate::wire::{Pace, Wire};

pub(crate) fn measure() -> Vec<Row> {
    let line = Wire::start(PACE);
    let mut gateway = Gateway::serving(&line, PACE.baud_rate, "5s", UNITS);
    let status = gateway.status_address();
    let idle = gateway.memory().resident;
    until_all_is_read(status);
    let load = Load::new();
    let questions = (1..=247).flat_map(|unit| {
        let number = u16::from(unit - 1) * 2;
        [Question::new(number, unit, FLOATS, 60), Question::new(number + 1, unit, 0, 50)]
    });
    let work = Work { questions: questions.collect(), in_flight: 16, pause: PAUSE };
    let viewers = Viewers::start(status);
    let outcome = load.run(gateway.address(), 500, &work, TIME);
    let Memory { resident: loaded, most, .. } = gateway.memory();
    let seen = viewers.stop();
    let past = past::size();
    vec![
        Row::judged(
            "resident memory with 247 units, 500 clients and ten viewers, and 12 hours of history",
            format!(
                "{} KiB: {loaded}, at most {most}, and {past} of history; at the start {idle}",
                most + past
            ),
            "below 32768 KiB".into(),
            most + past < 32768,
        ),
        Row::told(
            "replies meanwhile, exceptions, and what the viewers saw",
            format!(
                "{}; {}; {} answers with {} MiB",
                outcome.replies,
                outcome.exceptions,
                seen.answers,
                seen.bytes >> 20
            ),
        ),
    ]
}

const PACE: Pace = Pace { baud_rate: 1_000_000, turnaround: None };
const PAUSE: Duration = Duration::from_millis(100);
const TIME: Duration = Duration::from_secs(40);
