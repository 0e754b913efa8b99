//! Which connections are admitted, and which are evicted for new ones.
//!
//! Owns the limits of a listener and the choice of the connection to evict: the longest idle one, never one with a
//! request in flight. It never touches a socket: an evicted connection is notified, and closes itself.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The published idle state of a connection, and its request to close. The connection counts as open until it drops
/// this.
#[derive(Debug)]
pub struct IdleTracker {
    epoch: Instant,
    idle_since: AtomicU64,
    closing: CancellationToken,
}

/// The connections of one listener.
#[derive(Debug)]
pub(super) struct Admission {
    epoch: Instant,
    entries: Vec<ConnectionEntry>,
}

#[derive(Debug)]
struct ConnectionEntry {
    address: IpAddr,
    idle: Weak<IdleTracker>,
}

/// The result of [`Admission::make_room`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AdmissionResult {
    /// Whether the new connection is admitted.
    pub admitted: bool,
    /// Connections evicted for it.
    pub evicted: usize,
}

impl IdleTracker {
    /// A connection idle since `now`. It finishes its requests in flight and closes once `closing` is cancelled.
    #[must_use]
    pub fn new(epoch: Instant, now: Instant, closing: CancellationToken) -> Self {
        let idle = Self { epoch, idle_since: AtomicU64::new(BUSY), closing };
        idle.set_idle(now);
        idle
    }

    /// The connection has a request in flight.
    pub fn set_busy(&self) {
        self.idle_since.store(BUSY, Ordering::Relaxed);
    }

    /// The connection has no request in flight since `now`.
    pub fn set_idle(&self, now: Instant) {
        let micros = now.saturating_duration_since(self.epoch).as_micros();
        self.idle_since.store(u64::try_from(micros).unwrap_or(BUSY - 1), Ordering::Relaxed);
    }

    /// Cancelled when the connection has to close.
    #[must_use]
    pub fn closing(&self) -> &CancellationToken {
        &self.closing
    }
}

impl Admission {
    /// An admission without connections.
    #[must_use]
    pub(super) fn new(now: Instant) -> Self {
        Self { epoch: now, entries: Vec::new() }
    }

    /// Makes room for a new connection from `address`: first within the limit per address, by evicting one of the same
    /// address, then within the total limit. After a reload that lowered a limit several may be evicted.
    pub(super) fn make_room(
        &mut self,
        address: IpAddr,
        limit_per_address: usize,
        limit: usize,
    ) -> AdmissionResult {
        self.forget_gone();
        let mut evicted = 0;
        for (from, limit) in [(Some(address), limit_per_address), (None, limit)] {
            while self.count(from) >= limit {
                if !self.evict(from) {
                    return AdmissionResult { admitted: false, evicted };
                }
                evicted += 1;
            }
        }
        AdmissionResult { admitted: true, evicted }
    }

    /// Adds a new connection, whatever the limits.
    pub(super) fn add(
        &mut self,
        address: IpAddr,
        closing: CancellationToken,
        now: Instant,
    ) -> Arc<IdleTracker> {
        let idle = Arc::new(IdleTracker::new(self.epoch, now, closing));
        self.entries.push(ConnectionEntry { address, idle: Arc::downgrade(&idle) });
        idle
    }

    /// Requests the longest idle connection (of one address, if given) to close, and no longer counts it. `false` if
    /// all have a request in flight.
    pub(super) fn evict(&mut self, from: Option<IpAddr>) -> bool {
        self.forget_gone();
        let longest_idle = (self.entries.iter().enumerate())
            .filter(|(_, entry)| from.is_none_or(|address| address == entry.address))
            .filter_map(|(index, entry)| {
                let idle_since = entry.idle.upgrade()?.idle_since.load(Ordering::Relaxed);
                (idle_since != BUSY).then_some((idle_since, index))
            })
            .min();
        let Some((_, index)) = longest_idle else { return false };
        // A request may arrive before the connection is notified: it is still answered, see `connection`.
        if let Some(idle) = self.entries.remove(index).idle.upgrade() {
            idle.closing.cancel();
        }
        true
    }

    fn count(&self, from: Option<IpAddr>) -> usize {
        self.entries.iter().filter(|entry| from.is_none_or(|address| address == entry.address)).count()
    }

    fn forget_gone(&mut self) {
        self.entries.retain(|entry| entry.idle.strong_count() > 0);
    }
}

/// The value for "not idle".
const BUSY: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    /// Connections from the given addresses, each idle a second longer than the next.
    fn connected(from: &[u8]) -> (Admission, Vec<Arc<IdleTracker>>) {
        let start = Instant::now();
        let mut admission = Admission::new(start);
        let presences = (0..)
            .zip(from)
            .map(|(s, &last)| {
                admission.add(address(last), CancellationToken::new(), start + Duration::from_secs(s))
            })
            .collect();
        (admission, presences)
    }

    fn evicted(presences: &[Arc<IdleTracker>]) -> Vec<usize> {
        (0..presences.len()).filter(|&index| presences[index].closing().is_cancelled()).collect()
    }

    #[test]
    fn the_last_free_place_costs_nobody_anything() {
        let (mut admission, presences) = connected(&[1, 1]);
        assert_eq!(admission.make_room(address(1), 3, 3), AdmissionResult { admitted: true, evicted: 0 });
        assert!(evicted(&presences).is_empty());
    }

    #[test]
    fn when_full_the_longest_idle_connection_goes() {
        let (mut admission, presences) = connected(&[1, 2, 3]);
        presences[0].set_idle(Instant::now() + Duration::from_secs(60));
        assert_eq!(admission.make_room(address(4), 3, 3), AdmissionResult { admitted: true, evicted: 1 });
        assert_eq!(evicted(&presences), [1]);
    }

    #[test]
    fn the_limit_per_address_evicts_only_that_address() {
        let (mut admission, presences) = connected(&[1, 2, 2]);
        assert_eq!(admission.make_room(address(2), 2, 10), AdmissionResult { admitted: true, evicted: 1 });
        assert_eq!(evicted(&presences), [1]);
    }

    #[test]
    fn a_busy_connection_is_never_evicted() {
        let (mut admission, presences) = connected(&[1, 1, 2]);
        presences[0].set_busy();
        presences[1].set_busy();
        assert_eq!(admission.make_room(address(1), 2, 10), AdmissionResult { admitted: false, evicted: 0 });
        assert!(evicted(&presences).is_empty());
        presences[2].set_busy();
        assert!(!admission.evict(None));
    }

    #[test]
    fn a_connection_that_ended_gives_its_place_back() {
        let (mut admission, mut presences) = connected(&[1, 1]);
        presences[1].set_busy();
        drop(presences.remove(0));
        assert_eq!(admission.make_room(address(1), 2, 2), AdmissionResult { admitted: true, evicted: 0 });
    }

    #[test]
    fn a_lowered_limit_is_reached_with_the_next_newcomer() {
        let (mut admission, presences) = connected(&[1, 2, 3, 4]);
        assert_eq!(admission.make_room(address(5), 2, 2), AdmissionResult { admitted: true, evicted: 3 });
        assert_eq!(evicted(&presences), [0, 1, 2]);
    }
}
