//! 500 clients on a line that carries four requests a second, each answered within three seconds or refused: is the
//! line still used for answers in time?

use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Clients, Reads};
use crate::figures::Row;
use crate::gateway::{Gateway, Setup};
use crate::wire::{Pace, Wire};

pub(crate) fn measure() -> Vec<Row> {
    let line = Wire::start(PACE);
    let setup = Setup { request_deadline: "3s", ..Setup::new(PACE.baud_rate) };
    let gateway = Gateway::set_up(&line, &setup);
    // Each reads registers of its own, so that no reply can serve two.
    let work = (0..CLIENTS).map(|client| Reads {
        units: vec![u8::try_from(client % 8 + 1).expect("units are 1 to 8")],
        start: client,
        ..Reads::of(QUANTITY)
    });
    line.take_seen();
    let clients = Clients::start(gateway.address(), work);
    let from = Instant::now();
    thread::sleep(TIME);
    let (time, carried) = (from.elapsed(), line.take_seen().len());
    let until = Instant::now();
    let replies = clients.stop().concat();
    let in_time = || replies.iter().filter(|reply| reply.at <= until);
    let given = in_time().filter(|reply| reply.exception.is_none()).count();
    let refused = in_time().count() - given;
    let share = given as f64 / carried as f64;
    let slowest = replies.iter().map(|reply| reply.latency).max().unwrap_or_default();
    vec![
        Row::judged(
            "requests on the line that were answered with data, 500 clients, deadline 3 s",
            format!("{:.1} % ({given} of {carried}; {refused} refused)", share * 100.0),
            "at least 90 %".into(),
            share >= 0.9,
        ),
        Row::told(
            "requests per second on the line, the most there can be, and the slowest answer",
            format!(
                "{:.2}, {:.2}, {:.2} s",
                carried as f64 / time.as_secs_f64(),
                1.0 / PACE.period(QUANTITY).as_secs_f64(),
                slowest.as_secs_f64()
            ),
        ),
    ]
}

const PACE: Pace = Pace { baud_rate: 19200, turnaround: Some(Duration::from_millis(200)) };
const QUANTITY: u16 = 60;
const CLIENTS: u16 = 500;
const TIME: Duration = Duration::from_secs(40);
