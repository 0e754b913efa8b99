//! The last traffic of both sides, kept for whoever looks later, and handed on to whoever follows it.
//!
//! Owns the bounded rings of each bus and of the clients, and the times of the wall that stand in them. It
//! never delays who tells it something: a follower that is slow loses events and is told how many.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::bus::record::Record;
use crate::modbus::mbap::Adu;

/// One thing that happened, on a line or between a client and the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Ascending by one over all events of the process: the order, whatever the clock was set to.
    pub number: u64,
    /// What happened.
    pub what: What,
    clock: Clock,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// On the line of a bus.
    Line {
        /// Its name.
        bus: Arc<str>,
        /// What its line recorded.
        record: Arc<Record>,
    },
    /// Between a client and the gateway.
    Client(Said),
}

/// One ADU between a client and the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The two ends.
    pub link: Arc<Link>,
    /// Who said it.
    pub speaker: Speaker,
    /// What was said.
    pub adu: Adu,
    /// When it had been received whole, or was ready to be sent.
    pub at: Instant,
}

/// The two ends of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The client's end.
    pub client: SocketAddr,
    /// The gateway's end, as the client reached it.
    pub listener: SocketAddr,
    /// No two connections of a process have the same.
    pub connection: u64,
}

/// Who said something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The client.
    Client,
    /// The gateway, and on what grounds.
    Gateway {
        /// Where the answer came from.
        served: Served,
        /// The PDU that was answered.
        asked: Bytes,
        /// When that had been received.
        since: Instant,
    },
}

/// Where the answer to a client came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// The snapshot, without a line.
    Snapshot,
    /// The gateway's own registers.
    Diagnostics,
    /// The unit, data or its exception.
    Unit,
    /// The gateway's own exception: refused, or nothing came of it.
    Refused,
    /// A broadcast is on the lines.
    Acknowledged,
}

impl Served {
    /// One word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Diagnostics => "diagnostics",
            Self::Unit => "unit",
            Self::Refused => "refused",
            Self::Acknowledged => "acknowledged",
        }
    }
}

impl Event {
    /// When it began, by the wall clock as it was set when the event was told.
    #[must_use]
    pub fn begun(&self) -> SystemTime {
        self.wall(match &self.what {
            What::Line { record, .. } => record.begun(),
            What::Client(said) => said.at,
        })
    }

    /// Any instant of it by the wall clock.
    #[must_use]
    pub fn wall(&self, at: Instant) -> SystemTime {
        self.clock.wall(at)
    }

    /// What it takes in memory, about.
    fn size(&self) -> usize {
        let bytes = match &self.what {
            What::Line { record, .. } => match &**record {
                Record::Transaction(told) => told.request.len() + told.received.bytes.len(),
                Record::Stray(stray) => stray.received.bytes.len(),
            },
            What::Client(said) => said.adu.pdu.len(),
        };
        EVENT_SIZE + bytes
    }
}

/// One instant of both clocks. All of an event is told by the same, and so are the events after it, so that
/// they do not change places; only when the wall clock was set by more than [`CLOCK_SET`] is a new one taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Clock {
    instant: Instant,
    system: SystemTime,
}

impl Clock {
    fn now() -> Self {
        Self { instant: Instant::now(), system: SystemTime::now() }
    }

    fn wall(&self, at: Instant) -> SystemTime {
        let later = self.system.checked_add(at.saturating_duration_since(self.instant));
        let earlier = self.instant.saturating_duration_since(at);
        later.and_then(|later| later.checked_sub(earlier)).unwrap_or(self.system)
    }

    /// This, or `now` if the wall clock has been set in between.
    fn or_set(self, now: Self) -> Self {
        let told = self.wall(now.instant);
        let apart = now.system.duration_since(told).or_else(|_| told.duration_since(now.system));
        if apart.is_ok_and(|apart| apart > CLOCK_SET) { now } else { self }
    }
}

/// The traffic of a gateway.
#[derive(Debug)]
pub struct Traffic {
    kept: Mutex<Kept>,
    live: broadcast::Sender<Arc<Event>>,
    followers: AtomicUsize,
    began: Instant,
    /// The second after `began` that `passing` counts.
    passing_second: AtomicU64,
    passing: AtomicU32,
}

#[derive(Debug)]
struct Kept {
    number: u64,
    clock: Clock,
    buses: BTreeMap<Arc<str>, Ring>,
    clients: Ring,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    size: usize,
}

impl Ring {
    fn push(&mut self, event: Arc<Event>) {
        self.size += event.size();
        self.events.push_back(event);
        while self.events.len() > RING_EVENTS || self.size > RING_SIZE {
            let Some(gone) = self.events.pop_front() else { break };
            self.size -= gone.size();
        }
    }
}

impl Default for Traffic {
    fn default() -> Self {
        let kept = Kept { number: 0, clock: Clock::now(), buses: BTreeMap::new(), clients: Ring::default() };
        let (live, _) = broadcast::channel(FOLLOWER_EVENTS);
        Self {
            kept: Mutex::new(kept),
            live,
            followers: AtomicUsize::new(0),
            began: Instant::now(),
            passing_second: AtomicU64::new(0),
            passing: AtomicU32::new(0),
        }
    }
}

impl Traffic {
    /// The line of `bus` has recorded something.
    pub fn note_record(&self, bus: &Arc<str>, record: Arc<Record>) {
        self.note(What::Line { bus: Arc::clone(bus), record });
    }

    /// A client or the gateway has said something.
    pub fn note_said(&self, said: Said) {
        self.note(What::Client(said));
    }

    /// Whether a request that costs no line, and its reply, are to be told to those who follow: some of each second,
    /// for there may be tens of thousands, and none where nobody follows.
    #[must_use]
    pub fn permits_passing(&self, now: Instant) -> bool {
        if self.followers.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let second = now.saturating_duration_since(self.began).as_secs();
        // Two who meet at the turn of a second may tell a few more.
        if self.passing_second.swap(second, Ordering::Relaxed) != second {
            self.passing.store(0, Ordering::Relaxed);
        }
        self.passing.fetch_add(1, Ordering::Relaxed) < PASSING_PER_SECOND
    }

    /// A client or the gateway has said something that costs no line: told to those who follow, and not kept, or it
    /// would take the place of what somebody looks for later.
    pub fn note_passing(&self, said: Said) {
        let now = Clock::now();
        let mut kept = self.lock();
        let event = kept.event(What::Client(said), now);
        let _followers = self.live.send(event);
    }

    /// Everything kept, in order.
    #[must_use]
    pub fn kept(&self) -> Vec<Arc<Event>> {
        let all = self.lock().all();
        in_order(all)
    }

    /// The last records of the line of `bus` that are wanted, the newest first, no more than `most`.
    #[must_use]
    pub fn last(&self, bus: &str, most: usize, wanted: impl Fn(&Record) -> bool) -> Vec<Arc<Record>> {
        let kept = self.lock();
        let events = kept.buses.get(bus).into_iter().flat_map(|ring| ring.events.iter().rev());
        let records = events.filter_map(|event| match &event.what {
            What::Line { record, .. } => Some(record),
            What::Client(_) => None,
        });
        records.filter(|record| wanted(record)).take(most).cloned().collect()
    }

    /// Everything kept, and from there on everything that happens: nothing twice, nothing in between missing.
    #[must_use]
    pub fn follow(self: &Arc<Self>) -> (Vec<Arc<Event>>, Follower) {
        // From here on reads that are answered from the snapshot are told, too.
        self.followers.fetch_add(1, Ordering::Relaxed);
        let kept = self.lock();
        let (all, live) = (kept.all(), self.live.subscribe());
        drop(kept);
        (in_order(all), Follower { live, traffic: Arc::clone(self) })
    }

    /// Forgets what was kept of buses with other names than these, which a reload took away.
    pub fn keep_only(&self, buses: &[&str]) {
        self.lock().buses.retain(|name, _| buses.contains(&&**name));
    }

    fn note(&self, what: What) {
        let now = Clock::now();
        let mut kept = self.lock();
        let event = kept.event(what, now);
        match &event.what {
            What::Line { bus, .. } => kept.buses.entry(Arc::clone(bus)).or_default(),
            What::Client(_) => &mut kept.clients,
        }
        .push(Arc::clone(&event));
        // Under the lock, so that followers are told in order. It waits for none of them, and none is no error.
        let _followers = self.live.send(event);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// The next event, which begins to be told now.
    fn event(&mut self, what: What, now: Clock) -> Arc<Event> {
        self.number += 1;
        self.clock = self.clock.or_set(now);
        Arc::new(Event { number: self.number, what, clock: self.clock })
    }

    /// Everything, bus by bus.
    fn all(&self) -> Vec<Arc<Event>> {
        let rings = self.buses.values().chain([&self.clients]);
        rings.flat_map(|ring| &ring.events).cloned().collect()
    }
}

/// In the order of their numbers. Not under the lock, for which buses would wait meanwhile.
fn in_order(mut all: Vec<Arc<Event>>) -> Vec<Arc<Event>> {
    all.sort_unstable_by_key(|event| event.number);
    all
}

/// One who follows the traffic.
#[derive(Debug)]
pub struct Follower {
    live: broadcast::Receiver<Arc<Event>>,
    traffic: Arc<Traffic>,
}

/// What a follower is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// The next event.
    Event(Arc<Event>),
    /// It was too slow: so many events are gone.
    Lost(u64),
}

impl Follower {
    /// Waits for what happens next. Nothing is lost when the wait is given up.
    pub async fn next(&mut self) -> Followed {
        match self.live.recv().await {
            Ok(event) => Followed::Event(event),
            Err(RecvError::Lagged(count)) => Followed::Lost(count),
            // Not reached: the follower keeps the traffic, and with it the sender.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.traffic.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Requests that cost no line and are told to those who follow, with their replies, in each second.
pub const PASSING_PER_SECOND: u32 = 200;

/// Events kept of each bus, and of the clients.
pub const RING_EVENTS: usize = 2_000;

/// What they may take in memory each, bytes: reached before [`RING_EVENTS`] only where the answers are long.
pub const RING_SIZE: usize = 1 << 20;

/// Events a follower may be behind.
pub const FOLLOWER_EVENTS: usize = 1_024;

/// What an event takes beside the bytes in it.
const EVENT_SIZE: usize = 320;

/// A wall clock so far from where it was going has been set.
pub const CLOCK_SET: Duration = Duration::from_secs(1);
