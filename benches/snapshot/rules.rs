//! Replies per second from the snapshot by a listener with many `rules`, beside one of the same gateway without.

use std::sync::Arc;
use std::time::Duration;

use crate::figures::Row;
use crate::gateway::Gateway;
use crate::load::{Load, Question, Work};
use crate::throughput::{PACE, Side, WARM_UP};
use crate::wire::Wire;

pub(crate) fn measure() -> Vec<Row> {
    let line = Wire::start(PACE);
    let mut gateway = Gateway::run(&line, &configuration(&line));
    let (bare, ruled) = (gateway.address(), gateway.further_address());
    let load = Load::new();
    for address in [bare, ruled] {
        load.run(address, CLIENTS, &work(), WARM_UP);
    }
    let time = || gateway.processor_time();
    let rounds = Side::run_in_turns(
        || Side::run(&load, ruled, CLIENTS, &work(), time),
        || Side::run(&load, bare, CLIENTS, &work(), time),
    );
    let (ratio, ruled, bare) = Side::medians(&rounds, |side| side.rate);
    let (_, ruled_cost, bare_cost) = Side::medians(&rounds, |side| side.cost);
    vec![Row::judged(
        &format!("replies per second with {RULES} rules over without, {CLIENTS} clients, 16 in flight"),
        format!("{ratio:.3} ({ruled:.0} to {bare:.0}; processor time {ruled_cost:.2} to {bare_cost:.2} µs)"),
        format!("at least {LEAST}"),
        ratio >= LEAST,
    )]
}

/// A listener without rules, and one on which the last of many decides.
fn configuration(line: &Wire) -> String {
    let device = line.device().display();
    let rules: String = (1..RULES)
        .map(|number| {
            format!(
                "      - {{from: [127.0.0.0/8], units: 1, registers: {0}-{0}, may: nothing}}\n",
                9_000 + number
            )
        })
        .collect();
    format!(
        "listeners:\n  - address: 127.0.0.1:0\n    max_age: 5s\n  - address: 127.0.0.2:0\n    max_age: 5s\n    \
         rules:\n{rules}      - {{may: read}}\nbuses:\n  - name: bench\n    device: {device}\n    baud_rate: {}\n    \
         units: [{{id: 1, profile: leviton-4000r}}]\nstatus: {{address: 127.0.0.1:0}}\n",
        PACE.baud_rate
    )
}

fn work() -> Work {
    Work { questions: Arc::new([Question::ceiling()]), in_flight: 16, pause: Duration::ZERO }
}

/// Of the second listener; more than a site has.
const RULES: usize = 20;
const CLIENTS: usize = 8;
/// What a benchmark on this machine can tell from none.
const LEAST: f64 = 0.95;
