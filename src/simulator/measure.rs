//! What a meter measures of the voltages and currents on its terminals, by its system type.
//!
//! Owns which voltage goes with which current and what is computed from both: powers, factors, means. It has no
//! registers, no time and no setting but the system type. Source: the Series 4000-R guide's wiring table. Inferred
//! facts are marked as such.

use super::phasor::Phasor;
use super::settings::SystemType;

/// Phases a service may have.
pub(crate) const PHASES: usize = 3;

/// Real, reactive and apparent power in kW, kvar and kVA; or the same times hours.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Power {
    pub(crate) real: f64,
    pub(crate) reactive: f64,
    pub(crate) apparent: f64,
}

/// Everything that is measured in one instant. Quantities the system type does not have are 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Volts AB, BC, AC.
    pub(crate) between: [f64; PHASES],
    /// Volts AN, BN, CN.
    pub(crate) to_neutral: [f64; PHASES],
    /// Volts that are multiplied with the current of each phase.
    pub(crate) across: [f64; PHASES],
    /// Amperes.
    pub(crate) currents: [f64; PHASES],
    /// Power of each phase.
    pub(crate) powers: [Power; PHASES],
    /// Power of all phases.
    pub(crate) total: Power,
}

impl Measured {
    /// From the voltages to neutral, or to any common point where there is none, and the currents.
    pub(crate) fn new(wiring: SystemType, voltages: [Phasor; PHASES], currents: [Phasor; PHASES]) -> Self {
        let across = across(wiring, voltages);
        let has = |phase: usize| phase < wiring.phases();
        let powers = std::array::from_fn(|phase| {
            if has(phase) { Power::of(across[phase], currents[phase]) } else { Power::default() }
        });
        let between = PAIRS.map(|(one, other)| {
            if other < wiring.conductors() { (voltages[one] - voltages[other]).size() } else { 0.0 }
        });
        let connected = |phase: usize| wiring.has_neutral() && has(phase);
        let size = |phase: usize, phasor: Phasor| if connected(phase) { phasor.size() } else { 0.0 };
        Self {
            between,
            to_neutral: std::array::from_fn(|phase| size(phase, voltages[phase])),
            across: std::array::from_fn(|phase| if has(phase) { across[phase].size() } else { 0.0 }),
            currents: std::array::from_fn(|phase| if has(phase) { currents[phase].size() } else { 0.0 }),
            total: Power::sum(powers),
            powers,
        }
    }
}

impl Power {
    /// The power of one phase. The meter has no negative power: a reverse flow is shown and counted as zero, so that a
    /// reversed sensor removes its phase from the sum and leaves a power factor of 0. Inferred from the unsigned
    /// registers and from alert bits 11 to 13.
    fn of(voltage: Phasor, current: Phasor) -> Self {
        let apparent = voltage.size() * current.size() / 1000.0;
        let real = (voltage.real_power(current) / 1000.0).clamp(0.0, apparent);
        let reactive = (apparent * apparent - real * real).max(0.0).sqrt();
        Self { real, reactive, apparent }
    }

    /// Real and reactive power are added; the apparent power of the sum follows from them.
    pub(crate) fn sum(parts: [Self; PHASES]) -> Self {
        let real = parts.iter().map(|part| part.real).sum::<f64>();
        let reactive = parts.iter().map(|part| part.reactive).sum::<f64>();
        Self { real, reactive, apparent: libm::hypot(real, reactive) }
    }

    /// Real over apparent power; 1 if nothing flows, which is inferred.
    pub(crate) fn factor(self) -> f64 {
        if self.apparent > 0.0 { self.real / self.apparent } else { 1.0 }
    }

    /// The sum of two spans of energy.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            real: self.real + other.real,
            reactive: self.reactive + other.reactive,
            apparent: self.apparent + other.apparent,
        }
    }

    /// Every part times `factor`.
    pub(crate) fn times(self, factor: f64) -> Self {
        Self { real: self.real * factor, reactive: self.reactive * factor, apparent: self.apparent * factor }
    }

    /// The larger of each part.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            real: self.real.max(other.real),
            reactive: self.reactive.max(other.reactive),
            apparent: self.apparent.max(other.apparent),
        }
    }
}

/// The voltage that goes with each phase's current: to neutral where there is one; between A and B where the load is
/// connected there; in a delta to the midpoint of the three conductors, which is inferred.
pub(crate) fn across(wiring: SystemType, voltages: [Phasor; PHASES]) -> [Phasor; PHASES] {
    let [a, b, c] = voltages;
    match wiring {
        SystemType::SinglePhase => [a, Phasor::default(), Phasor::default()],
        SystemType::SinglePhaseAB => [a - b, Phasor::default(), Phasor::default()],
        SystemType::SplitPhase => [a, b, Phasor::default()],
        SystemType::Delta => {
            let middle = (a + b + c).times(1.0 / 3.0);
            voltages.map(|phase| phase - middle)
        }
        SystemType::Wye => voltages,
    }
}

/// The mean of the first `count` values; 0 of none.
pub(crate) fn mean(values: &[f64; PHASES], count: usize) -> f64 {
    if count == 0 { 0.0 } else { values.iter().take(count).sum::<f64>() / count as f64 }
}

/// Phases of the voltages between phases: AB, BC, AC.
pub(crate) const PAIRS: [(usize, usize); PHASES] = [(0, 1), (1, 2), (0, 2)];
