//! Replies per second from the snapshot relative to the ceiling, and the time of the slowest.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::ceiling::Ceiling;
use crate::figures::{Row, median, micros, quantile};
use crate::gateway::Gateway;
use crate::load::{Load, Outcome, Question, Work};
use crate::wire::{Pace, Wire};

pub(crate) fn measure() -> Vec<Row> {
    let line = Wire::start(PACE);
    let gateway = Gateway::serving(&line, PACE.baud_rate, "5s", "{id: 1, profile: leviton-4000r}");
    let (ceiling, load) = (Ceiling::start(), Load::new());
    // Until the registers have been read, and so that both have run once.
    for address in [gateway.address(), ceiling.address()] {
        load.run(address, 100, &work(1), WARM_UP);
    }
    let mut rows = Vec::new();
    for (clients, in_flight) in [(1, 1), (8, 1), (100, 1), (1, 16), (8, 16), (100, 16)] {
        let work = work(in_flight);
        let ours = || Side::run(&load, gateway.address(), clients, &work, || gateway.processor_time());
        let bare = || Side::run(&load, ceiling.address(), clients, &work, || ceiling.processor_time());
        rows.extend(judge(clients, in_flight, &Side::run_in_turns(ours, bare)));
    }
    rows
}

/// One of two servers in one round.
pub(crate) struct Side {
    /// Replies per second.
    pub(crate) rate: f64,
    /// The latency that 99 of 100 replies keep, µs.
    pub(crate) p99: f64,
    /// Processor time for one reply, µs.
    pub(crate) cost: f64,
}

impl Side {
    pub(crate) fn run(
        load: &Load,
        address: SocketAddr,
        clients: usize,
        work: &Work,
        processor_time: impl Fn() -> Duration,
    ) -> Self {
        let worked = processor_time();
        let outcome: Outcome = load.run(address, clients, work, ROUND);
        let worked = processor_time() - worked;
        assert_eq!(outcome.exceptions, 0, "an exception on a good line");
        let rate = outcome.rate();
        let cost = worked.as_secs_f64() * 1e6 / outcome.replies as f64;
        let latencies = micros(outcome.latencies);
        let p99 = if latencies.is_empty() { 0.0 } else { quantile(&latencies, 0.99) };
        Self { rate, p99, cost }
    }

    /// Both sides, round by round; the order changes with each.
    pub(crate) fn run_in_turns(one: impl Fn() -> Self, other: impl Fn() -> Self) -> Vec<[Self; 2]> {
        let round = |round: usize| {
            if round.is_multiple_of(2) {
                return [one(), other()];
            }
            let other = other();
            [one(), other]
        };
        (0..ROUNDS).map(round).collect()
    }

    /// The medians of the ratio of a value of the two sides, and of that value on each.
    pub(crate) fn medians(rounds: &[[Self; 2]], value: fn(&Self) -> f64) -> (f64, f64, f64) {
        let side =
            |index: usize| median(&rounds.iter().map(|round| value(&round[index])).collect::<Vec<_>>());
        let ratio = rounds.iter().map(|[one, other]| value(one) / value(other)).collect::<Vec<_>>();
        (median(&ratio), side(0), side(1))
    }
}

fn judge(clients: usize, in_flight: usize, rounds: &[[Side; 2]]) -> Vec<Row> {
    let (ratio, ours, bare) = Side::medians(rounds, |side| side.rate);
    let (_, our_cost, bare_cost) = Side::medians(rounds, |side| side.cost);
    let what = format!("replies per second over the ceiling's, {clients} clients, {in_flight} in flight");
    let measured =
        format!("{ratio:.3} ({ours:.0} to {bare:.0}; processor time {our_cost:.1} to {bare_cost:.1} µs)");
    let least = if in_flight == 1 { 0.85 } else { 0.75 };
    let mut rows = vec![Row::judged(&what, measured, format!("at least {least}"), ratio >= least)];
    if clients == 100 && in_flight == 1 {
        let (ratio, ours, bare) = Side::medians(rounds, |side| side.p99);
        rows.push(Row::judged(
            "p99 over the ceiling's, 100 clients, 1 in flight",
            format!("{ratio:.3} ({ours:.0} to {bare:.0} µs)"),
            "at most 1.5".into(),
            ratio <= 1.5,
        ));
    }
    rows
}

fn work(in_flight: usize) -> Work {
    Work { questions: Arc::new([Question::ceiling()]), in_flight, pause: Duration::ZERO }
}

/// The fastest rate that can be configured; the line only refreshes one unit.
pub(crate) const PACE: Pace = Pace { baud_rate: 1_000_000, turnaround: None };
pub(crate) const WARM_UP: Duration = Duration::from_secs(3);
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(500);
