//! What the connection to a broker counts, for pages, metrics and findings.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::loss::Loss;

/// Counters of one broker, shared by its client and all readers.
#[derive(Debug, Default)]
pub struct BrokerMetrics(Mutex<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    link: Link,
    last_error: Option<Loss>,
    connections: u64,
    published: u64,
    /// When the window over which the rate is taken began, and what had been published by then.
    window: Option<(Instant, u64)>,
    /// How long a window is.
    length: Duration,
    rate: Option<f64>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            link: Link::default(),
            last_error: None,
            connections: 0,
            published: 0,
            window: None,
            length: WINDOW,
            rate: None,
        }
    }
}

/// The connection to a broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// No attempt of this client has ended yet.
    #[default]
    NotTried,
    /// Since then the broker accepts messages.
    Connected(Instant),
    /// Since then there is a connection, over which nothing is sent before the primary host is on-line.
    Waiting(Instant),
    /// Since then there is no connection.
    Away(Instant),
}

/// What was counted by one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerView {
    /// The connection.
    pub link: Link,
    /// Why the last connection or attempt ended.
    pub last_error: Option<Loss>,
    /// How often a connection was made.
    pub connections: u64,
    /// Messages the broker acknowledged; those with QoS 0 were sent.
    pub published: u64,
    /// Messages per second over the last window; `None`: too early to say.
    pub rate: Option<f64>,
}

impl BrokerMetrics {
    /// Sets the time between two messages of the same content: the rate is taken over at least so long.
    pub fn set_interval(&self, every: Duration) {
        self.lock().length = every.clamp(WINDOW, LONGEST_WINDOW);
    }

    /// What was counted by `now`.
    #[must_use]
    pub fn view(&self, now: Instant) -> BrokerView {
        let mut inner = self.lock();
        inner.turn_window(now);
        BrokerView {
            link: inner.link,
            last_error: inner.last_error.clone(),
            connections: inner.connections,
            published: inner.published,
            rate: inner.rate_at(now),
        }
    }

    pub(super) fn note_connected(&self, now: Instant) {
        let mut inner = self.lock();
        inner.connections += 1;
        inner.link = Link::Connected(now);
        inner.window = Some((now, inner.published));
        inner.rate = None;
    }

    /// There is a connection, over which nothing is sent yet, and why.
    pub(super) fn note_waiting(&self, why: Loss, now: Instant) {
        let mut inner = self.lock();
        inner.link = Link::Waiting(now);
        inner.last_error = Some(why);
    }

    /// Records a failed attempt or the end of a connection. Returns whether the reason is another than the last.
    pub(super) fn note_away(&self, why: Loss, now: Instant) -> bool {
        let mut inner = self.lock();
        let is_news = !matches!(inner.link, Link::Away(_)) || inner.last_error.as_ref() != Some(&why);
        if !matches!(inner.link, Link::Away(_)) {
            inner.link = Link::Away(now);
        }
        inner.last_error = Some(why);
        is_news
    }

    /// The client was stopped: the next one begins anew.
    pub(super) fn note_stopped(&self) {
        let mut inner = self.lock();
        inner.link = Link::NotTried;
        // It may be another broker's, or another password's.
        inner.last_error = None;
        inner.rate = None;
    }

    pub(super) fn note_published(&self, now: Instant) {
        let mut inner = self.lock();
        inner.turn_window(now);
        inner.published += 1;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn turn_window(&mut self, now: Instant) {
        if let Some((began, _)) = self.window
            && now.saturating_duration_since(began) >= self.length
        {
            self.rate = self.measure(now);
            self.window = Some((now, self.published));
        }
    }

    /// The first window is reported as it grows.
    fn rate_at(&self, now: Instant) -> Option<f64> {
        if matches!(self.link, Link::Connected(_)) { self.rate.or_else(|| self.measure(now)) } else { None }
    }

    #[expect(clippy::cast_precision_loss, reason = "a window has few messages")]
    fn measure(&self, now: Instant) -> Option<f64> {
        let (began, before) = self.window?;
        let elapsed = now.saturating_duration_since(began);
        (elapsed >= WINDOW_MIN).then(|| (self.published - before) as f64 / elapsed.as_secs_f64())
    }
}

/// Longest length of a window: what was published before says little of now.
const LONGEST_WINDOW: Duration = Duration::from_secs(600);

/// Shortest length of a window.
const WINDOW: Duration = Duration::from_secs(10);

/// Age of the first window from which on it has a result.
const WINDOW_MIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::super::loss::LossCause;
    use super::*;

    fn refused() -> Loss {
        Loss::new(LossCause::PortRefused, "refused")
    }

    fn no_route() -> Loss {
        Loss::new(LossCause::NoRoute, "no route")
    }

    #[test]
    fn away_counts_from_the_first_failure_and_only_news_is_news() {
        let (metrics, start) = (BrokerMetrics::default(), Instant::now());
        assert_eq!(metrics.view(start).link, Link::NotTried);
        assert!(metrics.note_away(refused(), start));
        assert!(!metrics.note_away(refused(), start + WINDOW));
        assert!(metrics.note_away(no_route(), start + WINDOW));
        assert_eq!(metrics.view(start + WINDOW).link, Link::Away(start));
        metrics.note_connected(start + WINDOW);
        assert_eq!(metrics.view(start + WINDOW).link, Link::Connected(start + WINDOW));
        assert!(metrics.note_away(no_route(), start + 2 * WINDOW), "it was connected between");
        assert_eq!(metrics.view(start + 2 * WINDOW).connections, 1);
    }

    #[test]
    fn the_rate_is_that_of_the_last_ten_seconds() {
        let (metrics, start) = (BrokerMetrics::default(), Instant::now());
        let second = Duration::from_secs(1);
        assert_eq!(metrics.view(start).rate, None);
        metrics.note_connected(start);
        for at in 0..10 {
            metrics.note_published(start + at * second);
        }
        assert_eq!(metrics.view(start + WINDOW).rate, Some(1.0));
        assert_eq!(metrics.view(start + 2 * WINDOW).rate, Some(0.0));
    }

    #[test]
    fn the_rate_of_rare_messages_is_taken_over_their_interval() {
        let (metrics, start) = (BrokerMetrics::default(), Instant::now());
        let minute = Duration::from_secs(60);
        metrics.set_interval(15 * minute);
        metrics.note_connected(start);
        for round in 0..3 {
            for _ in 0..9 {
                metrics.note_published(start + round * 15 * minute + minute);
            }
            let shown = metrics.view(start + (round + 1) * 15 * minute).rate;
            assert_eq!(shown, Some(0.01), "nine in a quarter of an hour");
        }
    }
}
