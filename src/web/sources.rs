//! The sources of the status address: the cells into which buses and listeners publish, and the history.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;

use crate::audit::AuditState;
use crate::config::Bus;
use crate::endpoint::Endpoint;
use crate::events::EventList;
use crate::line::{BusId, View};
use crate::mqtt::{BrokerMetrics, BrokerSettings, Delivery};
use crate::runtime::host_name;
use crate::runtime::timestamp::local_with_zone;
use crate::serial::PortView;
use crate::server::{ListenerMetrics, ListenerSettings};
use crate::status::{History, Published, PublishedBroker, PublishedBus, PublishedListener};
use crate::traffic::{Traffic, UnitDirectory};

/// The sources as they are now; a reload replaces them as a whole.
pub type SharedSources = Arc<ArcSwap<Sources>>;

/// All buses and listeners of the gateway.
#[derive(Debug)]
pub struct Sources {
    /// Rises with each reload.
    pub generation: u64,
    /// Since when the gateway has been running.
    pub started: Instant,
    /// The buses, in the order of the configuration.
    pub buses: Vec<BusSource>,
    /// The listeners, in the order of the configuration.
    pub listeners: Vec<ListenerSource>,
    /// Until when the certificate of the status page is valid; `None`: it has none.
    pub page_expires: Option<SystemTime>,
    /// The audit file; `None`: there is none.
    pub audit: Option<Arc<AuditState>>,
    /// The brokers, in the order of the configuration.
    pub brokers: Vec<BrokerSource>,
    /// The last traffic of both sides.
    pub traffic: Arc<Traffic>,
    /// The names of buses and units.
    pub names: Arc<UnitDirectory>,
    /// Title of the pages; `None`: the host's name.
    pub site: Option<String>,
    /// The configuration in force, every default written out.
    pub configuration: String,
}

/// One bus.
#[derive(Debug)]
pub struct BusSource {
    /// Which bus.
    pub id: BusId,
    /// Its settings.
    pub settings: Arc<Bus>,
    /// The view of its line.
    pub view: Arc<ArcSwap<View>>,
    /// The state of its port.
    pub port: Arc<ArcSwap<PortView>>,
    /// How often its task was started after it had panicked.
    pub restarts: Arc<AtomicU64>,
}

/// One listener.
#[derive(Debug)]
pub struct ListenerSource {
    /// Where it listens, with the port the system chose for port 0.
    pub address: Endpoint,
    /// What became of its port; `None`: it listens at a TCP address.
    pub port: Option<Arc<ArcSwap<PortView>>>,
    /// Its settings.
    pub settings: ListenerSettings,
    /// The buses it leads to.
    pub buses: Vec<BusId>,
    /// Its counters.
    pub metrics: Arc<ListenerMetrics>,
}

/// One broker.
#[derive(Debug)]
pub struct BrokerSource {
    /// The settings of its connection.
    pub settings: BrokerSettings,
    /// What waits for it.
    pub delivery: Delivery,
    /// What its client counts.
    pub metrics: Arc<BrokerMetrics>,
}

impl Sources {
    /// Without buses and listeners, for a gateway that starts.
    #[must_use]
    pub fn empty(started: Instant) -> Self {
        Self {
            generation: 0,
            started,
            buses: Vec::new(),
            listeners: Vec::new(),
            page_expires: None,
            audit: None,
            brokers: Vec::new(),
            traffic: Arc::default(),
            names: Arc::default(),
            site: None,
            configuration: String::new(),
        }
    }

    /// Their present state.
    #[must_use]
    pub fn published(&self) -> Published {
        let bus = |bus: &BusSource| PublishedBus {
            id: bus.id,
            settings: Arc::clone(&bus.settings),
            view: bus.view.load_full(),
            port: bus.port.load_full(),
            restarts: bus.restarts.load(Ordering::Relaxed),
        };
        let listener = |listener: &ListenerSource| PublishedListener {
            address: listener.address.clone(),
            port: listener.port.as_ref().map(|port| port.load_full()),
            settings: listener.settings.clone(),
            buses: listener.buses.clone(),
            metrics: Arc::clone(&listener.metrics),
        };
        let time = SystemTime::now();
        let broker = |broker: &BrokerSource| PublishedBroker {
            settings: broker.settings.clone(),
            delivery: broker.delivery.clone(),
            metrics: Arc::clone(&broker.metrics),
        };
        Published {
            at: Instant::now(),
            generation: self.generation,
            started: self.started,
            buses: self.buses.iter().map(bus).collect(),
            listeners: self.listeners.iter().map(listener).collect(),
            page_expires: self.page_expires,
            audit: self.audit.clone(),
            brokers: self.brokers.iter().map(broker).collect(),
            traffic: Arc::clone(&self.traffic),
            site: self.site.clone().or_else(host_name),
            time,
            clock: local_with_zone(time),
        }
    }
}

/// The history, sampled once a second and read by every page.
#[derive(Clone, Debug, Default)]
pub struct SharedHistory(Arc<Mutex<History>>);

impl SharedHistory {
    /// Continues this one.
    #[must_use]
    pub fn new(history: History) -> Self {
        Self(Arc::new(Mutex::new(history)))
    }

    /// Calls `read` with it, under its lock.
    pub fn with<R>(&self, read: impl FnOnce(&mut History) -> R) -> R {
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The list of events, fed once a second and read by every page.
#[derive(Clone, Debug, Default)]
pub struct SharedEvents(Arc<Mutex<EventList>>);

impl SharedEvents {
    /// Continues this one.
    #[must_use]
    pub fn new(list: EventList) -> Self {
        Self(Arc::new(Mutex::new(list)))
    }

    /// Calls `read` with it, under its lock.
    pub fn with<R>(&self, read: impl FnOnce(&mut EventList) -> R) -> R {
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
