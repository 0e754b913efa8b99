//! The last traffic of both sides: kept in rings for later reading, and passed on live to followers.
//!
//! Owns the bounded rings of each bus and of the clients, and the wall-clock times of their events. Bus tasks and
//! connections push events into a lock-free queue; readers, on a thread of a lower priority, collect them from there.
//! So no reader delays a bus or a connection: events not collected in time are dropped and counted, and followers get
//! the number of missing events.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use crossbeam_queue::ArrayQueue;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use crate::endpoint::Endpoint;
use crate::line::{BusId, Record};
use crate::modbus::AduFraming;
use crate::modbus::mbap::Adu;
use crate::tls::ClientIdentity;

/// An event on a line or between a client and the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrafficEvent {
    /// Increases by one over all events of the process: the order, whatever the clock was set to.
    pub number: u64,
    /// What happened.
    pub kind: TrafficKind,
    keep: Keep,
    clock: Clock,
}

/// Whether an event is kept in its ring, or only passed on to followers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    Kept,
    Passing,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrafficKind {
    /// On the line of a bus.
    Line {
        /// Which bus.
        bus: BusId,
        /// The record of the line.
        record: Arc<Record>,
    },
    /// Between a client and the gateway.
    Client(Message),
}

/// One ADU between a client and the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The two ends.
    pub link: Arc<Link>,
    /// Which end sent it.
    pub sender: Sender,
    /// The message.
    pub adu: Adu,
    /// When it had been received in full, or was ready to be sent.
    pub at: Instant,
}

/// The two ends of a client's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The client's end.
    pub client: Endpoint,
    /// The gateway's end, as the client reached it.
    pub listener: Endpoint,
    /// How its ADUs are framed. Those of RTU have a synthetic transaction identifier in a [`Message`].
    pub framing: AduFraming,
    /// No two connections of a process have the same number.
    pub connection: u64,
    /// The client, if it showed a certificate.
    pub identity: Option<Arc<ClientIdentity>>,
}

/// The end that sent a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The client.
    Client,
    /// The gateway.
    Gateway {
        /// The source of the answer.
        served: Served,
        /// The PDU of the request.
        asked: Bytes,
        /// When the request had been received.
        since: Instant,
    },
}

/// The source of an answer to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// The snapshot, without use of a line.
    Snapshot,
    /// The gateway's own registers.
    Diagnostics,
    /// The unit, data or its exception.
    Unit,
    /// The gateway's own exception: refused, or no valid answer.
    Refused,
    /// The gateway: a broadcast was sent on the lines.
    Acknowledged,
}

impl Served {
    /// The source as one word.
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

impl TrafficEvent {
    /// When it began, by the wall clock as it was set when the event was recorded.
    #[must_use]
    pub fn begun(&self) -> SystemTime {
        self.wall(match &self.kind {
            TrafficKind::Line { record, .. } => record.begun(),
            TrafficKind::Client(message) => message.at,
        })
    }

    /// Any instant of it by the wall clock.
    #[must_use]
    pub fn wall(&self, at: Instant) -> SystemTime {
        self.clock.wall(at)
    }

    /// Its approximate size in memory.
    fn size(&self) -> usize {
        let bytes = match &self.kind {
            TrafficKind::Line { record, .. } => match &**record {
                Record::Transaction(transaction) => {
                    transaction.request.len() + transaction.received.bytes.len()
                }
                Record::Stray(stray) => stray.received.bytes.len(),
            },
            TrafficKind::Client(message) => message.adu.pdu.len(),
        };
        EVENT_SIZE + bytes
    }
}

/// One instant of both clocks. All times of an event, and of those after it, are converted by the same one, so that
/// their order holds; a new one is taken only if the wall clock was set by more than [`CLOCK_SET`].
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

    /// This one, or `now` if the wall clock has been set in between.
    fn or_set(self, now: Self) -> Self {
        let expected = self.wall(now.instant);
        let apart = now.system.duration_since(expected).or_else(|_| expected.duration_since(now.system));
        if apart.is_ok_and(|apart| apart > CLOCK_SET) { now } else { self }
    }
}

/// The traffic of a gateway.
#[derive(Debug)]
pub struct Traffic {
    /// Recorded, and not collected yet.
    fresh: ArrayQueue<Arc<TrafficEvent>>,
    /// Events that did not fit into `fresh`, since the start.
    lost: AtomicU64,
    /// Collected. Only readers take its lock.
    kept: Mutex<Kept>,
    followers: AtomicUsize,
    began: Instant,
    /// The second after `began` that `passing` counts.
    passing_second: AtomicU64,
    passing: AtomicU32,
}

#[derive(Debug)]
struct Kept {
    number: u64,
    /// The number of lost events that `number` includes.
    lost: u64,
    clock: Clock,
    buses: BTreeMap<BusId, Ring>,
    clients: Ring,
    live: broadcast::Sender<Arc<TrafficEvent>>,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Arc<TrafficEvent>>,
    size: usize,
}

impl Ring {
    fn push(&mut self, event: Arc<TrafficEvent>) {
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
        let (live, _) = broadcast::channel(FOLLOWER_EVENTS);
        let kept = Kept {
            number: 0,
            lost: 0,
            clock: Clock::now(),
            buses: BTreeMap::new(),
            clients: Ring::default(),
            live,
        };
        Self {
            fresh: ArrayQueue::new(FRESH_EVENTS),
            lost: AtomicU64::new(0),
            kept: Mutex::new(kept),
            followers: AtomicUsize::new(0),
            began: Instant::now(),
            passing_second: AtomicU64::new(0),
            passing: AtomicU32::new(0),
        }
    }
}

impl Traffic {
    /// Records an event of the line of `bus`.
    pub fn note_record(&self, bus: BusId, record: Arc<Record>) {
        self.note(TrafficKind::Line { bus, record }, Keep::Kept, FRESH_EVENTS);
    }

    /// Records a message between a client and the gateway.
    pub fn note_message(&self, message: Message) {
        self.note(TrafficKind::Client(message), Keep::Kept, FRESH_OF_CLIENTS);
    }

    /// Whether a request that uses no line, and its reply, are passed on to followers: at most [`PASSING_PER_SECOND`],
    /// because there may be tens of thousands, and none without a follower.
    #[must_use]
    pub fn permits_passing(&self, now: Instant) -> bool {
        if self.followers.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let second = now.saturating_duration_since(self.began).as_secs();
        // Two threads that race at the turn of a second may pass a few more.
        if self.passing_second.swap(second, Ordering::Relaxed) != second {
            self.passing.store(0, Ordering::Relaxed);
        }
        self.passing.fetch_add(1, Ordering::Relaxed) < PASSING_PER_SECOND
    }

    /// Records a message that uses no line: passed on to followers and not kept, because it would displace records
    /// worth keeping.
    pub fn note_passing(&self, message: Message) {
        self.note(TrafficKind::Client(message), Keep::Passing, FRESH_OF_CLIENTS);
    }

    /// Collects the events recorded since the last call. Must be called several times a second: the queue is bounded.
    pub fn collect(&self) {
        drop(self.collected());
    }

    /// Events lost since the start because they were not collected in time.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Everything kept, in order.
    #[must_use]
    pub fn kept(&self) -> Vec<Arc<TrafficEvent>> {
        let all = self.collected().all();
        in_order(all)
    }

    /// At most `most` of the last records of the line of `bus` for which `wanted` holds, the newest first.
    #[must_use]
    pub fn last(&self, bus: BusId, most: usize, wanted: impl Fn(&Record) -> bool) -> Vec<Arc<Record>> {
        let kept = self.collected();
        let events = kept.buses.get(&bus).into_iter().flat_map(|ring| ring.events.iter().rev());
        let records = events.filter_map(|event| match &event.kind {
            TrafficKind::Line { record, .. } => Some(record),
            TrafficKind::Client(_) => None,
        });
        records.filter(|record| wanted(record)).take(most).cloned().collect()
    }

    /// Everything kept, and a subscription to what follows, without repetitions or gaps.
    #[must_use]
    pub fn follow(self: &Arc<Self>) -> (Vec<Arc<TrafficEvent>>, Follower) {
        // From here on reads that are answered from the snapshot are recorded, too.
        self.followers.fetch_add(1, Ordering::Relaxed);
        let kept = self.collected();
        let (all, live, next) = (kept.all(), kept.live.subscribe(), kept.number + 1);
        drop(kept);
        (in_order(all), Follower { live, next, early: None, traffic: Arc::clone(self) })
    }

    /// Drops the events of other buses than these, which a reload removed.
    pub fn keep_only(&self, buses: &[BusId]) {
        self.collected().buses.retain(|bus, _| buses.contains(bus));
    }

    /// Never waits: with `most` events in the queue the event is lost.
    fn note(&self, kind: TrafficKind, keep: Keep, most: usize) {
        let event = Arc::new(TrafficEvent { number: 0, kind, keep, clock: Clock::now() });
        if self.fresh.len() >= most || self.fresh.push(event).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Everything kept, including what has just been collected.
    fn collected(&self) -> MutexGuard<'_, Kept> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // At most a full queue, however fast other threads record.
        for event in (0..FRESH_EVENTS).map_while(|_| self.fresh.pop()) {
            kept.add(event);
        }
        // These would have followed what was in the queue. A follower detects it by the number of the next event.
        let lost = self.lost();
        kept.number += lost - kept.lost;
        kept.lost = lost;
        kept
    }
}

impl Kept {
    fn add(&mut self, mut event: Arc<TrafficEvent>) {
        self.number += 1;
        // The only reference so far.
        if let Some(event) = Arc::get_mut(&mut event) {
            event.number = self.number;
            self.clock = self.clock.or_set(event.clock);
            event.clock = self.clock;
        }
        if event.keep == Keep::Kept {
            match &event.kind {
                TrafficKind::Line { bus, .. } => self.buses.entry(*bus).or_default(),
                TrafficKind::Client(_) => &mut self.clients,
            }
            .push(Arc::clone(&event));
        }
        // It waits for no follower; it is no error if there is none.
        let _followers = self.live.send(event);
    }

    /// Everything, bus by bus.
    fn all(&self) -> Vec<Arc<TrafficEvent>> {
        let rings = self.buses.values().chain([&self.clients]);
        rings.flat_map(|ring| &ring.events).cloned().collect()
    }
}

/// In the order of their numbers.
fn in_order(mut all: Vec<Arc<TrafficEvent>>) -> Vec<Arc<TrafficEvent>> {
    all.sort_unstable_by_key(|event| event.number);
    all
}

/// A subscription to the traffic.
#[derive(Debug)]
pub struct Follower {
    live: broadcast::Receiver<Arc<TrafficEvent>>,
    /// The expected number of the next event.
    next: u64,
    /// An event that arrived before missing ones were reported.
    early: Option<Arc<TrafficEvent>>,
    traffic: Arc<Traffic>,
}

/// An item of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// The next event.
    Event(Arc<TrafficEvent>),
    /// The follower was too slow: this many events are lost.
    Lost(u64),
}

impl Follower {
    /// Waits for the next event. Cancel safe.
    pub async fn next(&mut self) -> Followed {
        let event = match self.early.take() {
            Some(event) => event,
            None => self.receive().await,
        };
        let missing = event.number.saturating_sub(self.next);
        self.next = event.number;
        if missing > 0 {
            self.early = Some(event);
            return Followed::Lost(missing);
        }
        self.next += 1;
        Followed::Event(event)
    }

    /// The next event available. Its number shows how many are missing.
    async fn receive(&mut self) -> Arc<TrafficEvent> {
        loop {
            self.traffic.collect();
            match timeout(COLLECT_PERIOD, self.live.recv()).await {
                Ok(Ok(event)) => return event,
                Ok(Err(RecvError::Lagged(_))) | Err(_) => {}
                // Unreachable: the follower holds the traffic, and with it the sender.
                Ok(Err(RecvError::Closed)) => return std::future::pending().await,
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.traffic.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Largest number per second of requests without use of a line that are passed on to followers, with their replies.
pub const PASSING_PER_SECOND: u32 = 200;

/// Events kept of each bus, and of the clients.
pub const RING_EVENTS: usize = 2_000;

/// Largest size of each ring in bytes: reached before [`RING_EVENTS`] only if the answers are long.
pub(super) const RING_SIZE: usize = 1 << 20;

/// Events a follower may be behind.
pub const FOLLOWER_EVENTS: usize = 1_024;

/// Events that may wait to be collected.
pub const FRESH_EVENTS: usize = 4_096;

/// Events of clients are queued only while fewer wait: a flood of requests must not displace records of the lines.
pub const FRESH_OF_CLIENTS: usize = FRESH_EVENTS / 2;

/// How often events are collected.
pub const COLLECT_PERIOD: Duration = Duration::from_millis(100);

/// Size of an event without its bytes.
const EVENT_SIZE: usize = 320;

/// A wall clock that deviates this much from the expected time has been set.
pub(super) const CLOCK_SET: Duration = Duration::from_secs(1);
