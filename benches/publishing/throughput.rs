//! Reads from the snapshot of a gateway that publishes and of one that does not, alternating.

use std::time::Duration;

use crate::figures::{Row, median, micros, quantile};
use crate::load::{FLOATS, Load, Question, Work};
use crate::site::{Form, Moving, READ, Site};

pub(crate) fn of_json() -> Vec<Row> {
    measure(Form::Json)
}

pub(crate) fn of_sparkplug() -> Vec<Row> {
    measure(Form::Sparkplug)
}

fn measure(form: Form) -> Vec<Row> {
    // Old enough that each read is answered from the snapshot.
    let sites = Site::pair("10m", form, Moving::Unread);
    let load = Load::new();
    let run = |site: &Site, time| {
        let outcome = load.run(site.gateway.address(), CLIENTS, &work(), time);
        assert_eq!(outcome.exceptions, 0, "an exception on a good line");
        let rate = outcome.rate();
        (rate, quantile(&micros(outcome.latencies), 0.99))
    };
    for site in &sites {
        run(site, WARM_UP);
    }
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        // The order changes with each round.
        let first = run(&sites[round % 2], ROUND);
        let second = run(&sites[1 - round % 2], ROUND);
        rounds.push(if round % 2 == 0 { [first, second] } else { [second, first] });
    }
    let of = |value: fn(&(f64, f64)) -> f64| {
        let side =
            |index: usize| median(&rounds.iter().map(|round| value(&round[index])).collect::<Vec<_>>());
        let ratios: Vec<f64> =
            rounds.iter().map(|[alone, publishing]| value(publishing) / value(alone)).collect();
        (median(&ratios), side(0), side(1))
    };
    let (ratio, alone, publishing) = of(|side| side.0);
    let (p99_ratio, p99_alone, p99_publishing) = of(|side| side.1);
    vec![
        Row::judged(
            "replies per second from the snapshot, of the gateway that publishes over the one that does not",
            format!("{ratio:.3} ({publishing:.0} to {alone:.0})"),
            "at least 0.95".into(),
            ratio >= 0.95,
        ),
        Row::judged(
            "their p99, of the one over the other",
            format!("{p99_ratio:.3} ({p99_publishing:.0} to {p99_alone:.0} µs)"),
            "at most 1.5".into(),
            p99_ratio <= 1.5,
        ),
    ]
}

fn work() -> Work {
    let questions = (1..=8).map(|unit| Question::new(u16::from(unit) - 1, unit, FLOATS, READ));
    Work { questions: questions.collect(), in_flight: 1, pause: Duration::ZERO }
}

const CLIENTS: usize = 8;
const WARM_UP: Duration = Duration::from_secs(2);
const ROUNDS: usize = 6;
const ROUND: Duration = Duration::from_secs(4);
