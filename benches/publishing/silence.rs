//! A busy line of a gateway that publishes and of one that does not, alternating: does the silence before a request
//! change?

use std::time::Duration;

use crate::client::{Reads, seen_of};
use crate::figures::{Row, median, micros, quantile};
use crate::site::{Form, Moving, PACE, READ, Site, units_of};
use crate::wire::Seen;

pub(crate) fn of_json() -> Vec<Row> {
    measure(Form::Json)
}

pub(crate) fn of_sparkplug() -> Vec<Row> {
    measure(Form::Sparkplug)
}

fn measure(form: Form) -> Vec<Row> {
    let sites = Site::pair("0s", form, Moving::Unread);
    let mut gaps = [Vec::new(), Vec::new()];
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let mut medians = [0.0; 2];
        for index in [round % 2, 1 - round % 2] {
            let of_round = gaps_of(&load(&sites[index]));
            medians[index] = median(&of_round);
            gaps[index].extend(of_round);
        }
        ratios.push(medians[1] / medians[0]);
    }
    let silence = PACE.silence().as_secs_f64() * 1e6;
    let [alone, publishing] = &gaps;
    let share = median(&ratios);
    let inside = |gaps: &[f64]| gaps.iter().filter(|gap| **gap < silence).count();
    let shape = |gaps: &[f64]| {
        let at = |share| quantile(gaps, share) - silence;
        format!("{:+.0} µs at the median, {:+.0} at p99", at(0.5), at(0.99))
    };
    vec![
        Row::judged(
            "median gap before a request, of the gateway that publishes over the one that does not",
            format!("{share:.3} ({:.0} to {:.0} µs)", median(publishing), median(alone)),
            "0.95 to 1.05".into(),
            (0.95..=1.05).contains(&share),
        ),
        Row::judged(
            "requests inside the silence (1.75 ms), with publishing and without",
            format!(
                "{} of {} and {} of {}",
                inside(publishing),
                publishing.len(),
                inside(alone),
                alone.len()
            ),
            "none".into(),
            inside(publishing) + inside(alone) == 0,
        ),
        Row::told("gap beyond the silence with publishing", shape(publishing)),
        Row::told("gap beyond the silence without", shape(alone)),
    ]
}

/// Four clients of one line that never pause.
fn load(site: &Site) -> Vec<Seen> {
    let units = units_of(0);
    let work =
        units.chunks(units.len().div_ceil(4)).map(|units| Reads { units: units.to_vec(), ..Reads::of(READ) });
    seen_of(&site.lines[0], site.gateway.address(), work, ROUND)
}

/// Before each request, µs: all but the first, which follows the pause between two rounds, and those after a reply that the
/// line interrupted for so long that the gateway had to take it for truncated.
fn gaps_of(seen: &[Seen]) -> Vec<f64> {
    let fair = seen.iter().skip(1).filter(|seen| seen.stall <= STALLED);
    micros(fair.filter_map(|seen| seen.gap))
}

const ROUNDS: usize = 6;
const ROUND: Duration = Duration::from_secs(5);

/// Less than the 50 ms for which the gateway waits for the rest of a reply.
const STALLED: Duration = Duration::from_millis(40);
