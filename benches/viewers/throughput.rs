//! Reads from the snapshot without viewers and with ten, alternating.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::UNITS;
use crate::figures::{Row, median, micros, quantile};
use crate::gateway::Gateway;
use crate::load::{Load, Question, Work};
use crate::viewers::{METRICS, PAGE};
use crate::viewers::{Seen, Viewers, fetch, until_all_is_read};
use crate::wire::{Pace, Wire};

pub(crate) fn measure() -> Vec<Row> {
    let line = Wire::start(PACE);
    // Old enough that the share of the line left to unit 1 by the many units does not matter.
    let mut gateway = Gateway::serving(&line, PACE.baud_rate, "10m", UNITS);
    let status = gateway.status_address();
    until_all_is_read(status);
    let load = Load::new();
    load.run(gateway.address(), 100, &work(), WARM_UP);
    let mut seen = Seen::default();
    let mut rows = Vec::new();
    for clients in [8, 100] {
        let rounds: Vec<[Side; 2]> = (0..ROUNDS)
            .map(|round| {
                let alone = || Side::run(&load, &gateway, clients);
                let mut watched = || {
                    let viewers = Viewers::start(status);
                    let side = Side::run(&load, &gateway, clients);
                    let of_round = viewers.stop();
                    seen.page_times.extend(of_round.page_times);
                    seen.metrics_times.extend(of_round.metrics_times);
                    side
                };
                // The order changes with each round.
                if round % 2 == 0 {
                    [alone(), watched()]
                } else {
                    let watched = watched();
                    [alone(), watched]
                }
            })
            .collect();
        rows.extend(judge(clients, &rounds));
    }
    rows.push(alone_with_viewers(&gateway, status));
    let size = |path| fetch(status, path).len() / 1024;
    let shape = |times: &[Duration]| {
        let times = micros(times.iter().copied());
        format!("{:.1} ms at the median, {:.1} at p99", median(&times) / 1e3, quantile(&times, 0.99) / 1e3)
    };
    rows.push(Row::told(
        "what a viewer waits under that load for the page of 247 units",
        format!("{}; {} KiB", shape(&seen.page_times), size(PAGE)),
    ));
    rows.push(Row::told(
        "and for the metrics",
        format!("{}; {} KiB", shape(&seen.metrics_times), size(METRICS)),
    ));
    rows
}

/// One round.
struct Side {
    rate: f64,
    /// Of a reply, µs.
    p99: f64,
    /// The same.
    p999: f64,
}

impl Side {
    fn run(load: &Load, gateway: &Gateway, clients: usize) -> Self {
        let outcome = load.run(gateway.address(), clients, &work(), ROUND);
        assert_eq!(outcome.exceptions, 0, "an exception on a good line");
        let rate = outcome.rate();
        let latencies = micros(outcome.latencies);
        Self { rate, p99: quantile(&latencies, 0.99), p999: quantile(&latencies, 0.999) }
    }
}

fn judge(clients: usize, rounds: &[[Side; 2]]) -> Vec<Row> {
    let of = |value: fn(&Side) -> f64| {
        let side =
            |index: usize| median(&rounds.iter().map(|round| value(&round[index])).collect::<Vec<_>>());
        let ratios: Vec<f64> = rounds.iter().map(|[alone, watched]| value(watched) / value(alone)).collect();
        (median(&ratios), side(0), side(1))
    };
    let (ratio, alone, watched) = of(|side| side.rate);
    let (p99_ratio, p99_alone, p99_watched) = of(|side| side.p99);
    let (_, p999_alone, p999_watched) = of(|side| side.p999);
    vec![
        Row::judged(
            &format!("replies per second with ten viewers over without, {clients} clients"),
            format!("{ratio:.3} ({watched:.0} to {alone:.0})"),
            "at least 0.95".into(),
            ratio >= 0.95,
        ),
        Row::judged(
            &format!("their p99, with over without, {clients} clients"),
            format!(
                "{p99_ratio:.3} ({p99_watched:.0} to {p99_alone:.0} µs; p99.9 {p999_watched:.0} to \
                 {p999_alone:.0})"
            ),
            "at most 1.5".into(),
            p99_ratio <= 1.5,
        ),
    ]
}

/// The cost of the viewers on a gateway without other clients.
fn alone_with_viewers(gateway: &Gateway, status: std::net::SocketAddr) -> Row {
    let worked = || {
        let before = gateway.processor_time();
        thread::sleep(ROUND * 2);
        (gateway.processor_time() - before).as_secs_f64() / (ROUND * 2).as_secs_f64()
    };
    let alone = worked();
    let viewers = Viewers::start(status);
    let watched = worked();
    viewers.stop();
    Row::told(
        "processor time of the gateway per second, with ten viewers and without, no clients",
        format!("{:.1} to {:.1} ms", watched * 1e3, alone * 1e3),
    )
}

fn work() -> Work {
    Work { questions: Arc::new([Question::ceiling()]), in_flight: 1, pause: Duration::ZERO }
}

/// The fastest rate that can be configured, so that the pages change all the time.
const PACE: Pace = Pace { baud_rate: 1_000_000, turnaround: None };
const WARM_UP: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;
/// As long as the longest period of a viewer: each round has all of them.
const ROUND: Duration = Duration::from_secs(5);
