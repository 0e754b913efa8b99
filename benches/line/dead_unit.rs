//! One dead unit of eight, once marked off-line: how much do the seven healthy ones lose while a client reads it?
//!
//! Two gateways on two lines at the same time, so that both have the same machine load. The unit is dead from the
//! start: the gateway never learned its response time.

use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Clients, Reads, Reply};
use crate::figures::{Row, micros, quantile};
use crate::gateway::Gateway;
use crate::wire::{Pace, Wire};

pub(crate) fn measure() -> Vec<Row> {
    let lines = [Wire::start(PACE), Wire::start(PACE)];
    for line in &lines {
        line.kill(DEAD);
    }
    let mut gateways = lines.each_ref().map(|line| Gateway::start(line, PACE.baud_rate));
    let healthy = || (1..DEAD).map(one_unit);
    let quiet = Clients::start(gateways[0].address(), healthy());
    let troubled = Clients::start(gateways[1].address(), healthy().chain([one_unit(DEAD)]));
    gateways[1].line_with("off-line");
    let from = Instant::now();
    thread::sleep(TIME);
    let until = Instant::now();
    let quiet = within(quiet.stop(), from, until);
    let mut troubled = within(troubled.stop(), from, until);
    let refused = troubled.pop().expect("there are eight clients");
    let probes = lines[1].take_seen().iter().filter(|seen| seen.answered.is_none() && seen.at > from).count();
    let [quiet, troubled] = [quiet, troubled].map(|replies| replies.concat());
    assert!(
        [&quiet, &troubled].into_iter().flatten().all(|reply| reply.exception.is_none()),
        "a healthy unit failed"
    );
    assert!(refused.iter().all(|reply| reply.exception == Some(0x0B)), "a dead unit answered");
    let share = troubled.len() as f64 / quiet.len() as f64;
    let slow = |replies: &[Reply]| quantile(&micros(replies.iter().map(|reply| reply.latency)), 0.99);
    let factor = slow(&troubled) / slow(&quiet);
    vec![
        Row::judged(
            "rate of the seven healthy units, with a client on the dead one over without",
            format!("{:.2} % ({} to {} replies)", share * 100.0, troubled.len(), quiet.len()),
            "at least 97 %".into(),
            share >= 0.97,
        ),
        Row::judged(
            "their p99, with over without",
            format!("{factor:.3} ({:.0} to {:.0} ms)", slow(&troubled) / 1e3, slow(&quiet) / 1e3),
            "at most 1.5".into(),
            factor <= 1.5,
        ),
        Row::told(
            "probes of the dead unit, and refusals its client got",
            format!("{probes} and {} in {} s from the moment it was off-line", refused.len(), TIME.as_secs()),
        ),
    ]
}

fn one_unit(unit: u8) -> Reads {
    Reads { units: vec![unit], ..Reads::of(60) }
}

fn within(replies: Vec<Vec<Reply>>, from: Instant, until: Instant) -> Vec<Vec<Reply>> {
    let inside = |reply: &Reply| reply.at - reply.latency >= from && reply.at <= until;
    replies.into_iter().map(|replies| replies.into_iter().filter(inside).collect()).collect()
}

const PACE: Pace = Pace { baud_rate: 19200, turnaround: Some(Duration::from_millis(5)) };
const DEAD: u8 = 8;
const TIME: Duration = Duration::from_secs(45);
