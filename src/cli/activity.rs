//! One line about what a bus did lately, from two of its views.

use std::time::{Duration, Instant};

use crate::line::{LineCounters, PortState, View};

/// What the line before was computed from.
#[derive(Debug)]
pub struct Activity {
    counters: LineCounters,
    at: Instant,
}

impl Activity {
    /// Counts from this view on.
    #[must_use]
    pub fn new(view: &View, now: Instant) -> Self {
        Self { counters: view.counters, at: now }
    }

    /// What happened since the line before.
    #[must_use]
    pub fn line(&mut self, view: &View, now: Instant) -> String {
        let before = std::mem::replace(self, Self::new(view, now));
        let seconds = now.saturating_duration_since(before.at).max(SHORTEST).as_secs_f64();
        let of = |counted: fn(&LineCounters) -> u64| {
            counted(&view.counters).saturating_sub(counted(&before.counters))
        };
        let requests = of(|counters| counters.transactions) as f64 / seconds;
        let busy = view.counters.busy.saturating_sub(before.counters.busy).as_secs_f64() / seconds * 100.0;
        // Units without a request yet are no fault, so those that fail are counted.
        format!(
            "{requests:.1} requests/s on the line, {busy:.0} % busy, {} waiting, {} failed, \
             {} of {} units off-line or unreachable{}",
            view.waiting,
            of(|counters| counters.failures),
            view.count_lost(),
            view.units.len(),
            match view.port {
                PortState::Open => "",
                PortState::Closed => ", port closed",
                PortState::Occupied => ", line occupied",
            }
        )
    }
}

/// Two views closer than this are taken as this far apart.
const SHORTEST: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_about_the_time_since_the_line_before() {
        let start = Instant::now();
        let view = |transactions, failures, busy| View {
            port: PortState::Open,
            counters: LineCounters {
                transactions,
                failures,
                busy: Duration::from_millis(busy),
                ..LineCounters::default()
            },
            ..View::default()
        };
        let mut activity = Activity::new(&view(100, 7, 9000), start);
        let first = activity.line(&view(120, 8, 10_500), start + Duration::from_secs(2));
        assert_eq!(
            first,
            "10.0 requests/s on the line, 75 % busy, 0 waiting, 1 failed, 0 of 0 units off-line or unreachable"
        );
        let idle = activity.line(&view(120, 8, 10_500), start + Duration::from_secs(3));
        assert_eq!(
            idle,
            "0.0 requests/s on the line, 0 % busy, 0 waiting, 0 failed, 0 of 0 units off-line or unreachable"
        );
        let closed = activity.line(&View::default(), start + Duration::from_secs(3));
        assert!(closed.ends_with("units off-line or unreachable, port closed"));
    }
}
