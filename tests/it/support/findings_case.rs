//! A line then and now, as the rules of findings see it.
//!
//! Units are healthy unless a test changes them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metergate::findings::{Evidence, Finding, Kind, Track, findings};
use metergate::line::{
    Echo, Incidents, LineCounters, LineSettings, PortState, Protocol, UnitCounters, UnitId, UnitState,
    UnitStatistics, UnitView, View,
};
use metergate::meter::Profile;
use metergate::serial::PortDevice;

use super::settings;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

fn id(unit: u8) -> UnitId {
    UnitId::new(unit).unwrap()
}

/// A unit that has answered all requests until `at`.
pub(crate) fn healthy(unit: u8, at: Instant) -> UnitView {
    UnitView {
        id: id(unit),
        name: None,
        state: UnitState::Online,
        counters: UnitCounters { transactions: 100, ..UnitCounters::default() },
        last_exception: None,
        last_good: Some(at),
        lost_at: None,
        response_time: Some(Duration::from_millis(5)),
        snapshot: Arc::default(),
        measured: Arc::default(),
        is_measured: false,
        measurements: Arc::default(),
        ignored_reads: 0,
        never_answered: None,
        statistics: UnitStatistics::default(),
        incidents: Incidents::default(),
    }
}

/// A line of these units with its port open.
pub(crate) fn open(units: Vec<UnitView>) -> View {
    View {
        port: PortState::Open,
        counters: LineCounters { transactions: 1000, ..LineCounters::default() },
        units: units.into_iter().map(Arc::new).collect(),
        ..View::default()
    }
}

/// A line then and now, and its findings.
pub(crate) struct Case {
    pub(crate) before: View,
    pub(crate) now: View,
    pub(crate) at: Instant,
    pub(crate) profile: Option<&'static Profile>,
    pub(crate) protocol: Protocol,
    pub(crate) device: &'static str,
    pub(crate) wire: Option<&'static [UnitId]>,
    pub(crate) echo: Echo,
    pub(crate) faulty_characters: Option<&'static str>,
}

impl Case {
    pub(crate) fn new(now: impl FnOnce(Instant) -> View) -> Self {
        let at = Instant::now() + 100_000 * SECOND;
        Self {
            before: View::default(),
            now: now(at),
            at,
            profile: None,
            protocol: Protocol::Rtu(settings::FRAMING),
            device: "/dev/ttyUSB0",
            wire: None,
            echo: Echo::Auto,
            faulty_characters: None,
        }
    }

    pub(crate) fn findings(&self) -> Vec<Finding> {
        let units: Vec<_> = self.now.units.iter().map(|unit| unit.id.get()).collect();
        let settings = LineSettings { protocol: self.protocol, echo: self.echo, ..settings::line(&units) };
        // Slowness takes a while to count; everything else has just been seen.
        let mut track = Track::default();
        let early = View { polling: self.now.polling.clone(), ..self.before.clone() };
        track.note(&early, self.at - 40 * SECOND);
        track.note(&self.now, self.at);
        let path = || PortDevice::Path(self.device.into());
        let device = PortDevice::of_server(self.device).unwrap_or_else(path);
        let evidence = Evidence {
            settings: &settings,
            device: &device,
            before: &self.before,
            track: &track,
            now: &self.now,
            at: self.at,
            wire: self.wire,
            port_closed: Some("no such device"),
            faulty_characters: self.faulty_characters,
        };
        findings(&evidence, |_| self.profile)
    }

    pub(crate) fn kinds(&self) -> Vec<(Option<u8>, Kind)> {
        self.findings().iter().map(|one| (one.unit.map(UnitId::get), one.kind)).collect()
    }
}
