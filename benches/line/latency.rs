//! An unpaced line, where bytes take no time: only the silence and the gateway's own latency remain.

use std::thread;
use std::time::Duration;

use crate::client::{Clients, Reads, Reply};
use crate::figures::{Row, median, micros, quantile};
use crate::gateway::Gateway;
use crate::reference;
use crate::wire::{Pace, Wire};

pub(crate) fn measure() -> Vec<Row> {
    let (ours, theirs) = (Wire::start(PACE), Wire::start(PACE));
    let gateway = Gateway::start(&ours, PACE.baud_rate);
    let (mut busy, mut idle, mut bare) = (vec![], vec![], vec![]);
    let mut worked = Duration::ZERO;
    for _ in 0..ROUNDS {
        let before = gateway.processor_time();
        busy.push(ask(&gateway, Duration::ZERO));
        worked += gateway.processor_time() - before;
        bare.push(micros(reference::run(&theirs, PACE, QUANTITY, ROUND)));
        idle.push(ask(&gateway, PAUSE));
    }
    // Each round against the reference of that round.
    let added = |rounds: &[Vec<f64>], silence: Duration| {
        let silence = silence.as_secs_f64() * 1e6;
        let added: Vec<f64> =
            rounds.iter().zip(&bare).map(|(ours, bare)| median(ours) - median(bare) - silence).collect();
        median(&added)
    };
    let (busy_added, idle_added) = (added(&busy, PACE.silence()), added(&idle, Duration::ZERO));
    let floor = bare.concat();
    vec![
        Row::judged(
            "latency added to the reference client's plus the silence (1.75 ms), one client without pause",
            format!("{busy_added:.0} µs at the median"),
            "below 150 µs".into(),
            busy_added < 150.0,
        ),
        Row::judged(
            "latency added to the reference client's, on a line that was silent for long enough",
            format!("{idle_added:.0} µs at the median"),
            "below 150 µs".into(),
            idle_added < 150.0,
        ),
        Row::told(
            "processor time of the gateway for one transaction",
            format!("{:.0} µs", worked.as_secs_f64() * 1e6 / busy.iter().map(Vec::len).sum::<usize>() as f64),
        ),
        Row::told(
            "the reference client's own: the floor of the pseudo terminal",
            format!("{:.0} µs at the median, {:.0} at p99", median(&floor), quantile(&floor, 0.99)),
        ),
    ]
}

fn ask(gateway: &Gateway, pause: Duration) -> Vec<f64> {
    let clients = Clients::start(gateway.address(), [Reads { pause, ..Reads::of(QUANTITY) }]);
    thread::sleep(ROUND);
    let replies: Vec<Reply> = clients.stop().concat();
    assert!(replies.iter().all(|reply| reply.exception.is_none()), "an exception on a good line");
    micros(replies.into_iter().map(|reply| reply.latency))
}

/// The fastest rate that can be configured: the gateway assumes the shortest wire time.
const PACE: Pace = Pace { baud_rate: 1_000_000, turnaround: None };
const QUANTITY: u16 = 60;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(1);
/// Longer than the silence.
const PAUSE: Duration = Duration::from_millis(4);
