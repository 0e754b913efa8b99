//! Everything that waits for the line, and the order in which it is sent.
//!
//! Line time is shared fairly between client addresses, then between the connections of an address. After each attempt
//! a flow is charged with the line time its request really took, divided by the weight of its class (write 8, read 4,
//! background 1), so nothing starves. A read that another one covers joins it. Within one unit, what came after a write
//! is not sent before it. Each operation costs O(log n) in the requests that wait. Scheme: start-time fair queueing
//! (Goyal, Vin, Cheng 1996), two levels of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::endpoint::ClientAddress;
use crate::modbus::pdu::{FunctionCode, ReadRange, RequestPdu};

use super::now::Now;
use super::request::{ListenerId, Source, Target};
use super::settings::UnitId;
use super::tables::Tables;

/// One client that waits for an item's answer.
#[derive(Debug)]
pub(super) struct Waiter<T> {
    /// Where the answer goes.
    pub to: T,
    /// The client.
    pub source: Source,
    /// Its own request, which the item's covers.
    pub pdu: RequestPdu,
    /// When it arrived.
    pub since: Now,
    /// Largest age of data it accepts.
    pub max_age: Duration,
    /// The listener it arrived at.
    pub listener: ListenerId,
    /// It is answered before this instant.
    pub deadline: Instant,
    /// From then on its answer could not arrive before the deadline.
    pub expiry: Instant,
}

/// What an item is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A client's request, or a background reading.
    Request,
    /// A client's request that also probes an off-line unit. Sent unchanged.
    ClientProbe,
    /// A client's read that the unit ignored before, sent once to check whether it still does.
    Trial,
    /// A client's read that the unit never answered, while it ignores many others. Sent once.
    Unproven,
}

/// A client's request that was taken out of the queue unanswered.
#[derive(Debug)]
pub(super) struct Removed<T> {
    /// The unit, or all units.
    pub target: Target,
    /// What was sent or queued.
    pub pdu: RequestPdu,
    /// What it was for.
    pub purpose: Purpose,
    /// How often it was sent.
    pub attempts: u32,
    /// The client.
    pub waiter: Waiter<T>,
}

/// One request for the line, and every client that waits for its answer.
#[derive(Debug)]
pub(super) struct Item<T> {
    /// Ascending by arrival.
    pub key: u64,
    /// The unit, or all units.
    pub target: Target,
    /// The PDU to send.
    pub pdu: RequestPdu,
    /// Its range, if other reads may join it.
    pub range: Option<ReadRange>,
    /// What it is for.
    pub purpose: Purpose,
    /// How often it was sent.
    pub attempts: u32,
    /// Whether it is a background reading, whether or not a client waits.
    pub background: bool,
    /// Every client that waits for it, the one that began it first.
    pub waiters: Vec<Waiter<T>>,
}

impl<T> Item<T> {
    /// The flows it is queued in.
    fn sources(&self) -> impl Iterator<Item = Source> {
        self.waiters
            .iter()
            .map(|waiter| waiter.source.clone())
            .chain(self.background.then_some(BACKGROUND_SOURCE))
    }

    /// Whether it is sent once at most.
    #[must_use]
    pub(super) fn is_sent_once(&self) -> bool {
        !self.pdu.is_read() || self.purpose != Purpose::Request
    }
}

impl<T> Waiter<T> {
    /// Whether it accepts data of a request begun at `begun`.
    #[must_use]
    pub(super) fn accepts_data_of(&self, begun: Now) -> bool {
        self.since.since(begun) <= self.max_age
    }
}

/// The flow an attempt is charged to, and the weight of what was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// The flow.
    pub source: Source,
    weight: u64,
}

/// Everything that waits for the line.
#[derive(Debug)]
pub(super) struct Queue<T> {
    items: BTreeMap<u64, Item<T>>,
    addresses: BTreeMap<ClientAddress, AddressFlows>,
    targets: BTreeMap<TargetKey, TargetQueue>,
    /// When each waiter expires: expiry, item, connection.
    expiries: BTreeSet<(Instant, u64, u64)>,
    /// The clients' probes of off-line units, by item.
    client_probes: BTreeMap<u64, UnitId>,
    virtual_time: u64,
    next_key: u64,
    waiting: usize,
    limit: usize,
    /// Since when the queue has been empty: idle line time pays off debts.
    idle_since: Option<Instant>,
    /// Events until idle flows are pruned again.
    until_prune: usize,
}

/// A target as a key with an order: the unit identifier, 0 for broadcasts.
type TargetKey = u8;

/// What waits for one target.
#[derive(Debug, Default)]
struct TargetQueue {
    /// Pending writes.
    writes: BTreeSet<u64>,
    /// The newest write ever queued: no read joins across it.
    newest_write: Option<u64>,
    /// Number of background readings.
    background: usize,
    /// Reads that others may join.
    ranges: BTreeMap<(FunctionCode, u16, u16), BTreeSet<u64>>,
    /// The first item of each flow to this target: for each address its connections by (finish, item, connection).
    heads: BTreeMap<ClientAddress, BTreeSet<(u64, u64, u64)>>,
    /// The addresses of `heads` by (finish, first item).
    order: BTreeSet<(u64, u64, ClientAddress)>,
}

#[derive(Debug, Default)]
struct AddressFlows {
    finish: u64,
    virtual_time: u64,
    connections: BTreeMap<u64, Flow>,
    waiting: usize,
}

#[derive(Debug, Default)]
struct Flow {
    finish: u64,
    targets: BTreeMap<TargetKey, VecDeque<u64>>,
    writes: BTreeSet<u64>,
    waiting: usize,
}

impl<T> Queue<T> {
    /// A queue for `limit` waiting requests; each connection may have one more.
    #[must_use]
    pub(super) fn new(limit: usize) -> Self {
        Self {
            items: BTreeMap::new(),
            addresses: BTreeMap::new(),
            targets: BTreeMap::new(),
            expiries: BTreeSet::new(),
            client_probes: BTreeMap::new(),
            virtual_time: 0,
            next_key: 0,
            waiting: 0,
            limit,
            idle_since: None,
            until_prune: PRUNE_MIN,
        }
    }

    /// Changes the limit; requests beyond it keep waiting.
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Requests waiting, joined ones included.
    #[must_use]
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether another request of this connection fits in. If not, [`Line`](super::Line) answers 0x06.
    #[must_use]
    pub(super) fn has_room(&self, source: &Source) -> bool {
        self.waiting < self.limit
            || self.flow(&source.address, source.connection).is_none_or(|flow| flow.waiting == 0)
    }

    /// Whether nothing waits.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether a read of `target` may join an item with this `key`: no write came after it.
    #[must_use]
    pub(super) fn may_join(&self, target: Target, key: u64) -> bool {
        let newest =
            |target_key: TargetKey| self.targets.get(&target_key).and_then(|state| state.newest_write);
        [target_key(target), BROADCAST].into_iter().filter_map(newest).all(|write| write < key)
    }

    /// The queued read whose answer would hold every value of `range`, read in one of its `tables`.
    #[must_use]
    pub(super) fn covering(&self, target: Target, range: &ReadRange, tables: Tables) -> Option<u64> {
        let state = self.targets.get(&target_key(target))?;
        let functions = [FunctionCode::READ_HOLDING_REGISTERS, FunctionCode::READ_INPUT_REGISTERS];
        let other = functions.into_iter().filter(|function| {
            *function != range.function
                && tables.in_table_of(range, &ReadRange { function: *function, ..*range }).function
                    == *function
        });
        for function in std::iter::once(range.function).chain(other) {
            let lowest = range.start.saturating_sub(LONGEST_READ);
            let found = state.ranges.range((function, lowest, 0)..=(function, range.start, u16::MAX)).rev();
            for (&(function, start, quantity), keys) in found {
                if tables.part(&ReadRange { function, start, quantity }, range).is_none() {
                    continue;
                }
                // The newest first: an older one may be a retry that waits for its unit.
                if let Some(&key) = keys.last().filter(|key| self.may_join(target, **key)) {
                    return Some(key);
                }
            }
        }
        None
    }

    /// Adds a waiter to a queued item, whose answer it shares.
    pub(super) fn join(&mut self, key: u64, waiter: Waiter<T>) {
        let Some(target) = self.items.get(&key).map(|item| item.target) else { return };
        self.link(&waiter.source, key, target_key(target), QueueEnd::Back);
        self.expiries.insert((waiter.expiry, key, waiter.source.connection));
        if let Some(item) = self.items.get_mut(&key) {
            item.waiters.push(waiter);
            self.waiting += 1;
        }
    }

    /// Queues an item behind earlier requests of its waiters' connections. Assigns its key.
    pub(super) fn push(&mut self, item: Item<T>, now: Instant) {
        self.end_idle(now);
        let key = self.next_key;
        self.insert(Item { key, ..item }, QueueEnd::Back);
    }

    /// Queues a background reading. A queued read of exactly this range becomes one, too: data of a wider read would
    /// not be kept.
    pub(super) fn push_background(&mut self, target: Target, range: ReadRange, now: Instant) {
        self.end_idle(now);
        let place = target_key(target);
        let same = |state: &TargetQueue| {
            state.ranges.get(&(range.function, range.start, range.quantity)).and_then(BTreeSet::last).copied()
        };
        let queued = self.targets.get(&place).and_then(same);
        match queued.and_then(|key| self.items.get_mut(&key)) {
            Some(item) => {
                if item.background {
                    return;
                }
                item.background = true;
                let key = item.key;
                self.targets.entry(place).or_default().background += 1;
                self.link(&BACKGROUND_SOURCE, key, place, QueueEnd::Back);
            }
            None => {
                let (key, pdu, range) = (self.next_key, range.into(), Some(range));
                let purpose = Purpose::Request;
                let item =
                    Item { key, target, pdu, range, purpose, attempts: 0, background: true, waiters: vec![] };
                self.insert(item, QueueEnd::Back);
            }
        }
    }

    /// Whether a write of this connection waits for the target, or for all units.
    #[must_use]
    pub(super) fn has_write(&self, source: &Source, target: Target) -> bool {
        let Some(flow) = self.flow(&source.address, source.connection).filter(|flow| !flow.writes.is_empty())
        else {
            return false;
        };
        [target_key(target), BROADCAST].iter().any(|target_key| {
            flow.targets.get(target_key).is_some_and(|keys| keys.iter().any(|key| flow.writes.contains(key)))
        })
    }

    /// Whether a background reading waits for a target for which `counts` holds.
    #[must_use]
    pub(super) fn has_background(&self, counts: impl Fn(Target) -> bool) -> bool {
        self.targets.iter().any(|(&target_key, state)| state.background > 0 && counts(target_of(target_key)))
    }

    /// Drops background readings for which `gone` holds; clients that joined one keep waiting.
    pub(super) fn drop_background(&mut self, gone: impl Fn(&Item<T>) -> bool) {
        let keys: Vec<u64> =
            self.items.values().filter(|item| item.background && gone(item)).map(|item| item.key).collect();
        for key in keys {
            let Some(place) = self.items.get(&key).map(|item| target_key(item.target)) else { continue };
            if self.items.get(&key).is_some_and(|item| item.waiters.is_empty()) {
                self.remove(key);
                continue;
            }
            self.unlink(&BACKGROUND_SOURCE, key, place);
            if let Some(item) = self.items.get_mut(&key) {
                item.background = false;
            }
            if let Some(state) = self.targets.get_mut(&place) {
                state.background -= 1;
            }
        }
    }

    /// Requeues an item whose attempt failed, ahead of later requests of its connections.
    pub(super) fn requeue(&mut self, item: Item<T>) {
        self.insert(item, QueueEnd::Front);
    }

    /// The next item in the order of fair shares, among those whose target `is_open` and for which `may_send` holds.
    #[must_use]
    pub(super) fn select(
        &self,
        is_open: impl Fn(Target) -> bool,
        may_send: impl Fn(&Item<T>) -> bool,
    ) -> Option<(u64, Turn)> {
        let targets = self.targets.iter().filter(|(target_key, _)| is_open(target_of(**target_key)));
        let best = targets.filter_map(|(_, state)| self.first_of(state, &may_send)).min()?;
        let (_, _, key, address, connection) = best;
        let source = Source { address: address.clone(), connection };
        let weight = self.items.get(&key).map_or(READ_WEIGHT, |item| weight(item, &source));
        Some((key, Turn { source, weight }))
    }

    /// When the first item can be sent, given when a target can be sent anything (`None`: not before something happens)
    /// and when an item can be sent at the earliest (`None`: as soon as its target can).
    #[must_use]
    pub(super) fn next_ready(
        &self,
        target_ready: impl Fn(Target) -> Option<Instant>,
        item_ready: impl Fn(&Item<T>) -> Option<Instant>,
    ) -> Option<Instant> {
        let targets = self.targets.iter().filter(|(_, state)| !state.order.is_empty());
        let ready = targets.filter_map(|(target_key, state)| {
            let target = target_ready(target_of(*target_key))?;
            if self.first_of(state, &|item| item_ready(item).is_none()).is_some() {
                return Some(target);
            }
            let heads = state.heads.values().flatten().filter_map(|(_, key, _)| self.items.get(key));
            heads.filter_map(&item_ready).min().map(|item| item.max(target))
        });
        ready.min()
    }

    /// Whether a request of this flow still waits for this item.
    #[must_use]
    pub(super) fn has_waiter(&self, key: u64, source: &Source) -> bool {
        self.items.get(&key).is_some_and(|item| item.sources().any(|other| other == *source))
    }

    /// The target of a queued item.
    #[must_use]
    pub(super) fn target_of(&self, key: u64) -> Option<Target> {
        self.items.get(&key).map(|item| item.target)
    }

    /// The units for which a client's probe waits.
    pub(super) fn client_probes(&self) -> impl Iterator<Item = UnitId> {
        self.client_probes.values().copied()
    }

    /// The queued item.
    #[must_use]
    pub(super) fn get(&self, key: u64) -> Option<&Item<T>> {
        self.items.get(&key)
    }

    /// Removes an item by its key.
    pub(super) fn remove(&mut self, key: u64) -> Option<Item<T>> {
        let item = self.items.remove(&key)?;
        self.client_probes.remove(&key);
        let place = target_key(item.target);
        for source in item.sources() {
            self.unlink(&source, key, place);
        }
        if let Some(state) = self.targets.get_mut(&place) {
            state.writes.remove(&key);
            state.background -= usize::from(item.background);
            forget_range(state, &item);
        }
        for waiter in &item.waiters {
            self.expiries.remove(&(waiter.expiry, key, waiter.source.connection));
        }
        self.waiting -= item.waiters.len();
        Some(item)
    }

    /// Removes an item to send it for `turn`: the flow's later requests now come after it.
    pub(super) fn dequeue(&mut self, key: u64, turn: &Turn) -> Option<Item<T>> {
        let Source { address, connection } = &turn.source;
        if let Some(entry) = self.addresses.get_mut(address) {
            // A flow that was held back must not save up a burst: a start in the past counts as now.
            self.virtual_time = self.virtual_time.max(entry.finish);
            if let Some(flow) = entry.connections.get(connection) {
                entry.virtual_time = entry.virtual_time.max(flow.finish);
            }
        }
        self.remove(key)
    }

    /// Charges a flow with the line time of its attempt; the debt stays while the flow is empty.
    pub(super) fn charge(&mut self, turn: &Turn, took: Duration) {
        let cost = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX / 2) / turn.weight;
        let (ip, connection) = (&turn.source.address, turn.source.connection);
        let virtual_time = self.virtual_time;
        let address = Self::address(&mut self.addresses, ip, virtual_time);
        let before = address.finish;
        address.finish = before.max(virtual_time) + cost;
        let after = address.finish;
        let inner = address.virtual_time;
        let flow = address.connections.entry(connection).or_default();
        let (flow_before, flow_after) = (flow.finish, flow.finish.max(inner) + cost);
        flow.finish = flow_after;
        let heads: Vec<(TargetKey, u64)> = flow
            .targets
            .iter()
            .filter_map(|(target_key, keys)| Some((*target_key, *keys.front()?)))
            .collect();
        for (target_key, key) in heads {
            if let Some(state) = self.targets.get_mut(&target_key) {
                state.remove_head(ip, before, (flow_before, key, connection));
                state.insert_head(ip, before, (flow_after, key, connection));
            }
        }
        for state in self.targets.values_mut() {
            state.retag(ip, before, after);
        }
    }

    /// Since when a client other than this flow's has been waiting for the target.
    #[must_use]
    pub(super) fn others_wait_since(&self, target: Target, turn: &Turn) -> Option<Instant> {
        let state = self.targets.get(&target_key(target))?;
        let heads = state.heads.iter().flat_map(|(ip, heads)| {
            heads.iter().map(move |(_, key, connection)| {
                (Source { address: ip.clone(), connection: *connection }, *key)
            })
        });
        let others = heads.filter(|(source, _)| *source != turn.source).filter_map(|(source, key)| {
            let waiters = &self.items.get(&key)?.waiters;
            waiters.iter().filter(|waiter| waiter.source == source).map(|waiter| waiter.since.instant).min()
        });
        others.min()
    }

    /// When the first waiter expires.
    #[must_use]
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.expiries.first().map(|(expiry, ..)| *expiry)
    }

    /// Removes the waiters that have expired.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Removed<T>> {
        let mut expired = Vec::new();
        while let Some(&first) = self.expiries.first().filter(|(expiry, ..)| *expiry <= now) {
            self.expiries.remove(&first);
            expired.extend(self.remove_from(first.1, |waiter| waiter.expiry <= now));
        }
        expired
    }

    /// Removes the waiters for which `gone` holds and drops items without waiters. Visits every request, so only for
    /// rare events.
    pub(super) fn remove_waiters(&mut self, gone: impl Fn(&Item<T>, &Waiter<T>) -> bool) -> Vec<Removed<T>> {
        let found = |item: &&Item<T>| item.waiters.iter().any(|waiter| gone(item, waiter));
        let keys: Vec<u64> = self.items.values().filter(found).map(|item| item.key).collect();
        let mut removed = Vec::new();
        for key in keys {
            let Some(item) = self.items.get(&key) else { continue };
            let flags: Vec<bool> = item.waiters.iter().map(|waiter| gone(item, waiter)).collect();
            let mut flags = flags.into_iter();
            removed.extend(self.remove_from(key, |_| flags.next().unwrap_or_default()));
        }
        removed
    }

    /// Moves the reads of clients for which `half_closed` holds to one flow that all of them share, with the weight
    /// of background reading. Writes keep their place, so that no later write overtakes them.
    pub(super) fn demote(&mut self, half_closed: impl Fn(&T) -> bool) {
        let found = |item: &&Item<T>| {
            let demoted = |waiter: &Waiter<T>| waiter.source != HALF_CLOSED_SOURCE && half_closed(&waiter.to);
            item.pdu.is_read() && item.waiters.iter().any(demoted)
        };
        let keys: Vec<u64> = self.items.values().filter(found).map(|item| item.key).collect();
        for key in keys {
            let Some(mut item) = self.remove(key) else { continue };
            for waiter in item.waiters.iter_mut().filter(|waiter| half_closed(&waiter.to)) {
                waiter.source = HALF_CLOSED_SOURCE;
            }
            self.insert(item, QueueEnd::Back);
        }
    }

    /// Records whether anything waits, and from time to time removes flows with nothing waiting and no debt: rarely
    /// enough that the cost per event is constant.
    pub(super) fn prune(&mut self, now: Instant) {
        if self.items.is_empty() {
            self.idle_since.get_or_insert(now);
        }
        self.until_prune = self.until_prune.saturating_sub(1);
        if self.until_prune > 0 {
            return;
        }
        let virtual_time = self.virtual_time;
        self.addresses.retain(|_, address| {
            let inner = address.virtual_time;
            address.connections.retain(|_, flow| flow.waiting > 0 || flow.finish > inner);
            !address.is_forgettable(virtual_time)
        });
        self.targets.retain(|_, state| !state.is_forgettable());
        let flows: usize = self.addresses.values().map(|address| address.connections.len()).sum();
        self.until_prune = flows + self.addresses.len() + self.targets.len() + PRUNE_MIN;
    }

    /// The flows of an address, reset if they only await pruning.
    fn address<'a>(
        addresses: &'a mut BTreeMap<ClientAddress, AddressFlows>,
        ip: &ClientAddress,
        virtual_time: u64,
    ) -> &'a mut AddressFlows {
        let address = addresses.entry(ip.clone()).or_default();
        if address.is_forgettable(virtual_time) {
            *address = AddressFlows::default();
        }
        address
    }

    fn remove_from(&mut self, key: u64, mut gone: impl FnMut(&Waiter<T>) -> bool) -> Vec<Removed<T>> {
        let Some(mut item) = self.items.remove(&key) else { return Vec::new() };
        let place = target_key(item.target);
        let (out, stay): (Vec<_>, Vec<_>) =
            std::mem::take(&mut item.waiters).into_iter().partition(|waiter| gone(waiter));
        let mut removed = Vec::new();
        self.waiting -= out.len();
        for waiter in out {
            self.expiries.remove(&(waiter.expiry, key, waiter.source.connection));
            if !stay.iter().any(|other| other.source == waiter.source) {
                self.unlink(&waiter.source, key, place);
            }
            let Item { target, purpose, attempts, .. } = item;
            removed.push(Removed { target, pdu: item.pdu.clone(), purpose, attempts, waiter });
        }
        // Two requests of one connection that joined one item share an entry.
        for waiter in &stay {
            self.expiries.insert((waiter.expiry, key, waiter.source.connection));
        }
        item.waiters = stay;
        if item.waiters.is_empty() && !item.background {
            if let Some(state) = self.targets.get_mut(&place) {
                state.writes.remove(&key);
                forget_range(state, &item);
            }
            self.client_probes.remove(&key);
        } else {
            self.items.insert(key, item);
        }
        removed
    }

    /// The first item of a target that may be sent and that no write holds back, with its rank.
    fn first_of<'a>(
        &self,
        state: &'a TargetQueue,
        may_send: &impl Fn(&Item<T>) -> bool,
    ) -> Option<(u64, u64, u64, &'a ClientAddress, u64)> {
        state.order.iter().find_map(|(address_finish, _, ip)| {
            let heads = state.heads.get(ip)?;
            let allowed = heads.iter().find(|(_, key, connection)| {
                self.items
                    .get(key)
                    .is_some_and(|item| may_send(item) && !self.is_held_back(item, ip, *connection))
            });
            allowed.map(|&(flow_finish, key, connection)| (*address_finish, flow_finish, key, ip, connection))
        })
    }

    /// Whether an unsent write to the same unit, or to all units, came before `item`; for a broadcast, which is for
    /// every unit, also an earlier write of the connection.
    fn is_held_back(&self, item: &Item<T>, address: &ClientAddress, connection: u64) -> bool {
        let first =
            |target_key: TargetKey| self.targets.get(&target_key).and_then(|state| state.writes.first());
        let behind =
            [target_key(item.target), BROADCAST].into_iter().filter_map(first).any(|write| *write < item.key);
        let own = || self.flow(address, connection).and_then(|flow| flow.writes.first());
        behind || item.target == Target::Broadcast && own().is_some_and(|write| *write < item.key)
    }

    fn flow(&self, address: &ClientAddress, connection: u64) -> Option<&Flow> {
        self.addresses.get(address)?.connections.get(&connection)
    }

    fn insert(&mut self, item: Item<T>, end: QueueEnd) {
        let (key, place, is_write) = (item.key, target_key(item.target), !item.pdu.is_read());
        let state = self.targets.entry(place).or_default();
        if is_write {
            state.writes.insert(key);
            state.newest_write = state.newest_write.max(Some(key));
        }
        state.background += usize::from(item.background);
        if let Some(ReadRange { function, start, quantity }) = item.range {
            state.ranges.entry((function, start, quantity)).or_default().insert(key);
        }
        for source in item.sources() {
            self.link(&source, key, place, end);
            if is_write {
                self.link_write(&source, key);
            }
        }
        for waiter in &item.waiters {
            self.expiries.insert((waiter.expiry, key, waiter.source.connection));
        }
        if item.purpose == Purpose::ClientProbe
            && let Target::Unit(unit) = item.target
        {
            self.client_probes.insert(key, unit);
        }
        self.next_key = self.next_key.max(key + 1);
        self.waiting += item.waiters.len();
        self.items.insert(key, item);
    }

    fn link(&mut self, source: &Source, key: u64, target_key: TargetKey, end: QueueEnd) {
        let (ip, connection) = (&source.address, source.connection);
        let virtual_time = self.virtual_time;
        let address = Self::address(&mut self.addresses, ip, virtual_time);
        if address.waiting == 0 {
            address.finish = address.finish.max(virtual_time);
        }
        let inner = address.virtual_time;
        let address_finish = address.finish;
        let flow = address.connections.entry(connection).or_default();
        if flow.waiting == 0 {
            flow.finish = flow.finish.max(inner);
        }
        let keys = flow.targets.entry(target_key).or_default();
        if keys.contains(&key) {
            return;
        }
        let before = keys.front().copied();
        match end {
            QueueEnd::Front => keys.push_front(key),
            QueueEnd::Back => keys.push_back(key),
        }
        let after = keys.front().copied();
        flow.waiting += 1;
        let finish = flow.finish;
        address.waiting += 1;
        self.move_head(target_key, ip, address_finish, connection, finish, before, after);
    }

    fn link_write(&mut self, source: &Source, key: u64) {
        let address = self.addresses.get_mut(&source.address);
        if let Some(flow) = address.and_then(|address| address.connections.get_mut(&source.connection)) {
            flow.writes.insert(key);
        }
    }

    fn unlink(&mut self, source: &Source, key: u64, target_key: TargetKey) {
        let (ip, connection) = (&source.address, source.connection);
        let Some(address) = self.addresses.get_mut(ip) else { return };
        let address_finish = address.finish;
        let Some(flow) = address.connections.get_mut(&connection) else { return };
        let Some(keys) = flow.targets.get_mut(&target_key) else { return };
        let before = keys.front().copied();
        let count = keys.len();
        keys.retain(|other| *other != key);
        let removed = count - keys.len();
        let after = keys.front().copied();
        if keys.is_empty() {
            flow.targets.remove(&target_key);
        }
        flow.writes.remove(&key);
        flow.waiting -= removed;
        let finish = flow.finish;
        address.waiting -= removed;
        self.move_head(target_key, ip, address_finish, connection, finish, before, after);
    }

    #[expect(clippy::too_many_arguments, reason = "the place of one head, before and after")]
    fn move_head(
        &mut self,
        target_key: TargetKey,
        ip: &ClientAddress,
        address_finish: u64,
        connection: u64,
        finish: u64,
        before: Option<u64>,
        after: Option<u64>,
    ) {
        if before == after {
            return;
        }
        let state = self.targets.entry(target_key).or_default();
        if let Some(key) = before {
            state.remove_head(ip, address_finish, (finish, key, connection));
        }
        if let Some(key) = after {
            state.insert_head(ip, address_finish, (finish, key, connection));
        }
    }

    /// Pays debts off with idle line time.
    fn end_idle(&mut self, now: Instant) {
        let Some(since) = self.idle_since.take() else { return };
        let idle = now.saturating_duration_since(since).as_nanos() / u128::from(READ_WEIGHT);
        self.virtual_time = self.virtual_time.saturating_add(u64::try_from(idle).unwrap_or(u64::MAX / 4));
    }
}

impl AddressFlows {
    /// Whether nothing waits and all line time is paid off.
    fn is_forgettable(&self, virtual_time: u64) -> bool {
        self.waiting == 0 && self.finish <= virtual_time
    }
}

impl TargetQueue {
    fn insert_head(&mut self, ip: &ClientAddress, address_finish: u64, head: (u64, u64, u64)) {
        let heads = self.heads.entry(ip.clone()).or_default();
        let before = heads.first().map(|(_, key, _)| *key);
        heads.insert(head);
        self.reorder(ip, address_finish, before);
    }

    fn remove_head(&mut self, ip: &ClientAddress, address_finish: u64, head: (u64, u64, u64)) {
        let Some(heads) = self.heads.get_mut(ip) else { return };
        let before = heads.first().map(|(_, key, _)| *key);
        heads.remove(&head);
        self.reorder(ip, address_finish, before);
        if self.heads.get(ip).is_some_and(BTreeSet::is_empty) {
            self.heads.remove(ip);
        }
    }

    fn reorder(&mut self, ip: &ClientAddress, address_finish: u64, before: Option<u64>) {
        let after = self.heads.get(ip).and_then(BTreeSet::first).map(|(_, key, _)| *key);
        if before == after {
            return;
        }
        if let Some(key) = before {
            self.order.remove(&(address_finish, key, ip.clone()));
        }
        if let Some(key) = after {
            self.order.insert((address_finish, key, ip.clone()));
        }
    }

    fn retag(&mut self, ip: &ClientAddress, before: u64, after: u64) {
        let Some((_, key, _)) = self.heads.get(ip).and_then(BTreeSet::first).copied() else { return };
        self.order.remove(&(before, key, ip.clone()));
        self.order.insert((after, key, ip.clone()));
    }

    /// Whether nothing waits here and no request in flight could be joined across a write.
    fn is_forgettable(&self) -> bool {
        self.heads.is_empty() && self.newest_write.is_none()
    }
}

fn forget_range<T>(state: &mut TargetQueue, item: &Item<T>) {
    let Some(ReadRange { function, start, quantity }) = item.range else { return };
    let place = (function, start, quantity);
    if let Some(keys) = state.ranges.get_mut(&place) {
        keys.remove(&item.key);
        if keys.is_empty() {
            state.ranges.remove(&place);
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum QueueEnd {
    Front,
    Back,
}

fn target_key(target: Target) -> TargetKey {
    match target {
        Target::Unit(unit) => unit.get(),
        Target::Broadcast => BROADCAST,
    }
}

fn target_of(target_key: TargetKey) -> Target {
    UnitId::new(target_key).map_or(Target::Broadcast, Target::Unit)
}

/// Weights of the classes: a write costs half as much as a read of the same length; a read that no client waits for, or
/// only clients that may have left, four times as much.
fn weight<T>(item: &Item<T>, source: &Source) -> u64 {
    match (item.pdu.is_read(), *source == BACKGROUND_SOURCE || *source == HALF_CLOSED_SOURCE) {
        (false, _) => WRITE_WEIGHT,
        (true, false) => READ_WEIGHT,
        (true, true) => BACKGROUND_WEIGHT,
    }
}

/// The flow of background readings.
pub(super) const BACKGROUND_SOURCE: Source =
    Source { address: ClientAddress::Ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), connection: 0 };

/// The flow of reads whose clients have closed their sending side.
const HALF_CLOSED_SOURCE: Source =
    Source { address: ClientAddress::Ip(IpAddr::V6(Ipv6Addr::UNSPECIFIED)), connection: 0 };

/// The turn of a probe or a confirmation, which are requests of the gateway itself.
pub(super) const OWN_TURN: Turn = Turn { source: BACKGROUND_SOURCE, weight: BACKGROUND_WEIGHT };

const WRITE_WEIGHT: u64 = 8;
const READ_WEIGHT: u64 = 4;
const BACKGROUND_WEIGHT: u64 = 1;

const BROADCAST: TargetKey = 0;

/// Events between two prunings, at least.
const PRUNE_MIN: usize = 64;

/// The most values of one read: coils (MODBUS Application Protocol V1.1b3, chapter 6.1).
const LONGEST_READ: u16 = 2000;
