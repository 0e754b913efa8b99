//! The state that buses and listeners have published by one instant: the source of the model.
//!
//! Owns nothing and decides nothing. Every age ends at [`Published::at`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::audit::AuditState;
use crate::config::{Bus, UnitProfile};
use crate::endpoint::Endpoint;
use crate::findings::WireBreak;
use crate::line::{BusId, Pace, PortState, UnitId, UnitSettings, UnitView, View};
use crate::meter::BlockKind;
use crate::mqtt::{BrokerMetrics, BrokerSettings, Delivery};
use crate::serial::PortView;
use crate::server::{ListenerMetrics, ListenerSettings};
use crate::traffic::Traffic;

use super::model::UnitState;

/// The gateway.
#[derive(Clone, Debug)]
pub struct Published {
    /// The instant of this state; every age ends here.
    pub at: Instant,
    /// Rises with each reload.
    pub generation: u64,
    /// Since when it has been running.
    pub started: Instant,
    /// The buses, in the order of the configuration.
    pub buses: Vec<PublishedBus>,
    /// The listeners, in the order of the configuration.
    pub listeners: Vec<PublishedListener>,
    /// Until when the certificate of the status page is valid; `None`: it has none.
    pub page_expires: Option<SystemTime>,
    /// The audit file; `None`: there is none.
    pub audit: Option<Arc<AuditState>>,
    /// The brokers, in the order of the configuration.
    pub brokers: Vec<PublishedBroker>,
    /// The last traffic of the lines.
    pub traffic: Arc<Traffic>,
    /// What tells this gateway from others: the key `site`, or the host's name.
    pub site: Option<String>,
    /// The clock on the wall.
    pub time: SystemTime,
    /// The same, for people: `2026-11-22 15:03:07 CET`.
    pub clock: String,
}

/// One bus.
#[derive(Clone, Debug)]
pub struct PublishedBus {
    /// Which bus.
    pub id: BusId,
    /// Its settings.
    pub settings: Arc<Bus>,
    /// The view of its line.
    pub view: Arc<View>,
    /// The state of its port.
    pub port: Arc<PortView>,
    /// How often its task was started after it had panicked.
    pub restarts: u64,
}

/// One listener.
#[derive(Clone, Debug)]
pub struct PublishedListener {
    /// Where it listens, with the port the system chose for port 0.
    pub address: Endpoint,
    /// What became of its port; `None`: it listens at a TCP address.
    pub port: Option<Arc<PortView>>,
    /// Its settings.
    pub settings: ListenerSettings,
    /// The buses it leads to.
    pub buses: Vec<BusId>,
    /// Its counters.
    pub metrics: Arc<ListenerMetrics>,
}

/// One broker.
#[derive(Clone, Debug)]
pub struct PublishedBroker {
    /// The settings of its connection.
    pub settings: BrokerSettings,
    /// What waits for it.
    pub delivery: Delivery,
    /// What its client counts.
    pub metrics: Arc<BrokerMetrics>,
}

/// One unit.
#[derive(Clone, Copy, Debug)]
pub struct PublishedUnit<'a> {
    /// Its bus.
    pub bus: &'a PublishedBus,
    /// The identifier clients use.
    pub alias: u8,
    /// Its settings.
    pub settings: &'a UnitSettings,
    /// Its view; `None` for the moment between a start and the first publication.
    pub view: Option<&'a UnitView>,
    /// Its profile, if it has one.
    pub profile: Option<&'a UnitProfile>,
    /// The name of its group.
    pub group: Option<&'a str>,
}

impl Published {
    /// The bus with this identifier.
    #[must_use]
    pub fn bus(&self, id: BusId) -> Option<&PublishedBus> {
        self.buses.iter().find(|bus| bus.id == id)
    }

    /// Every unit, bus by bus, in the order of the identifiers clients use.
    pub fn units(&self) -> impl Iterator<Item = PublishedUnit<'_>> {
        self.buses.iter().flat_map(PublishedBus::units)
    }

    /// Whether a port is open and at least one unit answers.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.buses.iter().any(|bus| {
            let answers = |unit: &Arc<UnitView>| bus.view.availability(unit.id).is_answering();
            bus.view.port == PortState::Open && bus.view.units.iter().any(answers)
        })
    }
}

impl PublishedBus {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.line.name
    }

    /// Its units, in the order of the identifiers clients use.
    pub fn units(&self) -> impl Iterator<Item = PublishedUnit<'_>> {
        self.settings.aliases.iter().filter_map(|(alias, id)| self.unit(*alias, *id))
    }

    /// The break of its wire, if there is one.
    #[must_use]
    pub fn wire_break(&self) -> Option<WireBreak> {
        WireBreak::find(&self.view, self.settings.order_of_the_wire()?)
    }

    /// Its units, in the order of the configuration.
    pub fn on_the_wire(&self) -> impl Iterator<Item = PublishedUnit<'_>> {
        let clients_know: BTreeMap<UnitId, u8> =
            self.settings.aliases.iter().map(|(alias, id)| (*id, *alias)).collect();
        self.settings.wire.iter().filter_map(move |id| self.unit(*clients_know.get(id)?, *id))
    }

    fn unit(&self, alias: u8, id: UnitId) -> Option<PublishedUnit<'_>> {
        let units = &self.settings.line.units;
        let settings = units.get(units.binary_search_by_key(&id, |unit| unit.id).ok()?)?;
        Some(PublishedUnit {
            bus: self,
            alias,
            settings,
            view: self.view.unit(id),
            profile: self.settings.profiles.get(&id),
            group: self.settings.groups.get(&id).map(String::as_str),
        })
    }
}

impl PublishedUnit<'_> {
    /// Whether it answers.
    #[must_use]
    pub fn state(&self) -> UnitState {
        self.bus.view.availability(self.settings.id).into()
    }

    /// Largest age of readings of such a block where values are shown without their age: three of its intervals, and
    /// at least [`FRESH`].
    #[must_use]
    pub fn fresh_for(&self, kind: BlockKind) -> Duration {
        let polling = &self.bus.view.polling;
        let slower = |interval: Duration| interval.mul_f64(polling.slowdown.clamp(1.0, MOST_SLOWDOWN));
        let Some(profile) = self.profile else { return FRESH };
        let interval = match (kind, profile.poll) {
            (_, None) => Duration::ZERO,
            (BlockKind::Measurement, Some(Pace::Auto)) => slower(polling.interval),
            (BlockKind::Measurement, Some(Pace::Every(interval))) => slower(interval),
            (BlockKind::Configuration | BlockKind::Identity, Some(_)) => slower(profile.poll_slow),
        };
        (interval * 3).max(FRESH)
    }
}

/// Readings younger than this are always shown where values have no age.
pub(super) const FRESH: Duration = Duration::from_secs(30);

/// Largest slowdown that is taken into account.
const MOST_SLOWDOWN: f64 = 1000.0;
