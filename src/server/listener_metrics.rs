//! The counters of a listener, for all clients together and for each.
//!
//! Counters only; nothing is decided by them. A connection counts without a lock and without a value that another
//! thread writes, so that counting costs a request next to nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::endpoint::{ClientAddress, Endpoint};
use crate::line::ClientCounters;
use crate::modbus::AduFraming;
use crate::modbus::pdu::ExceptionCode;
use crate::server::tls_clients::TlsClients;

/// The counters of one listener; they survive a reload.
#[derive(Debug, Default)]
pub struct ListenerMetrics {
    connections: AtomicU32,
    accepted: AtomicU64,
    turned_away: AtomicU64,
    counts: Counts,
    /// Replaced as a whole by each new connection: no connection waits for a page that reads it.
    clients: ArcSwap<Vec<Weak<ClientMetrics>>>,
    /// The clients that came through TLS, and those that failed to.
    pub tls: TlsClients,
    misframed: ArcSwapOption<MisframedClient>,
    /// Locked when a connection ends and when a page is written, never by a request.
    departed: Mutex<BTreeMap<ClientAddress, Departed>>,
}

/// The counters that a listener and each client have alike.
#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    /// By code; the first is for codes the standard does not have.
    exceptions: [AtomicU64; CODES],
}

/// The counters of one connection; no other thread writes to it.
#[derive(Debug)]
struct ClientMetrics {
    peer: Endpoint,
    since: Instant,
    counts: Counts,
    /// Milliseconds after `since`.
    last_request: AtomicU64,
    /// Smoothed, in microseconds; [`NEVER`] before the first.
    answer_time: AtomicU64,
}

/// Counts at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Requests received.
    pub requests: u64,
    /// Reads answered from the snapshot.
    pub hits: u64,
    /// Reads the snapshot could have answered but missed.
    pub misses: u64,
    /// Requests answered with an exception, by code from 1 to 0x0B; `None`: all other codes.
    pub exceptions: Vec<(Option<ExceptionCode>, u64)>,
}

/// A listener's counters at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections open now.
    pub connections: u32,
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Connections turned away since the start: not in `allow`, or over a limit.
    pub turned_away: u64,
    /// The counters of all clients together.
    pub counted: Counted,
}

/// One connection at one instant.
#[derive(Clone, Debug)]
pub struct ClientView {
    /// The client's end.
    pub peer: Endpoint,
    /// Since when it has been connected.
    pub since: Instant,
    /// Its counters.
    pub counted: Counted,
    /// When its last request arrived, to the millisecond.
    pub last_request: Option<Instant>,
    /// Smoothed time from a request to its answer, of requests sent to a line.
    pub answer_time: Option<Duration>,
}

/// The connections of one address that have ended, together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departed {
    /// The client's address.
    pub address: ClientAddress,
    /// When the last of them ended.
    pub left: Instant,
    /// How many there were.
    pub connections: u64,
    /// What they counted.
    pub counted: Counted,
}

/// A client that sent whole requests in another framing than the listener's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MisframedClient {
    /// Its address.
    pub address: ClientAddress,
    /// Its framing.
    pub spoken: AduFraming,
    /// When it first did.
    pub first: Instant,
    /// When it last did.
    pub last: Instant,
}

impl ListenerMetrics {
    /// The last client that spoke another framing than the listener's.
    #[must_use]
    pub fn misframed_client(&self) -> Option<MisframedClient> {
        self.misframed.load().as_deref().cloned()
    }

    /// A client sent a request in another framing than the listener's.
    pub fn note_misframed_client(&self, address: ClientAddress, spoken: AduFraming, now: Instant) {
        self.misframed.rcu(|before| {
            let same =
                before.as_deref().filter(|before| (&before.address, before.spoken) == (&address, spoken));
            let first = same.map_or(now, |before| before.first);
            Some(Arc::new(MisframedClient { address: address.clone(), spoken, first, last: now }))
        });
    }

    /// Counts a connection for as long as the guard lives.
    #[must_use]
    pub fn connected(self: &Arc<Self>, peer: Endpoint, now: Instant) -> Connected {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let client = Arc::new(ClientMetrics {
            peer,
            since: now,
            counts: Counts::default(),
            last_request: AtomicU64::new(NEVER),
            answer_time: AtomicU64::new(NEVER),
        });
        self.clients.rcu(|clients| {
            let connected = clients.iter().filter(|client| client.strong_count() > 0);
            connected.cloned().chain([Arc::downgrade(&client)]).collect::<Vec<_>>()
        });
        Connected { listener: Arc::clone(self), client }
    }

    /// A client was turned away.
    pub fn note_turned_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }

    /// All counters in the form of the diagnostics unit: 32 bits that wrap to zero.
    #[must_use]
    pub fn counters(&self) -> ClientCounters {
        let wrapped = |counter: u64| u32::try_from(counter & u64::from(u32::MAX)).unwrap_or_default();
        let read = |counter: &AtomicU64| wrapped(counter.load(Ordering::Relaxed));
        let exceptions = self.counts.exceptions.iter().map(|counter| counter.load(Ordering::Relaxed));
        ClientCounters {
            connections: self.connections.load(Ordering::Relaxed),
            requests: read(&self.counts.requests),
            exceptions: wrapped(exceptions.fold(0, u64::wrapping_add)),
            hits: read(&self.counts.hits),
            misses: read(&self.counts.misses),
        }
    }

    /// All counters.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals {
            connections: self.connections.load(Ordering::Relaxed),
            accepted: self.accepted.load(Ordering::Relaxed),
            turned_away: self.turned_away.load(Ordering::Relaxed),
            counted: self.counts.read(),
        }
    }

    /// The addresses whose connections have all ended within the last [`DEPARTED_KEPT`], the last to leave first.
    #[must_use]
    pub fn departed(&self, now: Instant) -> Vec<Departed> {
        let mut departed = self.departed.lock().unwrap_or_else(PoisonError::into_inner);
        departed.retain(|_, one| now.saturating_duration_since(one.left) <= DEPARTED_KEPT);
        let mut listed: Vec<_> = departed.values().cloned().collect();
        drop(departed);
        let connected = self.clients();
        listed.retain(|one| connected.iter().all(|client| client.peer.client_address() != one.address));
        listed.sort_by_key(|one| std::cmp::Reverse(one.left));
        listed
    }

    /// A connection has ended. Of more addresses than [`DEPARTED_MAX`] the one that left first is forgotten.
    fn note_departed(&self, client: &ClientMetrics, now: Instant) {
        let mut departed = self.departed.lock().unwrap_or_else(PoisonError::into_inner);
        let address = client.peer.client_address();
        let counted = client.counts.read();
        match departed.get_mut(&address) {
            Some(known) => {
                (known.left, known.connections) = (now, known.connections + 1);
                known.counted.add(&counted);
            }
            None => {
                let one = Departed { address: address.clone(), left: now, connections: 1, counted };
                departed.insert(address, one);
            }
        }
        if departed.len() > DEPARTED_MAX
            && let Some(first) = departed.values().min_by_key(|one| one.left).map(|one| one.address.clone())
        {
            departed.remove(&first);
        }
    }

    /// The connections, the oldest first.
    #[must_use]
    pub fn clients(&self) -> Vec<ClientView> {
        let clients = self.clients.load();
        clients.iter().filter_map(|client| client.upgrade()).map(|client| client.read()).collect()
    }
}

/// Counts an open connection until it is dropped, however its task ends.
#[derive(Debug)]
pub struct Connected {
    listener: Arc<ListenerMetrics>,
    client: Arc<ClientMetrics>,
}

impl Connected {
    /// Requests were received, of which the snapshot answered `found`.
    pub fn note_requests(&self, came: u64, found: u64, now: Instant) {
        self.listener.counts.requests.fetch_add(came, Ordering::Relaxed);
        add(&self.client.counts.requests, came);
        if found > 0 {
            self.listener.counts.hits.fetch_add(found, Ordering::Relaxed);
            add(&self.client.counts.hits, found);
        }
        let millis = now.saturating_duration_since(self.client.since).as_millis();
        self.client.last_request.store(u64::try_from(millis).unwrap_or(NEVER - 1), Ordering::Relaxed);
    }

    /// A request was answered with an exception.
    pub fn note_exception(&self, code: ExceptionCode) {
        let index = if usize::from(code.0) < CODES { usize::from(code.0) } else { 0 };
        self.listener.counts.exceptions[index].fetch_add(1, Ordering::Relaxed);
        add(&self.client.counts.exceptions[index], 1);
    }

    /// A read was answered from the snapshot.
    pub fn note_hit(&self) {
        self.listener.counts.hits.fetch_add(1, Ordering::Relaxed);
        add(&self.client.counts.hits, 1);
    }

    /// A read that accepts data of some age was not answered from the snapshot.
    pub fn note_miss(&self) {
        self.listener.counts.misses.fetch_add(1, Ordering::Relaxed);
        add(&self.client.counts.misses, 1);
    }

    /// It sent a request in another framing than the listener's.
    pub fn note_misframed(&self, spoken: AduFraming, now: Instant) {
        self.listener.note_misframed_client(self.client.peer.client_address(), spoken, now);
    }

    /// A request sent to a line was answered this long after it arrived.
    pub fn note_answer(&self, after: Duration) {
        let micros = u64::try_from(after.as_micros()).unwrap_or(NEVER - 1).min(NEVER - 1);
        let smoothed = match self.client.answer_time.load(Ordering::Relaxed) {
            NEVER => micros,
            before => before - before / SMOOTHING + micros / SMOOTHING,
        };
        self.client.answer_time.store(smoothed, Ordering::Relaxed);
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.listener.connections.fetch_sub(1, Ordering::Relaxed);
        self.listener.note_departed(&self.client, Instant::now());
    }
}

impl Counted {
    fn add(&mut self, more: &Self) {
        self.requests += more.requests;
        self.hits += more.hits;
        self.misses += more.misses;
        for ((_, count), (_, added)) in self.exceptions.iter_mut().zip(&more.exceptions) {
            *count += added;
        }
    }
}

impl Counts {
    fn read(&self) -> Counted {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let coded = (0..).zip(&self.exceptions).map(|(code, counter)| {
            let code = (code > 0).then_some(ExceptionCode(code));
            (code, read(counter))
        });
        Counted {
            requests: read(&self.requests),
            hits: read(&self.hits),
            misses: read(&self.misses),
            exceptions: coded.collect(),
        }
    }
}

impl ClientMetrics {
    fn read(&self) -> ClientView {
        let known =
            |counter: &AtomicU64| Some(counter.load(Ordering::Relaxed)).filter(|value| *value != NEVER);
        ClientView {
            peer: self.peer.clone(),
            since: self.since,
            counted: self.counts.read(),
            last_request: known(&self.last_request).map(|millis| self.since + Duration::from_millis(millis)),
            answer_time: known(&self.answer_time).map(Duration::from_micros),
        }
    }
}

/// Adds to a counter that only this thread writes: cheaper than an atomic read-modify-write.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

/// How long a client is listed after it left.
pub const DEPARTED_KEPT: Duration = Duration::from_secs(3600);

/// Addresses that are listed after they left.
pub const DEPARTED_MAX: usize = 256;

/// The codes the standard has go up to 0x0B; zero is for all others.
const CODES: usize = 12;

/// No such value yet.
const NEVER: u64 = u64::MAX;

/// The weight of the next value in a smoothed time: an eighth, as in TCP.
const SMOOTHING: u64 = 8;
