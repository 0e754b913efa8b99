//! The settings of a simulated meter: which may be written, and what follows from them.
//!
//! Checks a write and refuses it with the exception of a real unit; it never changes the meter's totals. The range of
//! each setting is in the profile. Source: the Series 4000-R guide's configuration chapter. How a refusal shows on the
//! bus is not documented.

use super::measure::Measured;
use super::service::{InstrumentRatios, Service};
use super::settings::SystemType;
use crate::modbus::pdu::ExceptionCode;

/// A setting that a client may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    SystemType,
    SensorRating,
    TransformerRatio,
    SystemVoltage,
    DisplaySymbols,
    PhaseLoss,
    Imbalance,
    PulseEnergy,
    Subintervals,
    Subinterval,
    /// Accepts every value and keeps none (151).
    Nothing,
}

/// The settings a client may write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Setup {
    pub(crate) wiring: SystemType,
    /// Amperes.
    sensor_rating: u16,
    /// Times 100.
    transformer_ratio: u16,
    /// Volts.
    system_voltage: u16,
    /// 0 IEC, 1 IEEE.
    symbols: u16,
    /// Percent.
    phase_loss: u16,
    /// Percent.
    imbalance: u16,
    /// Wh and varh.
    pulse_energy: u16,
    pub(crate) subintervals: u16,
    /// Seconds; 0: ended by a command.
    pub(crate) subinterval: u16,
}

/// The exponents of registers 138 to 141: an integer register counts steps of ten to this power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exponents {
    pub(crate) current: i8,
    pub(crate) voltage: i8,
    pub(crate) power: i8,
    pub(crate) energy: i8,
}

impl Setup {
    /// The settings of a meter configured for its service; everything else as delivered.
    pub(crate) fn new(wiring: SystemType, service: &Service) -> Self {
        let setup = Self {
            wiring,
            sensor_rating: service.sensor_rating,
            transformer_ratio: service.transformer_ratio,
            system_voltage: service.system_voltage,
            symbols: 1,
            phase_loss: 10,
            imbalance: 25,
            pulse_energy: 1000,
            subintervals: 1,
            subinterval: 900,
        };
        // The installer chose a pulse the contact can follow.
        let weights = PULSE_WEIGHTS.into_iter().filter(|weight| *weight >= setup.pulse_energy);
        let mut fits = weights.map(|pulse_energy| Self { pulse_energy, ..setup });
        fits.find(|setup| setup.pulse_duration().is_some()).unwrap_or(setup)
    }

    /// The value of a setting.
    pub(crate) fn get(&self, setting: Setting) -> u16 {
        match setting {
            Setting::SystemType => self.wiring.code(),
            Setting::SensorRating => self.sensor_rating,
            Setting::TransformerRatio => self.transformer_ratio,
            Setting::SystemVoltage => self.system_voltage,
            Setting::DisplaySymbols => self.symbols,
            Setting::PhaseLoss => self.phase_loss,
            Setting::Imbalance => self.imbalance,
            Setting::PulseEnergy => self.pulse_energy,
            Setting::Subintervals => self.subintervals,
            Setting::Subinterval => self.subinterval,
            Setting::Nothing => 0,
        }
    }

    /// Changes one of them, within the range of the profile.
    ///
    /// # Errors
    /// 0x03 for an unknown system type.
    pub(crate) fn set(&mut self, setting: Setting, value: u16) -> Result<(), ExceptionCode> {
        let register = match setting {
            Setting::SystemType => {
                self.wiring = SystemType::from_code(value).ok_or(ExceptionCode::ILLEGAL_DATA_VALUE)?;
                return Ok(());
            }
            Setting::SensorRating => &mut self.sensor_rating,
            Setting::TransformerRatio => &mut self.transformer_ratio,
            Setting::SystemVoltage => &mut self.system_voltage,
            Setting::DisplaySymbols => &mut self.symbols,
            Setting::PhaseLoss => &mut self.phase_loss,
            Setting::Imbalance => &mut self.imbalance,
            Setting::PulseEnergy => &mut self.pulse_energy,
            Setting::Subintervals => &mut self.subintervals,
            Setting::Subinterval => &mut self.subinterval,
            Setting::Nothing => return Ok(()),
        };
        *register = value;
        Ok(())
    }

    /// Whether the meter accepts a write of these settings: a system voltage that fits the transformer ratio, and a
    /// pulse weight that the contact can follow at full-scale power. Each is checked when it is written, whether or not
    /// it changes, and not when a setting it depends on is.
    ///
    /// # Errors
    /// 0x03.
    pub(crate) fn check(&self, written: &[Setting]) -> Result<(), ExceptionCode> {
        let voltage = written.contains(&Setting::SystemVoltage);
        let pulses = written.contains(&Setting::PulseEnergy);
        if voltage && !INPUT_VOLTS.contains(&self.at_the_input(f64::from(self.system_voltage)))
            || pulses && self.pulse_duration().is_none()
        {
            return Err(ExceptionCode::ILLEGAL_DATA_VALUE);
        }
        Ok(())
    }

    /// Whether measurements so far cannot be compared with those under the new settings.
    pub(crate) fn measures_otherwise(&self, before: &Self) -> bool {
        let key = |setup: &Self| {
            let demand = (setup.subintervals, setup.subinterval);
            (setup.wiring, setup.sensor_rating, setup.transformer_ratio, demand)
        };
        key(self) != key(before)
    }

    /// How the meter sees its service. A ratio other than the fitted one makes it read too much or too little.
    pub(crate) fn ratios(&self, service: &Service) -> InstrumentRatios {
        InstrumentRatios {
            wiring: self.wiring,
            voltage: f64::from(self.transformer_ratio) / f64::from(service.transformer_ratio),
            current: f64::from(self.sensor_rating) / f64::from(service.sensor_rating),
        }
    }

    /// The exponents of the integer registers: the smallest at which full scale, with a margin, still fits.
    pub(crate) fn exponents(&self) -> Exponents {
        let power = exponent_for(self.full_scale() * HEADROOM);
        Exponents {
            current: exponent_for(f64::from(self.sensor_rating) * HEADROOM),
            voltage: exponent_for(f64::from(self.system_voltage) * HEADROOM),
            power,
            energy: power,
        }
    }

    /// kWh or kvarh of one pulse.
    pub(crate) fn pulse_weight(&self) -> f64 {
        f64::from(self.pulse_energy) / 1000.0
    }

    /// Sub-intervals of one demand interval. If a command ends them, each is an interval of its own.
    pub(crate) fn demand_subintervals(&self) -> usize {
        if self.subinterval == 0 { 1 } else { usize::from(self.subintervals) }
    }

    /// Register 135: the most power the sensors and the service allow, in kW.
    pub(crate) fn full_scale(&self) -> f64 {
        let share = match self.wiring {
            SystemType::SinglePhase | SystemType::SinglePhaseAB | SystemType::SplitPhase => 1.0,
            SystemType::Delta | SystemType::Wye => 3_f64.sqrt(),
        };
        share * f64::from(self.system_voltage) * f64::from(self.sensor_rating) / 1000.0
    }

    /// Register 145: the longest closure, in milliseconds, at which the contact can follow full-scale power.
    pub(crate) fn pulse_duration(&self) -> Option<u16> {
        self.closure_for(self.full_scale())
    }

    fn closure_for(&self, kilowatts: f64) -> Option<u16> {
        let limit = |closure: u16| 1800.0 * f64::from(self.pulse_energy) / f64::from(closure);
        CLOSURES.into_iter().find(|closure| limit(*closure) >= kilowatts)
    }

    /// Volts behind the voltage transformers, where the meter's input is.
    fn at_the_input(&self, volts: f64) -> f64 {
        volts * 100.0 / f64::from(self.transformer_ratio)
    }
}

/// The meaning of an alert bit of register 146, and its phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AlertBit {
    Voltage(usize),
    Current(usize),
    Frequency,
    PhaseLoss(usize),
    PowerFactor(usize),
    PulsesLate,
    PulsesTooSmall,
}

impl AlertBit {
    /// The alert with this name in the profile.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let phase = match name.rsplit('_').next() {
            Some("a") => Some(0),
            Some("b") => Some(1),
            Some("c") => Some(2),
            Some(_) | None => None,
        };
        match (name, phase) {
            ("frequency", _) => Some(Self::Frequency),
            ("pulses_late", _) => Some(Self::PulsesLate),
            ("pulses_too_small", _) => Some(Self::PulsesTooSmall),
            ("voltage_a" | "voltage_b" | "voltage_c", Some(phase)) => Some(Self::Voltage(phase)),
            ("current_a" | "current_b" | "current_c", Some(phase)) => Some(Self::Current(phase)),
            ("phase_loss_a" | "phase_loss_b" | "phase_loss_c", Some(phase)) => Some(Self::PhaseLoss(phase)),
            ("power_factor_a" | "power_factor_b" | "power_factor_c", Some(phase)) => {
                Some(Self::PowerFactor(phase))
            }
            (_, _) => None,
        }
    }

    /// Whether it is active. The guide documents the meaning of each bit, not its threshold; the thresholds here are
    /// inferred from the documented ranges of settings, except that of the power factor.
    pub(crate) fn is_active(self, setup: &Setup, measured: &Measured, frequency: Option<f64>) -> bool {
        let has = |phase: usize| phase < setup.wiring.phases();
        match self {
            Self::Voltage(phase) => {
                let volts = setup.at_the_input(measured.across[phase] * line_over_phase(setup.wiring));
                has(phase) && !INPUT_VOLTS.contains(&volts)
            }
            Self::Current(phase) => {
                has(phase) && measured.currents[phase] > f64::from(setup.sensor_rating) * HEADROOM
            }
            Self::Frequency => !frequency.is_some_and(|hertz| (45.0..=65.0).contains(&hertz)),
            Self::PhaseLoss(phase) => phase_is_lost(setup, measured, phase),
            Self::PowerFactor(phase) => {
                let power = measured.powers[phase];
                has(phase) && power.apparent > 0.0 && power.factor() < 0.5
            }
            Self::PulsesLate => setup.closure_for(measured.total.real).is_none(),
            Self::PulsesTooSmall => setup.pulse_duration().is_none(),
        }
    }
}

/// The voltages that the guide's table checks: to neutral where there is one, else between phases. Where the voltages
/// to neutral are good, those between phases are good, too, and need no check.
fn phase_is_lost(setup: &Setup, measured: &Measured, phase: usize) -> bool {
    let nominal = f64::from(setup.system_voltage);
    let is_low = |volts: f64, nominal: f64, highest: f64| {
        volts < nominal * (1.0 - f64::from(setup.phase_loss) / 100.0)
            || volts < highest * (1.0 - f64::from(setup.imbalance) / 100.0)
    };
    if phase >= setup.wiring.conductors() {
        return false;
    }
    if setup.wiring.has_neutral() {
        let highest = measured.to_neutral.iter().copied().fold(0.0, f64::max);
        return is_low(measured.to_neutral[phase], nominal / line_over_phase(setup.wiring), highest);
    }
    let highest = measured.between.iter().copied().fold(0.0, f64::max);
    let mut own = super::measure::PAIRS
        .iter()
        .zip(measured.between)
        .filter(|((one, other), _)| (*one == phase || *other == phase) && *other < setup.wiring.conductors());
    // In a delta a lost phase lowers both of its voltages; if only one is low, another phase is lost.
    own.all(|(_, volts)| is_low(volts, nominal, highest))
}

/// The ratio of the system voltage to the voltage that goes with one phase's current.
fn line_over_phase(wiring: SystemType) -> f64 {
    match wiring {
        SystemType::SinglePhase | SystemType::SinglePhaseAB => 1.0,
        SystemType::SplitPhase => 2.0,
        SystemType::Delta | SystemType::Wye => 3_f64.sqrt(),
    }
}

/// One step of an integer register with this exponent.
pub(crate) fn step(exponent: i8) -> f64 {
    10_f64.powi(i32::from(exponent))
}

/// The smallest exponent of -4 to 4 at which `full_scale` still fits a measured word.
fn exponent_for(full_scale: f64) -> i8 {
    (-4..4).find(|exponent| full_scale / step(*exponent) <= f64::from(WORD_MAX)).unwrap_or(4)
}

/// Range of volts between phases of the meter's input.
const INPUT_VOLTS: std::ops::RangeInclusive<f64> = 82.0..=660.0;

/// Contact closures the meter offers, in milliseconds.
const CLOSURES: [u16; 6] = [500, 250, 100, 50, 25, 10];

/// Energies of one pulse, in Wh.
const PULSE_WEIGHTS: [u16; 4] = [10, 100, 1000, 10000];

/// Margin above full scale in the integer registers, and above the rating of a sensor.
const HEADROOM: f64 = 1.2;

/// Highest printed value of a measured word.
const WORD_MAX: u16 = 32767;
