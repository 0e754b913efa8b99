//! What is known of the gateway at one instant: the parts everything shown is made of.
//!
//! Owns nothing and decides nothing; it holds what the other rooms published. Time stands beside it as an argument.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bus::settings::{Pace, UnitId, UnitSettings};
use crate::bus::unit::UnitState;
use crate::bus::view::{PortState, UnitView, View};
use crate::config::{Bus, UnitProfile};
use crate::io::port_view::PortView;
use crate::io::process::Process;
use crate::io::settings::ListenerSettings;
use crate::io::tally::Tally;
use crate::io::traffic::Traffic;
use crate::meter::words::BlockKind;

/// The gateway.
#[derive(Clone, Debug)]
pub struct Picture {
    /// When all of it is; every age ends here.
    pub at: Instant,
    /// Since when it has been running.
    pub started: Instant,
    /// The buses, in the order of the configuration.
    pub buses: Vec<BusPicture>,
    /// The listeners, in the order of the configuration.
    pub listeners: Vec<ListenerPicture>,
    /// What the process itself uses; empty where nobody asked for it.
    pub process: Process,
    /// The last traffic of the lines.
    pub traffic: Arc<Traffic>,
    /// What tells this gateway from others, such as the host's name.
    pub name: Option<String>,
    /// The clock on the wall, for people: `2026-11-22 14:03:07 UTC`.
    pub clock: String,
}

/// One bus.
#[derive(Clone, Debug)]
pub struct BusPicture {
    /// What it obeys.
    pub settings: Arc<Bus>,
    /// What its line published.
    pub view: Arc<View>,
    /// What became of its port.
    pub port: Arc<PortView>,
    /// How often its task was started after it had panicked.
    pub restarts: u64,
}

/// One listener.
#[derive(Clone, Debug)]
pub struct ListenerPicture {
    /// Where it listens, with the port the system chose for port 0.
    pub address: SocketAddr,
    /// What it obeys.
    pub settings: ListenerSettings,
    /// The buses it leads to, by name.
    pub buses: Vec<String>,
    /// What it counts.
    pub tally: Arc<Tally>,
}

/// One unit of a picture.
#[derive(Clone, Copy, Debug)]
pub struct UnitPicture<'a> {
    /// Its bus.
    pub bus: &'a BusPicture,
    /// The identifier clients use.
    pub alias: u8,
    /// What it obeys.
    pub settings: &'a UnitSettings,
    /// What its line published; `None` for the moment between a start and the first publication.
    pub view: Option<&'a UnitView>,
    /// What its registers mean, where that is known.
    pub profile: Option<&'a UnitProfile>,
}

impl Picture {
    /// Every unit, bus by bus, in the order of the identifiers clients use.
    pub fn units(&self) -> impl Iterator<Item = UnitPicture<'_>> {
        self.buses.iter().flat_map(BusPicture::units)
    }

    /// Whether a port is open and at least one unit answers.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.buses.iter().any(|bus| {
            let answers = |unit: &Arc<UnitView>| is_answering(unit.state);
            bus.view.port == PortState::Open && bus.view.units.iter().any(answers)
        })
    }
}

impl BusPicture {
    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.line.name
    }

    /// Its units, in the order of the identifiers clients use.
    pub fn units(&self) -> impl Iterator<Item = UnitPicture<'_>> {
        self.settings.aliases.iter().filter_map(|(alias, id)| self.unit(*alias, *id))
    }

    /// Its units, in the order of the wire.
    pub fn on_the_wire(&self) -> impl Iterator<Item = UnitPicture<'_>> {
        let clients_know: BTreeMap<UnitId, u8> =
            self.settings.aliases.iter().map(|(alias, id)| (*id, *alias)).collect();
        self.settings.wire.iter().filter_map(move |id| self.unit(*clients_know.get(id)?, *id))
    }

    fn unit(&self, alias: u8, id: UnitId) -> Option<UnitPicture<'_>> {
        let units = &self.settings.line.units;
        let settings = units.get(units.binary_search_by_key(&id, |unit| unit.id).ok()?)?;
        Some(UnitPicture {
            bus: self,
            alias,
            settings,
            view: self.view.unit(id),
            profile: self.settings.profiles.get(&id),
        })
    }
}

impl UnitPicture<'_> {
    /// Whether it answers; not known counts as never seen.
    #[must_use]
    pub fn state(&self) -> UnitState {
        self.view.map_or(UnitState::NeverSeen, |view| view.state)
    }

    /// How old readings of such a block may be before somebody who asks for numbers alone gets none: three of the
    /// intervals they are read at, and [`FRESH`] at least.
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

/// Whether a unit in this state gives answers.
#[must_use]
pub fn is_answering(state: UnitState) -> bool {
    match state {
        UnitState::Online | UnitState::Confirming => true,
        UnitState::NeverSeen | UnitState::Offline => false,
    }
}

/// The least age at which readings are left out of what carries no age of its own.
pub const FRESH: Duration = Duration::from_secs(30);

/// A slowdown beyond this says that hardly anything is read.
const MOST_SLOWDOWN: f64 = 1000.0;
