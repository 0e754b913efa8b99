//! The edge node: its session, and what is sent next.
//!
//! Births come first, NBIRTH then every DBIRTH, then deaths and births as meters are lost and found, then data. Data
//! that is older than what a host has been sent is marked historical.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;

use super::device::{Birth, Device, DeviceDefinition};
use super::metric::{DataType, Quality, Taken};
use super::payload::{Metric, MetricValue, Payload};
use super::primary_host::{Change, PrimaryHost};

/// What the node is called, and whom it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    /// The group.
    pub group: String,
    /// The node, unique within the group.
    pub node: String,
    /// The host without which nothing is sent; `None`: there is none.
    pub primary_host: Option<String>,
}

impl Ids {
    /// Whether both are of one node, also with another primary host.
    #[must_use]
    pub fn is_same_node(&self, other: &Self) -> bool {
        (&self.group, &self.node) == (&other.group, &other.node)
    }

    /// Where the commands for the node are.
    #[must_use]
    pub fn command_topic(&self) -> String {
        self.topic("NCMD")
    }

    /// Where the death of the node is.
    #[must_use]
    pub fn death_topic(&self) -> String {
        self.topic("NDEATH")
    }

    /// Where the data of a device is.
    #[must_use]
    pub fn data_topic(&self, device: &str) -> String {
        self.device_topic("DDATA", device)
    }

    fn topic(&self, kind: &str) -> String {
        format!("spBv1.0/{}/{kind}/{}", self.group, self.node)
    }

    fn device_topic(&self, kind: &str, device: &str) -> String {
        format!("{}/{device}", self.topic(kind))
    }
}

/// A message to be sent, with QoS 0 and not retained; an NDEATH with QoS 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its payload.
    pub payload: Bytes,
}

/// What a message of the broker meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Births are sent anew, at once or when the pause after the last is over, and no data before.
    Rebirth,
    /// The primary host is there: births are sent.
    HostOnline,
    /// The primary host is gone: the session is to be ended.
    HostOffline,
    /// Nothing changes.
    Ignored,
}

/// How much waits, and what became of the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Changes that wait.
    pub queued: usize,
    /// The memory they take.
    pub bytes: usize,
    /// Changes that made room for newer ones, or whose device or metrics a reload took away.
    pub dropped: u64,
    /// When the last one made room.
    pub last_dropped: Option<Instant>,
}

/// The state of one edge node.
#[derive(Debug)]
pub struct EdgeNode {
    ids: Ids,
    host: Option<PrimaryHost>,
    began: Taken,
    devices: Vec<Device>,
    places: BTreeMap<Arc<str>, usize>,
    /// Devices of an earlier configuration whose death has not been sent.
    departed: VecDeque<Arc<str>>,
    session: Session,
    /// A host has requested births, or the clock was set, and they have not begun.
    is_rebirth_requested: bool,
    /// Of the last CONNECT; `None`: there was none.
    bd_seq: Option<u8>,
    /// Of the last message.
    seq: u8,
    /// Of the next record.
    number: u64,
    bytes: usize,
    limit: usize,
    dropped: u64,
    last_dropped: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    /// There is no connection, or the primary host is not there.
    Closed,
    /// The NBIRTH is to be sent.
    Due,
    /// The NBIRTH was sent, and not every DBIRTH.
    Births,
    /// Every birth was sent.
    Complete {
        /// When they may be sent anew for a host.
        rebirth_from: Instant,
    },
}

impl EdgeNode {
    /// A node without devices that keeps changes of so many bytes.
    #[must_use]
    pub fn new(ids: Ids, limit: usize, began: Taken) -> Self {
        Self {
            host: ids.primary_host.clone().map(PrimaryHost::new),
            ids,
            began,
            devices: Vec::new(),
            places: BTreeMap::new(),
            departed: VecDeque::new(),
            session: Session::Closed,
            is_rebirth_requested: false,
            bd_seq: None,
            seq: 0,
            number: 0,
            bytes: 0,
            limit,
            dropped: 0,
            last_dropped: None,
        }
    }

    /// What the node is called.
    #[must_use]
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Sets how many bytes of changes are kept.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.trim();
    }

    /// Sets the host that births wait for, from the next connection on.
    pub fn set_primary_host(&mut self, host: Option<String>) {
        self.host = host.clone().map(PrimaryHost::new);
        self.ids.primary_host = host;
    }

    /// The clock on the wall was set: it is ahead by so many milliseconds of what it was. What waits has its time by the new
    /// one, and what the hosts hold gets it with births.
    pub fn shift_times(&mut self, millis: i64) {
        self.began.shift(millis);
        self.devices.iter_mut().for_each(|device| device.shift_times(millis));
        self.is_rebirth_requested |= self.session != Session::Closed;
    }

    /// Replaces the devices. Births are sent anew if a definition changes; of what goes, the deaths are sent before, and what
    /// waits is dropped.
    pub fn define(&mut self, definitions: Vec<DeviceDefinition>) {
        let is_same = self.devices.len() == definitions.len()
            && self.devices.iter().zip(&definitions).all(|(device, one)| device.is_defined_as(one));
        if is_same {
            return;
        }
        let before = std::mem::take(&mut self.devices);
        let mut before: BTreeMap<Arc<str>, Device> =
            before.into_iter().map(|device| (Arc::clone(device.name()), device)).collect();
        let (mut alias, mut dropped) = (FIRST_ALIAS, 0);
        for definition in definitions {
            let mut device = Device::new(definition, alias);
            alias += device.metrics() as u64;
            let name = Arc::clone(device.name());
            if before.get(&name).is_some_and(|earlier| earlier.is_same_as(&device))
                && let Some(earlier) = before.remove(&name)
            {
                dropped += device.continue_from(earlier);
            }
            self.devices.push(device);
        }
        let places = self.devices.iter().enumerate();
        self.places = places.map(|(place, device)| (Arc::clone(device.name()), place)).collect();
        if self.session != Session::Closed {
            let is_known = |device: &&Device| device.birth() != Birth::NotBorn;
            self.departed.extend(before.values().filter(is_known).map(|device| Arc::clone(device.name())));
            self.session = Session::Due;
        }
        dropped += before.values().map(Device::kept).sum::<usize>();
        self.dropped += dropped as u64;
        self.bytes = self.devices.iter().map(Device::cost).sum();
    }

    /// Whether a meter answers. Returns whether something is to be sent for it.
    pub fn set_alive(&mut self, device: &str, is_alive: bool, now: Taken) -> bool {
        self.device(device).is_some_and(|device| device.set_alive(is_alive, now))
    }

    /// Notes the values of one reading; what has changed is kept until it is sent. `None` for a value: the meter has none.
    /// Returns whether something is to be sent.
    pub fn record(
        &mut self,
        device: &str,
        taken: Taken,
        quality: Quality,
        values: Vec<(&str, Option<MetricValue>)>,
        now: Instant,
    ) -> bool {
        let number = self.number;
        let cost = self
            .device(device)
            .and_then(|device| device.record(number, taken, quality, values))
            .map(super::device::Record::cost);
        let Some(cost) = cost else { return false };
        self.number += 1;
        self.bytes += cost;
        if self.trim() {
            self.last_dropped = Some(now);
        }
        true
    }

    /// A CONNECT is about to be sent: its will.
    pub fn connect(&mut self, time: u64) -> Outgoing {
        self.disconnect();
        self.bd_seq = Some(self.bd_seq.map_or(0, |last| last.wrapping_add(1)));
        self.death(time)
    }

    /// The filters to subscribe to, with QoS 1, before anything is sent.
    #[must_use]
    pub fn filters(&self) -> Vec<String> {
        std::iter::once(self.ids.command_topic()).chain(self.host.as_ref().map(PrimaryHost::topic)).collect()
    }

    /// The broker has accepted the connection. Births are sent now, or when the primary host is there.
    pub fn begin(&mut self) {
        match &mut self.host {
            Some(host) => host.begin(),
            None => self.session = Session::Due,
        }
    }

    /// The primary host that births wait for.
    #[must_use]
    pub fn awaited_host(&self) -> Option<&str> {
        self.host.as_ref().filter(|host| !host.is_online()).map(PrimaryHost::id)
    }

    /// The connection is gone.
    pub fn disconnect(&mut self) {
        self.session = Session::Closed;
        self.is_rebirth_requested = false;
        self.departed.clear();
        self.devices.iter_mut().for_each(Device::begin);
    }

    /// The message that ends the session; nothing follows it.
    pub fn end(&mut self, time: u64) -> Outgoing {
        self.disconnect();
        self.death(time)
    }

    /// A message of the broker.
    pub fn handle_message(&mut self, topic: &str, payload: &[u8]) -> Received {
        if topic == self.ids.command_topic() {
            return self.handle_command(payload);
        }
        let change = match &mut self.host {
            Some(host) if topic == host.topic() => host.handle_state(payload),
            Some(_) | None => Change::Nothing,
        };
        match change {
            Change::CameOnline => {
                self.session = Session::Due;
                Received::HostOnline
            }
            Change::WentOffline => Received::HostOffline,
            Change::Nothing => Received::Ignored,
        }
    }

    /// When births that a host has requested are sent although nothing happens; `None`: there is no such request.
    #[must_use]
    pub fn rebirth_due(&self) -> Option<Instant> {
        match self.session {
            Session::Complete { rebirth_from } => self.is_rebirth_requested.then_some(rebirth_from),
            Session::Closed | Session::Due | Session::Births => None,
        }
    }

    /// The next message; `None`: nothing is to be sent now.
    pub fn next(&mut self, now: Taken) -> Option<Outgoing> {
        let Taken { at, time } = now;
        if self.session == Session::Closed {
            return None;
        }
        if let Some(name) = self.departed.pop_front() {
            return Some(self.send(&self.ids.device_topic("DDEATH", &name), Vec::new(), time));
        }
        if let Some(place) = self.devices.iter().position(|device| device.birth() == Birth::OwesDeath) {
            self.devices[place].begin();
            let topic = self.ids.device_topic("DDEATH", self.devices[place].name());
            return Some(self.send(&topic, Vec::new(), time));
        }
        if self.session == Session::Due || self.rebirth_due().is_some_and(|due| due <= at) {
            return Some(self.node_birth(time));
        }
        if let Some(place) = self.devices.iter().position(Device::is_due) {
            let metrics = self.devices[place].bear(self.began);
            let topic = self.ids.device_topic("DBIRTH", self.devices[place].name());
            return Some(self.send(&topic, metrics, time));
        }
        if self.session == Session::Births {
            self.session = Session::Complete { rebirth_from: at + REBIRTH_PAUSE };
        }
        // Data stops with the request, not with the births that answer it.
        if self.is_rebirth_requested { None } else { self.next_data(time) }
    }

    /// How much waits, and what became of the rest.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            queued: self.devices.iter().map(Device::kept).sum(),
            bytes: self.bytes,
            dropped: self.dropped,
            last_dropped: self.last_dropped,
        }
    }

    fn device(&mut self, name: &str) -> Option<&mut Device> {
        self.devices.get_mut(*self.places.get(name)?)
    }

    fn handle_command(&mut self, payload: &[u8]) -> Received {
        let Ok(Payload { metrics, .. }) = Payload::decode(payload) else { return Received::Ignored };
        let is_rebirth = |metric: &Metric| {
            metric.name.as_deref() == Some(REBIRTH) && metric.value == Some(MetricValue::Boolean(true))
        };
        if self.session == Session::Closed || !metrics.iter().any(is_rebirth) {
            return Received::Ignored;
        }
        self.is_rebirth_requested = true;
        Received::Rebirth
    }

    fn node_birth(&mut self, time: u64) -> Outgoing {
        self.session = Session::Births;
        self.is_rebirth_requested = false;
        self.devices.iter_mut().for_each(Device::begin);
        let rebirth = Metric {
            name: Some(REBIRTH.to_owned()),
            timestamp: Some(time),
            datatype: Some(DataType::Boolean.number()),
            value: Some(MetricValue::Boolean(false)),
            ..Metric::default()
        };
        self.seq = u8::MAX;
        self.send(&self.ids.topic("NBIRTH"), vec![self.bd_seq(time), rebirth], time)
    }

    /// The changes of the oldest reading of a device that was born.
    fn next_data(&mut self, time: u64) -> Option<Outgoing> {
        loop {
            let place = self.oldest(|device| device.birth() == Birth::Born)?;
            let record = self.devices[place].take_oldest()?;
            self.bytes -= record.cost();
            let metrics = self.devices[place].data(record);
            if !metrics.is_empty() {
                let topic = self.ids.data_topic(self.devices[place].name());
                return Some(self.send(&topic, metrics, time));
            }
        }
    }

    /// The place of the device with the oldest record.
    fn oldest(&self, of: impl Fn(&Device) -> bool) -> Option<usize> {
        let devices = self.devices.iter().enumerate().filter(|(_, device)| of(device));
        let oldest = devices.filter_map(|(place, device)| Some((device.oldest()?, place))).min();
        oldest.map(|(_, place)| place)
    }

    /// Drops the oldest changes until the others fit; returns whether there were any.
    fn trim(&mut self) -> bool {
        let before = self.dropped;
        while self.bytes > self.limit {
            let Some(place) = self.oldest(|_| true) else { break };
            let Some(record) = self.devices[place].take_oldest() else { break };
            self.bytes -= record.cost();
            self.devices[place].owe(&record);
            self.dropped += 1;
        }
        self.dropped > before
    }

    fn death(&self, time: u64) -> Outgoing {
        let payload = Payload { timestamp: Some(time), metrics: vec![self.bd_seq(time)], seq: None };
        Outgoing { topic: self.ids.death_topic().into(), payload: payload.encode_to_vec().into() }
    }

    fn bd_seq(&self, time: u64) -> Metric {
        Metric {
            name: Some(BD_SEQ.to_owned()),
            timestamp: Some(time),
            datatype: Some(DataType::Int64.number()),
            value: Some(MetricValue::Long(self.bd_seq.unwrap_or_default().into())),
            ..Metric::default()
        }
    }

    fn send(&mut self, topic: &str, metrics: Vec<Metric>, time: u64) -> Outgoing {
        self.seq = self.seq.wrapping_add(1);
        let payload = Payload { timestamp: Some(time), metrics, seq: Some(self.seq.into()) };
        Outgoing { topic: topic.into(), payload: payload.encode_to_vec().into() }
    }
}

/// Shortest time between births and the next that hosts request: requests within it are answered together. It begins once
/// the births are complete, which takes longer than this on a slow uplink.
const REBIRTH_PAUSE: Duration = Duration::from_secs(1);

/// The command to send births anew.
const REBIRTH: &str = "Node Control/Rebirth";

/// The metric that relates an NDEATH to its NBIRTH.
const BD_SEQ: &str = "bdSeq";

/// The lowest alias: some hosts take 0 for none.
const FIRST_ALIAS: u64 = 1;
