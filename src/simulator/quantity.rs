//! The quantity behind each point of the profile in a simulated meter.
//!
//! Owns the mapping from a point's name to a quantity, the only table of names here: registers, formats and ranges are
//! in the profile. It computes nothing.

use super::setup::Setting;

/// The quantity of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantity {
    /// Energy of all phases.
    Energy(PowerComponent),
    /// Real energy of one phase.
    PhaseEnergy(usize),
    Power(PowerComponent),
    PhasePower(PowerComponent, usize),
    PowerFactor,
    PhasePowerFactor(usize),
    /// AB, BC, AC.
    Between(usize),
    MeanBetween,
    ToNeutral(usize),
    MeanToNeutral,
    Current(usize),
    MeanCurrent,
    Frequency,
    Demand(PowerComponent),
    HighestDemand(PowerComponent),
    /// Of the real or the reactive energy.
    Pulses(usize),
    /// Accepts commands; reads 0.
    Command,
    Setting(Setting),
    Exponent(Scaled),
    FullScale,
    PulseDuration,
    Alerts,
    EnergyClears,
    PowerUps,
    Firmware,
    /// No value; reads as not available.
    NotAvailable,
    /// No value; reads 0.
    Zero,
}

/// A component of a power or an energy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PowerComponent {
    Real,
    Reactive,
    Apparent,
}

/// The kind of point that an exponent scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scaled {
    Current,
    Voltage,
    Power,
    Energy,
}

impl Quantity {
    /// The quantity of the point with this name; a copy has that of its original.
    pub(crate) fn of(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, quantity)| *quantity)
    }
}

use PowerComponent::{Apparent, Reactive, Real};
use Quantity as Q;

/// Every point that is not a copy.
const NAMES: &[(&str, Quantity)] = &[
    ("real_energy_total", Q::Energy(Real)),
    ("real_power_total", Q::Power(Real)),
    ("reactive_power_total", Q::Power(Reactive)),
    ("apparent_power_total", Q::Power(Apparent)),
    ("power_factor_total", Q::PowerFactor),
    ("voltage_ll_avg", Q::MeanBetween),
    ("voltage_ln_avg", Q::MeanToNeutral),
    ("current_avg", Q::MeanCurrent),
    ("real_power_a", Q::PhasePower(Real, 0)),
    ("real_power_b", Q::PhasePower(Real, 1)),
    ("real_power_c", Q::PhasePower(Real, 2)),
    ("power_factor_a", Q::PhasePowerFactor(0)),
    ("power_factor_b", Q::PhasePowerFactor(1)),
    ("power_factor_c", Q::PhasePowerFactor(2)),
    ("voltage_ab", Q::Between(0)),
    ("voltage_bc", Q::Between(1)),
    ("voltage_ac", Q::Between(2)),
    ("voltage_an", Q::ToNeutral(0)),
    ("voltage_bn", Q::ToNeutral(1)),
    ("voltage_cn", Q::ToNeutral(2)),
    ("current_a", Q::Current(0)),
    ("current_b", Q::Current(1)),
    ("current_c", Q::Current(2)),
    ("reserved_025", Q::NotAvailable),
    ("frequency", Q::Frequency),
    ("apparent_energy_total", Q::Energy(Apparent)),
    ("reactive_energy_total", Q::Energy(Reactive)),
    ("apparent_power_a", Q::PhasePower(Apparent, 0)),
    ("apparent_power_b", Q::PhasePower(Apparent, 1)),
    ("apparent_power_c", Q::PhasePower(Apparent, 2)),
    ("reactive_power_a", Q::PhasePower(Reactive, 0)),
    ("reactive_power_b", Q::PhasePower(Reactive, 1)),
    ("reactive_power_c", Q::PhasePower(Reactive, 2)),
    ("real_power_demand", Q::Demand(Real)),
    ("reactive_power_demand", Q::Demand(Reactive)),
    ("apparent_power_demand", Q::Demand(Apparent)),
    ("real_power_demand_max", Q::HighestDemand(Real)),
    ("reactive_power_demand_max", Q::HighestDemand(Reactive)),
    ("apparent_power_demand_max", Q::HighestDemand(Apparent)),
    ("pulse_counter_1", Q::Pulses(0)),
    ("pulse_counter_2", Q::Pulses(1)),
    ("real_energy_a", Q::PhaseEnergy(0)),
    ("real_energy_b", Q::PhaseEnergy(1)),
    ("real_energy_c", Q::PhaseEnergy(2)),
    ("command", Q::Command),
    ("system_type", Q::Setting(Setting::SystemType)),
    ("ct_primary", Q::Setting(Setting::SensorRating)),
    ("reserved_132", Q::NotAvailable),
    ("pt_ratio", Q::Setting(Setting::TransformerRatio)),
    ("system_voltage", Q::Setting(Setting::SystemVoltage)),
    ("max_theoretical_power", Q::FullScale),
    ("reserved_136", Q::Zero),
    ("display_units", Q::Setting(Setting::DisplaySymbols)),
    ("scale_current", Q::Exponent(Scaled::Current)),
    ("scale_voltage", Q::Exponent(Scaled::Voltage)),
    ("scale_power", Q::Exponent(Scaled::Power)),
    ("scale_energy", Q::Exponent(Scaled::Energy)),
    ("phase_loss_threshold", Q::Setting(Setting::PhaseLoss)),
    ("phase_loss_imbalance", Q::Setting(Setting::Imbalance)),
    ("pulse_energy", Q::Setting(Setting::PulseEnergy)),
    ("pulse_duration", Q::PulseDuration),
    ("alert_bitmap", Q::Alerts),
    ("energy_reset_count", Q::EnergyClears),
    ("reserved_148", Q::Zero),
    ("demand_subintervals", Q::Setting(Setting::Subintervals)),
    ("demand_subinterval_s", Q::Setting(Setting::Subinterval)),
    ("reserved_151", Q::Setting(Setting::Nothing)),
    ("power_up_count", Q::PowerUps),
    ("output_config", Q::Zero),
    ("reserved_154", Q::Zero),
    ("firmware_version_os", Q::Firmware),
];
