//! Eight units at 19200 baud, 60 registers, four clients that never pause: does the gateway keep the line busy?

use std::time::Duration;

use crate::client::{Reads, seen_of};
use crate::figures::{Row, median, micros, quantile};
use crate::gateway::Gateway;
use crate::reference;
use crate::wire::{Pace, Seen, Wire};

pub(crate) fn measure() -> Vec<Row> {
    let (ours, theirs) = (Wire::start(PACE), Wire::start(PACE));
    let gateway = Gateway::start(&ours, PACE.baud_rate);
    let (mut gateway_rates, mut reference_rates, mut ratios) = (vec![], vec![], vec![]);
    let (mut gateway_gaps, mut reference_gaps) = (vec![], vec![]);
    let mut stalled = 0;
    for _ in 0..ROUNDS {
        let seen = load_gateway(&ours, &gateway);
        reference::run(&theirs, PACE, QUANTITY, ROUND);
        let bare = theirs.take_seen();
        let (gateway_rate, reference_rate) = (rate(&seen), rate(&bare));
        gateway_rates.push(gateway_rate);
        reference_rates.push(reference_rate);
        ratios.push(gateway_rate / reference_rate);
        stalled += seen.iter().filter(|seen| seen.stall > STALLED).count();
        gateway_gaps.extend(gaps(&seen));
        reference_gaps.extend(gaps(&bare));
    }
    let theory = 1.0 / PACE.period(QUANTITY).as_secs_f64();
    let silence = PACE.silence().as_secs_f64() * 1e6;
    let (ratio, rate) = (median(&ratios), median(&gateway_rates));
    let late = median(&gateway_gaps) - silence;
    let inside = gateway_gaps.iter().filter(|gap| **gap < silence).count();
    let shape = |gaps: &[f64]| {
        format!(
            "+{:.0} µs at the median, +{:.0} at p99",
            median(gaps) - silence,
            quantile(gaps, 0.99) - silence
        )
    };
    vec![
        Row::judged(
            "rate over the reference client's, four clients, eight units, 60 registers",
            format!("{:.2} % ({rate:.3} to {:.3} per s)", ratio * 100.0, median(&reference_rates)),
            "at least 99.5 %".into(),
            ratio >= 0.995,
        ),
        Row::judged(
            "rate over the theoretical one",
            format!("{:.2} % (of {theory:.3} per s)", rate / theory * 100.0),
            "at least 99 %".into(),
            rate >= 0.99 * theory,
        ),
        Row::judged(
            "gap before a request beyond the silence (2.005 ms)",
            shape(&gateway_gaps),
            "at most 250 µs at the median".into(),
            late <= 250.0,
        ),
        Row::judged(
            "requests inside the silence",
            format!("{inside} of {}; after a stall of the line itself: {stalled}", gateway_gaps.len()),
            "none".into(),
            inside == 0,
        ),
        Row::told("the same gap of the reference: the floor of the pseudo terminal", shape(&reference_gaps)),
    ]
}

/// Four clients with two units each: no two read the same, so nothing is shared.
fn load_gateway(line: &Wire, gateway: &Gateway) -> Vec<Seen> {
    let work =
        [[1, 2], [3, 4], [5, 6], [7, 8]].map(|units| Reads { units: units.to_vec(), ..Reads::of(QUANTITY) });
    seen_of(line, gateway.address(), work, ROUND)
}

/// Transactions per second, from the first request to the last.
fn rate(seen: &[Seen]) -> f64 {
    let (Some(first), Some(last)) = (seen.first(), seen.last()) else { return 0.0 };
    (seen.len() - 1) as f64 / (last.at - first.at).as_secs_f64()
}

/// All but the first, which follows the pause between two rounds, and those after a reply that the line interrupted for
/// so long that a client had to take it for truncated.
fn gaps(seen: &[Seen]) -> Vec<f64> {
    micros(seen.iter().skip(1).filter(|seen| seen.stall <= STALLED).filter_map(|seen| seen.gap))
}

const PACE: Pace = Pace { baud_rate: 19200, turnaround: Some(Duration::from_millis(5)) };
const QUANTITY: u16 = 60;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(5);

/// Less than the 50 ms for which the gateway waits for the rest of a reply.
const STALLED: Duration = Duration::from_millis(40);
