//! The electrical side of a simulated meter: its conductors, the load behind them, and their faults.
//!
//! Owns voltages and currents as a function of the seconds since the start, and the energy between two instants. A
//! fault changes the phasors from one second on and leaves the load's curve unchanged, so that energy remains a closed
//! formula, span by span. It has no registers.

use super::load::{LoadCurve, Wave};
use super::measure::{Measured, PHASES, Power, across};
use super::outage::whole_seconds;
use super::phasor::Phasor;
use super::rng::Rng;
use super::settings::{Fault, FaultKind, MeterSettings, Phase, SystemType};

/// One service and its load.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    wiring: SystemType,
    /// Nominal volts, as register 134 counts them.
    pub(crate) system_voltage: u16,
    /// Amperes the sensors are rated for.
    pub(crate) sensor_rating: u16,
    /// Times 100.
    pub(crate) transformer_ratio: u16,
    voltages: [Phasor; PHASES],
    currents: [Phasor; PHASES],
    load: LoadCurve,
    ripple: Wave,
    frequency: Wave,
    /// In order of time, each until the next; the first from 0.
    spans: Vec<ServiceState>,
}

/// A state of the service, from a second on.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ServiceState {
    from: u64,
    reversed: [bool; PHASES],
    lost: [bool; PHASES],
    meter_off: bool,
}

/// How a meter sees a service: its system type and the ratios of its settings to the fitted instruments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct InstrumentRatios {
    pub(crate) wiring: SystemType,
    /// Shown volts over true volts.
    pub(crate) voltage: f64,
    /// Shown amperes over true amperes.
    pub(crate) current: f64,
}

/// Energy between two instants, in kWh, kvarh and kVAh.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Energy {
    /// Real energy of each phase.
    pub(crate) phases: [f64; PHASES],
    pub(crate) total: Power,
}

impl Service {
    /// The service of a meter; `faults` are those of this meter.
    pub(crate) fn new(meter: &MeterSettings, faults: &[Fault], seed: u64) -> Self {
        let mut rng = Rng::new(seed, u64::from(meter.unit));
        let wiring = meter.system_type;
        let any_rating = SENSOR_RATINGS[rng.below(SENSOR_RATINGS.len())];
        // Installers fit the smallest sensor that carries the load.
        let carries = |amperes: f64| {
            let fits = |rating: &u16| f64::from(*rating) * MOST_OF_RATING >= amperes;
            SENSOR_RATINGS.into_iter().find(fits).unwrap_or(LARGEST_RATING)
        };
        let sensor_rating = meter.sensor_rating.unwrap_or(meter.amperes.map_or(any_rating, carries)).max(1);
        let system_voltage = meter.system_voltage.unwrap_or(wiring.usual_voltage());
        let share = rng.between(0.3, 0.6);
        let factor = rng.between(0.86, 0.98);
        let voltages = conductors(wiring, system_voltage, &mut rng);
        let reference = across(wiring, voltages);
        // Without a neutral the three currents must add up to zero.
        let uneven = meter.amperes.is_none() && wiring != SystemType::Delta;
        let amperes = meter.amperes.unwrap_or(f64::from(sensor_rating) * share);
        let mut currents: [Phasor; PHASES] = std::array::from_fn(|phase| {
            let (size, shift) = (rng.between(0.9, 1.1), rng.between(-0.03, 0.03));
            let own = if uneven { amperes * size } else { amperes };
            let factor =
                meter.power_factor.unwrap_or(if uneven { (factor + shift).min(1.0) } else { factor });
            reference[phase].scaled_to(own).turned(-libm::acos(factor.clamp(0.0, 1.0)).to_degrees())
        });
        if wiring == SystemType::Delta {
            let middle = (currents[0] + currents[1] + currents[2]).times(1.0 / 3.0);
            currents = currents.map(|current| current - middle);
        }
        Self {
            wiring,
            system_voltage,
            sensor_rating,
            transformer_ratio: meter.transformer_ratio.max(1),
            voltages,
            currents,
            load: LoadCurve::new(meter.shape, &mut rng),
            ripple: Wave::new(0.006, 433.0, &mut rng),
            frequency: Wave::new(0.0004, 61.0, &mut rng),
            spans: spans(faults),
        }
    }

    /// What the meter measures in the second that begins at `at`.
    pub(crate) fn measured(&self, ratios: InstrumentRatios, at: u64) -> Measured {
        let (voltages, currents) = self.phasors(self.span_at(at));
        // The load takes the same power at any voltage: where one ripples up the other ripples down.
        let ripple = 1.0 + self.ripple.value(at);
        let level = self.load.level(at) / ripple;
        Measured::new(
            ratios.wiring,
            voltages.map(|voltage| voltage.times(ripple * ratios.voltage)),
            currents.map(|current| current.times(level * ratios.current)),
        )
    }

    /// What the meter counts between two instants.
    pub(crate) fn energy(&self, ratios: InstrumentRatios, from: u64, to: u64) -> Energy {
        let mut energy = Energy::default();
        let ends = self.spans.iter().skip(1).map(|span| span.from).chain([u64::MAX]);
        for (span, end) in self.spans.iter().zip(ends) {
            let (begin, end) = (from.max(span.from), to.min(end));
            if begin < end && !span.meter_off {
                let hours = self.load.seconds(begin, end) / 3600.0;
                energy = energy.plus(self.at_level_one(ratios, span).times(hours));
            }
        }
        energy
    }

    /// Counts from before the simulation: some thousand hours of the mean load.
    pub(crate) fn energy_before(&self, ratios: InstrumentRatios) -> Energy {
        self.at_level_one(ratios, &HEALTHY).times(HOURS_BEFORE)
    }

    /// Hertz, measured on phase A; `None` if its voltage is too low.
    pub(crate) fn frequency(&self, ratios: InstrumentRatios, at: u64) -> Option<f64> {
        let volts = self.measured(ratios, at).across[0];
        let enough = volts > f64::from(self.system_voltage) * TOO_LITTLE;
        enough.then(|| FREQUENCY * (1.0 + self.frequency.value(at)))
    }

    /// Power of each phase and of all, as energy of one hour.
    fn at_level_one(&self, ratios: InstrumentRatios, span: &ServiceState) -> Energy {
        let (voltages, currents) = self.phasors(span);
        let measured = Measured::new(
            ratios.wiring,
            voltages.map(|voltage| voltage.times(ratios.voltage)),
            currents.map(|current| current.times(ratios.current)),
        );
        Energy { phases: measured.powers.map(|power| power.real), total: measured.total }
    }

    fn span_at(&self, at: u64) -> &ServiceState {
        self.spans.iter().rev().find(|span| span.from <= at).unwrap_or(&HEALTHY)
    }

    /// Voltages and currents at the mean voltage and at level 1. A lost conductor carries no current and takes the
    /// potential that the load imposes: the neutral's, or the midpoint of the others.
    fn phasors(&self, span: &ServiceState) -> ([Phasor; PHASES], [Phasor; PHASES]) {
        let (mut voltages, mut currents) = (self.voltages, self.currents);
        for phase in (0..self.wiring.conductors()).filter(|phase| span.lost[*phase]) {
            currents[phase] = Phasor::default();
            let others: Vec<usize> =
                (0..self.wiring.conductors()).filter(|other| *other != phase && !span.lost[*other]).collect();
            voltages[phase] = match (self.wiring.has_neutral(), others.as_slice()) {
                (true, _) | (false, []) => Phasor::default(),
                (false, others) => {
                    let sum = others.iter().fold(Phasor::default(), |sum, other| sum + self.voltages[*other]);
                    sum.times(1.0 / others.len() as f64)
                }
            };
            if !self.wiring.has_neutral() {
                share_current(&mut currents, &others);
            }
        }
        for phase in (0..PHASES).filter(|phase| span.reversed[*phase]) {
            currents[phase] = -currents[phase];
        }
        (voltages, currents)
    }
}

/// Without a neutral, the current of one conductor returns through the other; a single one carries nothing.
fn share_current(currents: &mut [Phasor; PHASES], conductors: &[usize]) {
    match *conductors {
        [one, other] => {
            let through = (currents[one] - currents[other]).times(0.5);
            (currents[one], currents[other]) = (through, -through);
        }
        [only] => currents[only] = Phasor::default(),
        [] | [_, _, ..] => {}
    }
}

/// The voltages of a service to its neutral, or to its midpoint.
fn conductors(wiring: SystemType, system_voltage: u16, rng: &mut Rng) -> [Phasor; PHASES] {
    let nominal = f64::from(system_voltage);
    let mut phasor =
        |volts: f64, degrees: f64| Phasor::new(volts * (1.0 + rng.between(-UNEVEN, UNEVEN)), degrees);
    let none = Phasor::default();
    match wiring {
        SystemType::SinglePhase => [phasor(nominal, 0.0), none, none],
        SystemType::SinglePhaseAB | SystemType::SplitPhase => {
            [phasor(nominal / 2.0, 0.0), phasor(nominal / 2.0, 180.0), none]
        }
        SystemType::Delta | SystemType::Wye => {
            let volts = nominal / 3_f64.sqrt();
            [phasor(volts, 0.0), phasor(volts, -120.0), phasor(volts, 120.0)]
        }
    }
}

/// The states of a service in order of time. An electrical fault counts in whole seconds, as the meter does.
fn spans(faults: &[Fault]) -> Vec<ServiceState> {
    let window = |fault: &Fault| {
        let from = whole_seconds(fault.at);
        let until = fault.lasts.map_or(u64::MAX, |lasts| whole_seconds(fault.at.saturating_add(lasts)));
        (from, until)
    };
    let mut times: Vec<u64> = vec![0];
    for fault in faults {
        let (from, until) = window(fault);
        times.extend([from, until]);
    }
    times.sort_unstable();
    times.dedup();
    let state = |from: u64| {
        let mut span = ServiceState { from, ..HEALTHY };
        for fault in faults {
            let (begin, end) = window(fault);
            if (begin..end).contains(&from) {
                match &fault.kind {
                    FaultKind::ReversedCt(phase) => span.reversed[Phase::index(*phase)] = true,
                    FaultKind::PhaseLoss(phase) => span.lost[Phase::index(*phase)] = true,
                    FaultKind::PowerCycle => span.meter_off = true,
                    FaultKind::Dead
                    | FaultKind::Late(_)
                    | FaultKind::Noisy(_)
                    | FaultKind::Echo
                    | FaultKind::WrongUnit(_)
                    | FaultKind::Garbage => {}
                }
            }
        }
        span
    };
    times.into_iter().map(state).collect()
}

impl Energy {
    /// The sum of two.
    pub(crate) fn plus(self, other: Self) -> Self {
        let phases = std::array::from_fn(|phase| self.phases[phase] + other.phases[phase]);
        Self { phases, total: self.total.plus(other.total) }
    }

    fn times(self, factor: f64) -> Self {
        Self { phases: self.phases.map(|phase| phase * factor), total: self.total.times(factor) }
    }
}

/// No fault.
const HEALTHY: ServiceState =
    ServiceState { from: 0, reversed: [false; PHASES], lost: [false; PHASES], meter_off: false };

/// Largest difference between the voltages of a service, as a share of the nominal one.
const UNEVEN: f64 = 0.004;

/// Nominal hertz.
const FREQUENCY: f64 = 60.0;

/// Share of the nominal voltage below which no frequency is measured; inferred.
const TOO_LITTLE: f64 = 0.2;

/// Ratings a meter's sensors usually have, in amperes.
const SENSOR_RATINGS: [u16; 5] = [100, 200, 400, 800, 1600];

/// Largest load chosen, as a share of a sensor's rating.
const MOST_OF_RATING: f64 = 0.7;

/// Rating of the sensors if the usual ones are too small, in amperes.
const LARGEST_RATING: u16 = 5000;

/// Hours of mean load in the totals at the start.
const HOURS_BEFORE: f64 = 2500.0;
