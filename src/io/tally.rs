//! What a listener counts of its clients, for whoever wants to see it. Counters only; nothing is decided by
//! them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::bus::diagnostics::ClientCounters;

/// The counters of one listener; they survive a reload.
#[derive(Debug, Default)]
pub struct Tally {
    connections: AtomicU32,
    requests: AtomicU32,
    exceptions: AtomicU32,
    hits: AtomicU32,
    misses: AtomicU32,
}

impl Tally {
    /// Counts a connection for as long as the guard lives.
    #[must_use]
    pub fn connected(self: &Arc<Self>) -> Connected {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Connected(Arc::clone(self))
    }

    /// A request came.
    pub fn note_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was answered with an exception.
    pub fn note_exception(&self) {
        self.exceptions.fetch_add(1, Ordering::Relaxed);
    }

    /// A read that takes data of some age was looked up in the snapshot, and was or was not answered from it.
    pub fn note_lookup(&self, found: bool) {
        let counter = if found { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// All of it. The counters wrap.
    #[must_use]
    pub fn counters(&self) -> ClientCounters {
        let read = |counter: &AtomicU32| counter.load(Ordering::Relaxed);
        ClientCounters {
            connections: read(&self.connections),
            requests: read(&self.requests),
            exceptions: read(&self.exceptions),
            hits: read(&self.hits),
            misses: read(&self.misses),
        }
    }
}

/// A connection that is counted, however its task ends.
#[derive(Debug)]
pub struct Connected(Arc<Tally>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
