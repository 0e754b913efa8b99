//! The state of a simulated meter: what it measures, counts and keeps, and its commands, second by second.
//!
//! Owns totals, pulses, demand, settings and what of them survives a loss of power. The meter computes everything once
//! per second; events in between are applied at its next request. It has no requests. Source: the Series 4000-R guide,
//! chapters on energy, demand and pulses, and the command register 129.

use std::time::Duration;

use super::demand::Demand;
use super::measure::{Measured, PHASES, Power, mean};
use super::outage::Outage;
use super::quantity::{PowerComponent, Quantity};
use super::registers::{Map, PointSlot};
use super::service::{Energy, Service};
use super::settings::{Fault, MeterSettings};
use super::setup::{AlertBit, Exponents, Setting, Setup, step};
use crate::modbus::pdu::ExceptionCode;

/// The inside of one meter.
#[derive(Debug)]
pub(crate) struct MeterState {
    service: Service,
    setup: Setup,
    totals: RunningTotals,
    demand: Demand,
    energy_clears: u16,
    power_ups: u16,
    /// Commands not carried out yet, and the second they are due. At most one of each: they have a minimum interval.
    due: Vec<(u64, MeterCommand)>,
    /// When each command was last accepted.
    taken: Vec<(MeterCommand, Duration)>,
    /// Outages still to come, the next one last.
    outages: Vec<Outage>,
}

/// Totals up to the second `until`; later ones are computed on request.
#[derive(Clone, Copy, Debug)]
struct RunningTotals {
    until: u64,
    energy: Energy,
    /// Pulses of the real and of the reactive output, with the fraction of the next.
    pulses: [f64; 2],
}

/// The commands of register 129.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MeterCommand {
    ClearEnergy,
    ClearPulses,
    NextSubinterval,
    ResetPeaks,
}

/// Every value of one second.
pub(crate) struct MeterValues<'w> {
    state: &'w MeterState,
    measured: Measured,
    frequency: Option<f64>,
    totals: RunningTotals,
    demand: Power,
    pub(crate) exponents: Exponents,
}

impl MeterState {
    /// The meter at the start of the simulation; `faults` are its own.
    pub(crate) fn new(settings: &MeterSettings, faults: &[Fault], seed: u64) -> Self {
        let service = Service::new(settings, faults, seed);
        let setup = Setup::new(settings.system_type, &service);
        let energy = service.energy_before(setup.ratios(&service));
        let mut outages = Outage::of(faults);
        outages.reverse();
        Self {
            service,
            setup,
            totals: RunningTotals { until: 0, energy, pulses: [0.0; 2] },
            demand: Demand::new(),
            energy_clears: 0,
            power_ups: 1,
            due: Vec::new(),
            taken: Vec::new(),
            outages,
        }
    }

    /// Applies everything up to the second `at`.
    pub(crate) fn advance(&mut self, at: u64) {
        loop {
            let outage = self.outages.last().map(|outage| outage.seconds().0);
            let command = self.due.iter().map(|(due, _)| *due).min();
            let other = outage.into_iter().chain(command).min().unwrap_or(u64::MAX);
            self.skip_subintervals(at.min(other));
            let subinterval = self.subinterval_ends();
            let next = subinterval.into_iter().chain([other]).min().unwrap_or(u64::MAX);
            if next > at || next == u64::MAX {
                return;
            }
            if outage == Some(next) {
                self.lose_power();
            } else if subinterval == Some(next) {
                self.end_subinterval(next);
            } else {
                self.carry_out(next);
            }
        }
    }

    /// Accepts a command.
    ///
    /// # Errors
    /// 0x03 for an unknown code, and for one that is repeated too soon. What a real meter answers to either is not
    /// documented.
    pub(crate) fn command(&mut self, code: u16, at: Duration) -> Result<(), ExceptionCode> {
        let commands = &Map::get().profile().commands;
        let known = commands.iter().find(|command| command.code == code);
        let known = known.and_then(|known| Some((known, MeterCommand::of(&known.name)?)));
        let (known, command) = known.ok_or(ExceptionCode::ILLEGAL_DATA_VALUE)?;
        let before = self.taken.iter().find(|(taken, _)| *taken == command).map(|(_, at)| *at);
        if before.is_some_and(|before| at.saturating_sub(before) < known.min_interval) {
            return Err(ExceptionCode::ILLEGAL_DATA_VALUE);
        }
        self.taken.retain(|(taken, _)| *taken != command);
        self.taken.push((command, at));
        let second = at.as_secs();
        match command {
            MeterCommand::ClearEnergy => {
                self.totals = self.totals_at(second);
                self.totals.energy = Energy::default();
                self.energy_clears = (self.energy_clears + 1) & COUNT_MAX;
            }
            MeterCommand::ClearPulses => {
                self.totals = self.totals_at(second);
                self.totals.pulses = [0.0; 2];
            }
            MeterCommand::NextSubinterval | MeterCommand::ResetPeaks => self.due.push((second + 1, command)),
        }
        Ok(())
    }

    /// Applies new settings.
    pub(crate) fn set_up(&mut self, setup: Setup, at: u64) {
        // The counts so far are of the old settings.
        self.totals = self.totals_at(at);
        if setup.measures_otherwise(&self.setup) {
            self.demand.restart(at);
        }
        self.setup = setup;
    }

    /// The settings.
    pub(crate) fn setup(&self) -> Setup {
        self.setup
    }

    /// Every value at a second up to which everything has been applied.
    pub(crate) fn values_at(&self, at: u64) -> MeterValues<'_> {
        let ratios = self.setup.ratios(&self.service);
        MeterValues {
            state: self,
            measured: self.service.measured(ratios, at),
            frequency: self.service.frequency(ratios, at),
            totals: self.totals_at(at),
            demand: self.demand_at(at),
            exponents: self.setup.exponents(),
        }
    }

    fn subinterval_ends(&self) -> Option<u64> {
        // Without a length, only the command ends one.
        let length = u64::from(self.setup.subinterval);
        (length > 0).then(|| self.demand.running_since().saturating_add(length))
    }

    /// After a very long pause only the latest intervals are searched for peaks.
    fn skip_subintervals(&mut self, until: u64) {
        let length = u64::from(self.setup.subinterval);
        let missed = until.saturating_sub(self.demand.running_since()).checked_div(length).unwrap_or(0);
        if missed > SUBINTERVALS_LOOKED_AT {
            let skipped = (missed - SUBINTERVALS_LOOKED_AT) * length;
            self.demand.restart(self.demand.running_since() + skipped);
        }
    }

    fn end_subinterval(&mut self, at: u64) {
        // One that begins in this very second has no mean yet.
        if at <= self.demand.running_since() {
            return;
        }
        let power = self.demand_at(at);
        self.demand.end_subinterval(at, self.setup.demand_subintervals(), power);
    }

    /// Energies, peaks, settings and event counts are kept; pulses, the demand in progress and a pending command are
    /// not. Nothing is measured until the meter has started again.
    fn lose_power(&mut self) {
        let Some(outage) = self.outages.pop() else { return };
        let (from, until) = outage.seconds();
        self.totals = self.totals_at(from);
        self.totals.pulses = [0.0; 2];
        self.due.clear();
        self.taken.clear();
        self.demand.restart(until);
        self.power_ups = (self.power_ups + 1) & COUNT_MAX;
    }

    /// Carries out the commands that are due, in their order.
    fn carry_out(&mut self, at: u64) {
        let (now, later): (Vec<_>, Vec<_>) = self.due.drain(..).partition(|(due, _)| *due <= at);
        self.due = later;
        for (_, command) in now {
            match command {
                MeterCommand::NextSubinterval => self.end_subinterval(at),
                MeterCommand::ResetPeaks => self.demand.highest = self.demand_at(at),
                // These are carried out at once.
                MeterCommand::ClearEnergy | MeterCommand::ClearPulses => {}
            }
        }
    }

    /// Mean power since the demand interval in progress began.
    fn demand_at(&self, at: u64) -> Power {
        let ratios = self.setup.ratios(&self.service);
        let from = self.demand.since();
        match at.checked_sub(from) {
            None | Some(0) => self.service.measured(ratios, at).total,
            Some(seconds) => self.service.energy(ratios, from, at).total.times(3600.0 / seconds as f64),
        }
    }

    fn totals_at(&self, at: u64) -> RunningTotals {
        let used = self.service.energy(self.setup.ratios(&self.service), self.totals.until, at);
        let [real, reactive] = self.totals.pulses;
        let weight = self.setup.pulse_weight();
        RunningTotals {
            until: at.max(self.totals.until),
            energy: self.totals.energy.plus(used),
            pulses: [real + used.total.real / weight, reactive + used.total.reactive / weight],
        }
    }
}

impl MeterCommand {
    /// The command with this name in the profile.
    fn of(name: &str) -> Option<Self> {
        match name {
            "clear_energy" => Some(Self::ClearEnergy),
            "clear_pulses" => Some(Self::ClearPulses),
            "next_subinterval" => Some(Self::NextSubinterval),
            "reset_peaks" => Some(Self::ResetPeaks),
            _ => None,
        }
    }
}

impl MeterValues<'_> {
    /// The value of the slot's point, in its unit; `None`: it means nothing.
    pub(crate) fn value(&self, slot: &PointSlot) -> Option<f64> {
        let Self { state, measured, totals, .. } = self;
        let setup = &state.setup;
        if !slot.is_valid(Map::get().profile(), setup.wiring.code()) {
            return None;
        }
        let phases = setup.wiring.phases();
        // In delta and wye all three mean something, in the others only AB does.
        let pairs = if phases == PHASES { PHASES } else { 1 };
        // A float rolls over with the count it repeats.
        let counted = |value: f64| value.rem_euclid(ROLLS_OVER_AT * step(self.exponents.energy));
        Some(match slot.quantity {
            Quantity::Energy(part) => counted(part.of(totals.energy.total)),
            Quantity::PhaseEnergy(phase) => counted(totals.energy.phases[phase]),
            Quantity::Power(part) => part.of(measured.total),
            Quantity::PhasePower(part, phase) => part.of(measured.powers[phase]),
            Quantity::PowerFactor => measured.total.factor(),
            Quantity::PhasePowerFactor(phase) => measured.powers[phase].factor(),
            Quantity::Between(pair) => measured.between[pair],
            Quantity::MeanBetween => mean(&measured.between, pairs),
            Quantity::ToNeutral(phase) => measured.to_neutral[phase],
            Quantity::MeanToNeutral => mean(&measured.to_neutral, phases),
            Quantity::Current(phase) => measured.currents[phase],
            Quantity::MeanCurrent => mean(&measured.currents, phases),
            Quantity::Frequency => return self.frequency,
            Quantity::Demand(part) => part.of(self.demand),
            Quantity::HighestDemand(part) => part.of(state.demand.highest),
            Quantity::Pulses(output) => totals.pulses[output].floor().rem_euclid(ROLLS_OVER_AT),
            Quantity::Command | Quantity::Zero => 0.0,
            Quantity::Setting(Setting::TransformerRatio) => {
                f64::from(setup.get(Setting::TransformerRatio)) / 100.0
            }
            Quantity::Setting(setting) => f64::from(setup.get(setting)),
            Quantity::Exponent(scaled) => f64::from(self.exponents.of(scaled)),
            Quantity::FullScale => setup.full_scale(),
            Quantity::PulseDuration => f64::from(setup.pulse_duration().unwrap_or(SHORTEST_CLOSURE)),
            Quantity::Alerts => f64::from(self.alerts()),
            Quantity::EnergyClears => f64::from(state.energy_clears),
            Quantity::PowerUps => f64::from(state.power_ups),
            Quantity::Firmware => f64::from(FIRMWARE),
            Quantity::NotAvailable => return None,
        })
    }

    fn alerts(&self) -> u16 {
        let active = |alert: &AlertBit| alert.is_active(&self.state.setup, &self.measured, self.frequency);
        let bits = Map::get().alerts.iter().filter(|(_, alert)| active(alert)).map(|(bit, _)| 1 << bit);
        bits.fold(0, |all, bit: u16| all | bit)
    }
}

impl PowerComponent {
    /// This component of a power or an energy.
    pub(crate) fn of(self, power: Power) -> f64 {
        match self {
            Self::Real => power.real,
            Self::Reactive => power.reactive,
            Self::Apparent => power.apparent,
        }
    }
}

/// Register 7001: 2015 reads as V02.015.
pub(crate) const FIRMWARE: u16 = 2015;

/// Steps after which a 32-bit count is back at 0.
const ROLLS_OVER_AT: f64 = 4_294_967_296.0;

/// Content of register 145 if no closure is short enough, in milliseconds.
const SHORTEST_CLOSURE: u16 = 10;

/// Largest value of the registers that count events.
const COUNT_MAX: u16 = 0x7FFF;

/// Sub-intervals searched for a peak after a pause in which more passed.
const SUBINTERVALS_LOOKED_AT: u64 = 10_000;
