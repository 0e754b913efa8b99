//! The last seconds and minutes, from which rates, shares and findings are calculated.
//!
//! Owns how much is kept: samples of a line, one a second for ten seconds; its counters, once a minute for ten minutes;
//! each client's count of requests, every five seconds. The window begins anew when a bus counts from zero again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::model::LineShares;
use super::published::{Published, PublishedBus, PublishedListener};
use crate::endpoint::Endpoint;
use crate::findings::{Finding, Track};
use crate::line::{LineStatistics, UnitView, View};
use crate::serial::LineErrors;

/// The last seconds and minutes of a line.
#[derive(Clone, Debug, Default)]
pub(super) struct RecentWindow {
    seconds: VecDeque<(Instant, LineStatistics)>,
    minutes: VecDeque<Earlier>,
    transactions: u64,
    troubles: Track,
}

/// A line at an earlier time.
#[derive(Clone, Debug)]
pub(super) struct Earlier {
    /// When.
    pub at: Instant,
    /// Its counters, without its blocks.
    pub view: View,
    /// The counters of its driver.
    pub line_errors: Option<LineErrors>,
}

impl RecentWindow {
    /// Samples a line; to be called about once a second.
    pub(super) fn sample(&mut self, bus: &PublishedBus, now: Instant) {
        if bus.view.counters.transactions < self.transactions {
            self.seconds.clear();
            self.minutes.clear();
            self.troubles = Track::default();
        }
        self.transactions = bus.view.counters.transactions;
        self.troubles.note(&bus.view, now);
        push(&mut self.seconds, (now, bus.view.statistics), SECONDS + 1);
        let is_due = |last: &Earlier| now.saturating_duration_since(last.at) >= BETWEEN_VIEWS;
        if self.minutes.back().is_none_or(is_due) {
            let earlier =
                Earlier { at: now, view: counters_of(&bus.view), line_errors: bus.port.line_errors };
            push(&mut self.minutes, earlier, VIEWS + 1);
        }
    }

    /// The shares of the last ten seconds; `None` in the first second.
    #[must_use]
    pub(super) fn shares(&self) -> Option<LineShares> {
        let ((from, before), (to, after)) = (self.seconds.front()?, self.seconds.back()?);
        let elapsed = to.saturating_duration_since(*from);
        let share = |time: fn(&LineStatistics) -> Duration| {
            let used = time(after).saturating_sub(time(before));
            (used.as_secs_f64() / elapsed.as_secs_f64()).min(1.0)
        };
        (elapsed >= LEAST).then(|| LineShares {
            clients: share(|times| times.clients),
            polling: share(|times| times.background + times.probes),
            failures: share(|times| times.failures),
        })
    }

    /// Its troubles, sample by sample.
    pub(super) fn troubles(&self) -> &Track {
        &self.troubles
    }

    /// Records the findings of the last sample.
    pub(super) fn note_findings(&mut self, findings: &[Finding]) {
        self.troubles.note_findings(findings);
    }

    /// The line about ten minutes ago, or as long ago as is known.
    #[must_use]
    pub(super) fn earlier(&self) -> Option<&Earlier> {
        self.minutes.front()
    }
}

/// Requests of each client in the last seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Rates {
    marks: VecDeque<(Instant, BTreeMap<Client, u64>)>,
}

/// A listener, and one end of a connection to it.
type Client = (Endpoint, Endpoint);

impl Rates {
    /// Samples the clients; to be called about once a second.
    pub(super) fn sample(&mut self, published: &Published, now: Instant) {
        let is_due = |(at, _): &(Instant, _)| now.saturating_duration_since(*at) >= BETWEEN_MARKS;
        if !self.marks.back().is_none_or(is_due) {
            return;
        }
        let of = |listener: &PublishedListener| {
            let address = listener.address.clone();
            let clients = listener.metrics.clients().into_iter();
            clients.map(move |client| ((address.clone(), client.peer), client.counted.requests))
        };
        push(&mut self.marks, (now, published.listeners.iter().flat_map(of).collect()), MARKS);
    }

    /// Requests a second over about the last ten seconds; `None` for a new client.
    #[must_use]
    pub(super) fn of(&self, client: &Client, requests: u64, now: Instant) -> Option<f64> {
        let (at, before) = self.marks.iter().find_map(|(at, counts)| Some((at, counts.get(client)?)))?;
        let elapsed = now.saturating_duration_since(*at);
        // A port may have been taken again by another connection.
        let added = u32::try_from(requests.checked_sub(*before)?).unwrap_or(u32::MAX);
        (elapsed >= LEAST).then(|| f64::from(added) / elapsed.as_secs_f64())
    }
}

/// A view without what was read: only its counters are compared later.
fn counters_of(view: &View) -> View {
    let bare = |unit: &Arc<UnitView>| {
        let unit =
            UnitView { name: None, snapshot: Arc::default(), measured: Arc::default(), ..(**unit).clone() };
        Arc::new(unit)
    };
    View { units: view.units.iter().map(bare).collect(), ..view.clone() }
}

fn push<T>(kept: &mut VecDeque<T>, one: T, most: usize) {
    if kept.len() >= most {
        kept.pop_front();
    }
    kept.push_back(one);
}

/// Seconds over which line time is shared out.
const SECONDS: usize = 10;

/// Rates over a shorter time are not meaningful.
const LEAST: Duration = Duration::from_millis(900);

/// Between two views that are kept.
const BETWEEN_VIEWS: Duration = Duration::from_secs(60);

/// Kept views; older troubles are no longer counted.
const VIEWS: usize = 10;

/// Between two samples of the clients.
const BETWEEN_MARKS: Duration = Duration::from_secs(5);

/// Kept samples.
const MARKS: usize = 3;
