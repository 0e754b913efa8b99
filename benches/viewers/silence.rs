//! A busy line without viewers and with ten, alternating: does the silence before a request change?

use std::time::Duration;

use crate::client::{Reads, seen_of};
use crate::figures::{Row, median, micros, quantile};
use crate::gateway::Gateway;
use crate::viewers::{Viewers, until_all_is_read};
use crate::wire::{Pace, Seen, Wire};
use crate::{UNIT_COUNT, UNITS};

pub(crate) fn measure() -> Vec<Row> {
    let line = Wire::start(PACE);
    let mut gateway = Gateway::serving(&line, PACE.baud_rate, "0s", UNITS);
    let status = gateway.status_address();
    until_all_is_read(status);
    let (mut alone, mut watched) = (Stretch::default(), Stretch::default());
    for round in 0..ROUNDS {
        for with_viewers in [round % 2 == 0, round % 2 == 1] {
            let viewers = with_viewers.then(|| Viewers::start(status));
            let seen = load(&line, &gateway);
            if let Some(viewers) = viewers {
                viewers.stop();
                watched.add(&seen);
            } else {
                alone.add(&seen);
            }
        }
    }
    let silence = PACE.silence().as_secs_f64() * 1e6;
    let later = median(&watched.gaps) - median(&alone.gaps);
    let inside = |stretch: &Stretch| stretch.gaps.iter().filter(|gap| **gap < silence).count();
    vec![
        Row::judged(
            "median gap before a request with ten viewers over without",
            format!("{later:+.0} µs"),
            "within 50 µs".into(),
            later.abs() <= 50.0,
        ),
        Row::judged(
            "requests inside the silence (1.75 ms), with viewers and without",
            format!(
                "{} of {} and {} of {}",
                inside(&watched),
                watched.gaps.len(),
                inside(&alone),
                alone.gaps.len()
            ),
            "none".into(),
            inside(&watched) + inside(&alone) == 0,
        ),
        Row::told("gap beyond the silence with ten viewers", watched.shape(silence)),
        Row::told("gap beyond the silence without", alone.shape(silence)),
        Row::told(
            "transactions per second, with viewers and without",
            format!("{:.2} and {:.2}", median(&watched.rates), median(&alone.rates)),
        ),
    ]
}

/// The traffic of the line in some rounds.
#[derive(Default)]
struct Stretch {
    /// Before each request, µs.
    gaps: Vec<f64>,
    rates: Vec<f64>,
}

impl Stretch {
    /// All but the first, which follows the pause between two rounds, and those after a reply that the line interrupted
    /// for so long that the gateway had to take it for truncated.
    fn add(&mut self, seen: &[Seen]) {
        let fair = seen.iter().skip(1).filter(|seen| seen.stall <= STALLED);
        self.gaps.extend(micros(fair.filter_map(|seen| seen.gap)));
        if let (Some(first), Some(last)) = (seen.first(), seen.last()) {
            self.rates.push((seen.len() - 1) as f64 / (last.at - first.at).as_secs_f64());
        }
    }

    fn shape(&self, silence: f64) -> String {
        let at = |share: f64| quantile(&self.gaps, share) - silence;
        format!("{:+.0} µs at least, {:+.0} at the median, {:+.0} at p99", at(0.0), at(0.5), at(0.99))
    }
}

/// Four clients that never pause, each with its share of the units.
fn load(line: &Wire, gateway: &Gateway) -> Vec<Seen> {
    let units: Vec<u8> = (1..=UNIT_COUNT).filter_map(|unit| u8::try_from(unit).ok()).collect();
    let work =
        units.chunks(units.len().div_ceil(4)).map(|units| Reads { units: units.to_vec(), ..Reads::of(60) });
    seen_of(line, gateway.address(), work, ROUND)
}

/// Faster than most lines, for more requests; the silence is the shortest possible.
const PACE: Pace = Pace { baud_rate: 115_200, turnaround: Some(Duration::from_millis(5)) };
const ROUNDS: usize = 6;
const ROUND: Duration = Duration::from_secs(5);

/// Less than the 50 ms for which the gateway waits for the rest of a reply.
const STALLED: Duration = Duration::from_millis(40);
