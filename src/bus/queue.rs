//! Who is next: one start-time-fair queue of everything that waits for the line.
//!
//! Line time is shared fairly between client addresses, then between the connections of an address. The cost
//! of a request is its wire time; its class is a weight (write 8, read 4, background 1), so nothing starves. A read that another one covers
//! joins it. Within one unit, what came after a write is not sent before it.
//! Scheme: start-time fair queueing (Goyal, Vin, Cheng 1996), two levels of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use crate::modbus::pdu::{ReadRange, RequestPdu};

use super::request::{Request, Source, Target};
use super::sabotage::{Guard, keeps};
use super::tables::Tables;

/// One who waits for an item's answer.
#[derive(Debug)]
pub struct Waiter<T> {
    /// Where the answer goes.
    pub to: T,
    /// Who asked.
    pub source: Source,
    /// What was asked; covered by the item's own request.
    pub pdu: RequestPdu,
    /// When it was asked.
    pub since: Instant,
    /// Oldest data it takes.
    pub max_age: Duration,
    /// It is answered before this instant.
    pub deadline: Instant,
}

/// One request for the line, and everybody who waits for its answer.
#[derive(Debug)]
pub struct Item<T> {
    /// Ascending by arrival.
    pub key: u64,
    /// Whom it is for.
    pub target: Target,
    /// What goes on the line.
    pub pdu: RequestPdu,
    /// Its range, if it may be joined.
    pub range: Option<ReadRange>,
    /// Line time it takes, for the shares.
    pub cost: Duration,
    /// How often it was sent.
    pub attempts: u32,
    /// Read on our own account, whether or not anybody waits.
    pub background: bool,
    /// Everybody who waits for it, the one who began it first.
    pub waiters: Vec<Waiter<T>>,
}

impl<T> Item<T> {
    /// In whose flows it stands.
    fn sources(&self) -> impl Iterator<Item = Source> {
        self.waiters.iter().map(|waiter| waiter.source).chain(self.background.then_some(OWN))
    }
}

impl<T> Waiter<T> {
    /// Whether it takes data read by a request begun at `sent_at`.
    #[must_use]
    pub fn takes_data_of(&self, sent_at: Instant) -> bool {
        self.since.saturating_duration_since(sent_at) <= self.max_age
    }
}

/// Everything that waits for the line.
#[derive(Debug)]
pub struct Queue<T> {
    items: BTreeMap<u64, Item<T>>,
    addresses: BTreeMap<IpAddr, Address>,
    /// Pending writes of each target, by key.
    writes: BTreeMap<Lane, BTreeSet<u64>>,
    /// The newest write of each target ever queued, by key: nothing joins across it.
    newest_write: BTreeMap<Lane, u64>,
    virtual_time: u64,
    next_key: u64,
    waiting: usize,
    limit: usize,
}

/// A target in an order of its own: the unit identifier, 0 for broadcasts.
type Lane = u8;

/// A set of targets. Asked for each connection at each turn of the line, so it allocates nothing.
#[derive(Debug, Default)]
struct Lanes([u64; 4]);

impl Lanes {
    /// Whether it was not in there before.
    fn insert(&mut self, lane: Lane) -> bool {
        let (word, bit) = (usize::from(lane / 64), 1_u64 << (lane % 64));
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }
}

#[derive(Debug, Default)]
struct Address {
    finish: u64,
    virtual_time: u64,
    connections: BTreeMap<u64, Flow>,
}

#[derive(Debug, Default)]
struct Flow {
    finish: u64,
    keys: VecDeque<u64>,
}

impl<T> Queue<T> {
    /// A queue for `limit` waiting requests; each connection may have one beyond it.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            items: BTreeMap::new(),
            addresses: BTreeMap::new(),
            writes: BTreeMap::new(),
            newest_write: BTreeMap::new(),
            virtual_time: 0,
            next_key: 0,
            waiting: 0,
            limit,
        }
    }

    /// Requests waiting, joined ones included.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether a read of `target` may join an item with this `key`: no write came after it.
    #[must_use]
    pub fn may_join(&self, target: Target, key: u64) -> bool {
        [lane(target), BROADCAST]
            .iter()
            .all(|lane| self.newest_write.get(lane).is_none_or(|&write| write < key))
            || !keeps(Guard::JoinAcrossWrite)
    }

    /// Queues `request`, joining a read that covers it, in one of its `tables`, if there is one. `whole` is a
    /// larger range to be read in its place, whose answer serves it too. Whether it joined.
    ///
    /// # Errors
    /// The request itself, when the queue is full and its connection has something waiting already.
    pub fn push(
        &mut self,
        request: Request<T>,
        whole: Option<ReadRange>,
        tables: Tables,
        cost: Duration,
        now: Instant,
    ) -> Result<bool, Request<T>> {
        let has_one = self.flow(request.source).is_some_and(|flow| !flow.keys.is_empty());
        if self.waiting >= self.limit && has_one {
            return Err(request);
        }
        let Request { to, source, target, pdu, deadline, max_age, listener: _ } = request;
        let range = pdu.range();
        let waiter = Waiter { to, source, pdu, since: now, max_age, deadline };
        if let Some(key) = range.and_then(|range| self.joinable(target, &range, tables)) {
            self.join(key, waiter);
            Ok(true)
        } else {
            let pdu = whole.map_or_else(|| waiter.pdu.clone(), RequestPdu::from);
            let range = whole.or(range);
            let (key, waiters) = (self.next_key, vec![waiter]);
            let item = Item { key, target, pdu, range, cost, attempts: 0, background: false, waiters };
            self.insert(item, End::Back);
            Ok(false)
        }
    }

    /// Queues `waiters`, who all ask the same and had their place in the queue before, as one request that joins no
    /// other. So many times was a read sent that would have answered them.
    pub fn push_alone(&mut self, target: Target, waiters: Vec<Waiter<T>>, attempts: u32, cost: Duration) {
        let Some(pdu) = waiters.first().map(|waiter| waiter.pdu.clone()) else { return };
        let (key, range) = (self.next_key, pdu.range());
        let item = Item { key, target, pdu, range, cost, attempts, background: false, waiters };
        self.insert(item, End::Back);
    }

    /// Queues a reading of our own. One of exactly this range that clients wait for becomes one of ours, too: a
    /// wider one would not be kept.
    pub fn push_background(&mut self, target: Target, range: ReadRange, cost: Duration) {
        let same = |item: &&Item<T>| item.target == target && item.range == Some(range);
        let queued = self.items.values().rev().find(same).map(|item| item.key);
        match queued.and_then(|key| self.items.get_mut(&key)) {
            Some(item) => {
                item.background = true;
                let key = item.key;
                self.link(OWN, key, End::Back);
            }
            None => {
                let (key, pdu, range, waiters) = (self.next_key, range.into(), Some(range), Vec::new());
                let item = Item { key, target, pdu, range, cost, attempts: 0, background: true, waiters };
                self.insert(item, End::Back);
            }
        }
    }

    /// Whether a write that this connection asked for waits for the target, or for all units.
    #[must_use]
    pub fn has_write(&self, source: Source, target: Target) -> bool {
        let keys = [lane(target), BROADCAST].into_iter().filter_map(|lane| self.writes.get(&lane)).flatten();
        let mut items = keys.filter_map(|key| self.items.get(key));
        items.any(|item| item.waiters.iter().any(|waiter| waiter.source == source))
    }

    /// Whether a reading of our own waits for a target for which `counts` holds.
    #[must_use]
    pub fn has_background(&self, counts: impl Fn(Target) -> bool) -> bool {
        self.items.values().any(|item| item.background && counts(item.target))
    }

    /// Gives up readings of our own for which `gone` holds; whoever joined one goes on waiting for it.
    pub fn drop_background(&mut self, gone: impl Fn(&Item<T>) -> bool) {
        let keys: Vec<u64> =
            self.items.values().filter(|item| item.background && gone(item)).map(|item| item.key).collect();
        for key in keys {
            self.unlink(OWN, key);
            if let Some(item) = self.items.get_mut(&key) {
                item.background = false;
                if item.waiters.is_empty() {
                    self.items.remove(&key);
                }
            }
        }
        self.prune();
    }

    /// Puts back an item whose attempt failed: ahead of what its connections asked for later.
    pub fn put_back(&mut self, item: Item<T>) {
        self.insert(item, End::Front);
    }

    /// Takes the next item for which `may_send` holds, in the order of fair shares.
    pub fn take(&mut self, may_send: impl Fn(&Item<T>) -> bool) -> Option<Item<T>> {
        let (address, connection, key) = self.select(may_send)?;
        let item = self.detach(key)?;
        self.charge(address, connection, &item);
        self.prune();
        Some(item)
    }

    /// Takes an item out by its key.
    pub fn remove(&mut self, key: u64) -> Option<Item<T>> {
        let item = self.detach(key)?;
        self.prune();
        Some(item)
    }

    fn detach(&mut self, key: u64) -> Option<Item<T>> {
        let item = self.items.remove(&key)?;
        if let Some(writes) = self.writes.get_mut(&lane(item.target)) {
            writes.remove(&key);
        }
        for source in item.sources() {
            self.unlink(source, key);
        }
        self.waiting -= item.waiters.len();
        Some(item)
    }

    /// Removes the waiters for which `gone` holds and hands them out with the number of attempts made for
    /// them; an item nobody waits for any more is dropped.
    pub fn remove_waiters(&mut self, gone: impl Fn(&Item<T>, &Waiter<T>) -> bool) -> Vec<(u32, Waiter<T>)> {
        let keys: Vec<u64> = self
            .items
            .values()
            .filter(|item| item.waiters.iter().any(|waiter| gone(item, waiter)))
            .map(|item| item.key)
            .collect();
        let mut removed = Vec::new();
        for key in keys {
            let Some(mut item) = self.items.remove(&key) else { continue };
            let (out, stay): (Vec<_>, Vec<_>) =
                std::mem::take(&mut item.waiters).into_iter().partition(|waiter| gone(&item, waiter));
            self.waiting -= out.len();
            for waiter in out {
                if !stay.iter().any(|other| other.source == waiter.source) {
                    self.unlink(waiter.source, key);
                }
                removed.push((item.attempts, waiter));
            }
            item.waiters = stay;
            if item.waiters.is_empty() && !item.background {
                if let Some(writes) = self.writes.get_mut(&lane(item.target)) {
                    writes.remove(&key);
                }
            } else {
                self.items.insert(key, item);
            }
        }
        self.prune();
        removed
    }

    /// Every item, oldest first.
    pub fn items(&self) -> impl Iterator<Item = &Item<T>> {
        self.items.values()
    }

    /// Whether a write to the same unit, or to all of them, came before `item` and has not been sent.
    fn behind_a_write(&self, item: &Item<T>) -> bool {
        [lane(item.target), BROADCAST].iter().any(|lane| {
            self.writes.get(lane).and_then(BTreeSet::first).is_some_and(|&write| write < item.key)
        })
    }

    fn flow(&self, source: Source) -> Option<&Flow> {
        self.addresses.get(&source.address)?.connections.get(&source.connection)
    }

    fn joinable(&self, target: Target, range: &ReadRange, tables: Tables) -> Option<u64> {
        let within = |queued: ReadRange| tables.part(&queued, range).is_some();
        let covers = |item: &&Item<T>| item.target == target && item.range.is_some_and(within);
        // The newest first: an older one may be a further attempt that waits for its unit.
        self.items.values().rev().find(covers).map(|item| item.key).filter(|&key| self.may_join(target, key))
    }

    fn join(&mut self, key: u64, waiter: Waiter<T>) {
        self.link(waiter.source, key, End::Back);
        if let Some(item) = self.items.get_mut(&key) {
            item.waiters.push(waiter);
            self.waiting += 1;
        }
    }

    fn insert(&mut self, item: Item<T>, end: End) {
        let lane = lane(item.target);
        if !item.pdu.is_read() {
            self.writes.entry(lane).or_default().insert(item.key);
            let newest = self.newest_write.entry(lane).or_default();
            *newest = item.key.max(*newest);
        }
        for source in item.sources() {
            self.link(source, item.key, end);
        }
        self.next_key = self.next_key.max(item.key + 1);
        self.waiting += item.waiters.len();
        self.items.insert(item.key, item);
    }

    fn link(&mut self, source: Source, key: u64, end: End) {
        let virtual_time = self.virtual_time;
        let address = self.addresses.entry(source.address).or_default();
        if address.connections.values().all(|flow| flow.keys.is_empty()) {
            address.finish = address.finish.max(virtual_time);
        }
        let flow = address.connections.entry(source.connection).or_default();
        if flow.keys.is_empty() {
            flow.finish = flow.finish.max(address.virtual_time);
        }
        match end {
            _ if flow.keys.contains(&key) => {}
            End::Front => flow.keys.push_front(key),
            End::Back => flow.keys.push_back(key),
        }
    }

    fn unlink(&mut self, source: Source, key: u64) {
        let flow = self
            .addresses
            .get_mut(&source.address)
            .and_then(|address| address.connections.get_mut(&source.connection));
        if let Some(flow) = flow {
            flow.keys.retain(|&other| other != key);
        }
    }

    /// The address, then the connection with the earliest start that has something to send.
    fn select(&self, may_send: impl Fn(&Item<T>) -> bool) -> Option<(IpAddr, u64, u64)> {
        let mut best: Option<((u64, u64, u64), IpAddr, u64)> = None;
        for (&ip, address) in &self.addresses {
            for (&connection, flow) in &address.connections {
                let starts = (address.finish, flow.finish);
                if best.as_ref().is_some_and(|((start, inner, _), ..)| (*start, *inner) < starts) {
                    continue;
                }
                let Some(key) = self.first_ready(flow, &may_send) else { continue };
                // Equal starts: the older request.
                let rank = (starts.0, starts.1, key);
                if best.as_ref().is_none_or(|(other, ..)| rank < *other) {
                    best = Some((rank, ip, connection));
                }
            }
        }
        best.map(|((_, _, key), ip, connection)| (ip, connection, key))
    }

    /// Every item that nothing in the queue holds back: one per unit of each connection at most.
    pub fn candidates(&self) -> impl Iterator<Item = &Item<T>> {
        let flows = self.addresses.values().flat_map(|address| address.connections.values());
        flows.flat_map(|flow| self.candidates_of(flow))
    }

    /// The entries of a connection that may go: not behind a write to their unit, nor behind an earlier
    /// request of the same connection to the same unit; a broadcast, which is for every unit, not behind any
    /// earlier write of the connection.
    fn candidates_of(&self, flow: &Flow) -> impl Iterator<Item = &Item<T>> {
        let (mut passed, mut writes) = (Lanes::default(), false);
        flow.keys.iter().filter_map(|key| self.items.get(key)).filter(move |item| {
            let behind_a_write = writes && item.target == Target::Broadcast;
            let first = !behind_a_write && passed.insert(lane(item.target));
            writes |= !item.pdu.is_read();
            first && !self.behind_a_write(item)
        })
    }

    fn first_ready(&self, flow: &Flow, may_send: &impl Fn(&Item<T>) -> bool) -> Option<u64> {
        self.candidates_of(flow).find(|item| may_send(item)).map(|item| item.key)
    }

    fn charge(&mut self, ip: IpAddr, connection: u64, item: &Item<T>) {
        let cost = u64::try_from(item.cost.as_nanos()).unwrap_or(u64::MAX / 2) / weight(item);
        let Some(address) = self.addresses.get_mut(&ip) else { return };
        // What was held back must not save up a burst: a start in the past counts as now.
        let start = address.finish.max(self.virtual_time);
        self.virtual_time = start;
        address.finish = start + cost;
        if let Some(flow) = address.connections.get_mut(&connection) {
            let start = flow.finish.max(address.virtual_time);
            address.virtual_time = start;
            flow.finish = start + cost;
        }
    }

    /// Forgets who has nothing waiting and no advantage to pay back.
    fn prune(&mut self) {
        if self.items.is_empty() {
            self.addresses.clear();
            return;
        }
        let virtual_time = self.virtual_time;
        self.addresses.retain(|_, address| {
            let inner = address.virtual_time;
            address.connections.retain(|_, flow| !flow.keys.is_empty() || flow.finish > inner);
            address.finish > virtual_time || address.connections.values().any(|flow| !flow.keys.is_empty())
        });
    }
}

#[derive(Clone, Copy, Debug)]
enum End {
    Front,
    Back,
}

fn lane(target: Target) -> Lane {
    match target {
        Target::Unit(unit) => unit.get(),
        Target::Broadcast => BROADCAST,
    }
}

/// Weights of the classes: a write counts half of a read of the same length, a reading nobody waits for four
/// times one.
fn weight<T>(item: &Item<T>) -> u64 {
    match (item.pdu.is_read(), item.waiters.is_empty()) {
        (false, _) => 8,
        (true, false) => 4,
        (true, true) => 1,
    }
}

/// The flow of what is read on our own account.
const OWN: Source = Source { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), connection: 0 };

const BROADCAST: Lane = 0;
