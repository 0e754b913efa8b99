//! The settings of a simulated meter, registers 129 to 154: their ranges, their defaults, what follows from them.
//!
//! A write is judged here and refused with the exception a unit gives; it never acts on the meter's totals.
//! Source: the Series 4000-R guide's point table and configuration chapter; printed numbers count from 1.

use std::ops::Range;

use super::load::{Load, PHASES};
use super::registers::{
    CONFIGURATION_LENGTH, CONFIGURATION_START, Exponents, NOT_AVAILABLE, Value, exponent_for, step,
};
use crate::modbus::pdu::ExceptionCode;

/// The settings a client may write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    wiring: Wiring,
    /// 131, amperes.
    sensor_rating: u16,
    /// 133, times 100.
    transformer_ratio: u16,
    /// 134, volts.
    system_voltage: u16,
    /// 137: 0 IEC, 1 IEEE.
    symbols: u16,
    /// 142, percent.
    phase_loss: u16,
    /// 143, percent.
    imbalance: u16,
    /// 144, Wh and varh.
    pulse_energy: u16,
    /// 149.
    subintervals: u16,
    /// 150, seconds; 0: ended by a command.
    subinterval: u16,
}

/// Which conductors are connected (register 130).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wiring {
    system_type: u16,
    /// Phases with a sensor, from A on.
    pub(crate) phases: usize,
    /// Voltages to neutral that mean something, from A on.
    to_neutral: usize,
    /// Voltages between phases that mean something, in the order AB, BC, AC.
    between: usize,
}

/// Voltages in the order of the map.
pub(crate) struct Voltages {
    pub(crate) mean_between: Value,
    pub(crate) mean_to_neutral: Value,
    /// AB, BC, AC.
    pub(crate) between: [Value; PHASES],
    /// A, B, C.
    pub(crate) to_neutral: [Value; PHASES],
}

impl Setup {
    /// The settings of a meter put into a 480 V wye service with sensors of this rating.
    pub(crate) fn new(sensor_rating: u16) -> Self {
        Self {
            wiring: WYE,
            sensor_rating,
            transformer_ratio: 100,
            system_voltage: 480,
            symbols: 1,
            phase_loss: 10,
            imbalance: 25,
            pulse_energy: 1000,
            subintervals: 1,
            subinterval: 900,
        }
    }

    /// Sets the register at a wire address.
    ///
    /// # Errors
    /// 0x02 where there is nothing to write, 0x03 where the value is outside the register's range.
    pub(crate) fn write(&mut self, address: u32, value: u16) -> Result<(), ExceptionCode> {
        let (register, allowed) = match address + 1 {
            130 => {
                self.wiring = Wiring::new(value).ok_or(ExceptionCode::ILLEGAL_DATA_VALUE)?;
                return Ok(());
            }
            131 => (&mut self.sensor_rating, (20..=5000).contains(&value)),
            133 => (&mut self.transformer_ratio, (1..=32000).contains(&value)),
            134 => (&mut self.system_voltage, (82..=32000).contains(&value)),
            137 => (&mut self.symbols, value <= 1),
            142 => (&mut self.phase_loss, (1..=99).contains(&value)),
            143 => (&mut self.imbalance, (1..=99).contains(&value)),
            144 => (&mut self.pulse_energy, [10, 100, 1000, 10000].contains(&value)),
            149 => (&mut self.subintervals, (1..=6).contains(&value)),
            150 => (&mut self.subinterval, value == 0 || (10..=32767).contains(&value)),
            _ => return Err(ExceptionCode::ILLEGAL_DATA_ADDRESS),
        };
        if !allowed {
            return Err(ExceptionCode::ILLEGAL_DATA_VALUE);
        }
        *register = value;
        Ok(())
    }

    /// Whether a write from `before` to these settings is one the meter takes.
    ///
    /// # Errors
    /// 0x03 when a new system voltage does not fit the transformer ratio, or a new pulse weight is too small
    /// for the contact at full-scale power. Both are judged only when they are written, as in the meter.
    pub(crate) fn check(&self, before: &Self) -> Result<(), ExceptionCode> {
        let at_the_meter = f64::from(self.system_voltage) * 100.0 / f64::from(self.transformer_ratio);
        let voltage_is_wrong =
            self.system_voltage != before.system_voltage && !(82.0..=660.0).contains(&at_the_meter);
        let pulses_are_too_many = self.pulse_energy != before.pulse_energy && self.pulse_duration().is_none();
        if voltage_is_wrong || pulses_are_too_many {
            return Err(ExceptionCode::ILLEGAL_DATA_VALUE);
        }
        Ok(())
    }

    /// Registers 129 to 154, as they are read. The command register 129 always reads 0.
    pub(crate) fn registers(&self, energy_clears: u16) -> [u16; CONFIGURATION_LENGTH] {
        let exponents = self.exponents();
        let mut words = [0; CONFIGURATION_LENGTH];
        let mut set =
            |printed: u16, value: u16| words[usize::from(printed - 1 - CONFIGURATION_START)] = value;
        set(130, self.wiring.system_type);
        set(131, self.sensor_rating);
        set(132, NOT_AVAILABLE);
        set(133, self.transformer_ratio);
        set(134, self.system_voltage);
        set(135, word(self.full_scale() / step(exponents.power)));
        set(137, self.symbols);
        set(138, signed(exponents.current));
        set(139, signed(exponents.voltage));
        set(140, signed(exponents.power));
        set(141, signed(exponents.energy));
        set(142, self.phase_loss);
        set(143, self.imbalance);
        set(144, self.pulse_energy);
        set(145, self.pulse_duration().unwrap_or(PULSE_DURATIONS[PULSE_DURATIONS.len() - 1]));
        set(146, if self.pulse_duration().is_some() { 0 } else { ALERT_PULSE_WEIGHT });
        set(147, energy_clears);
        set(149, self.subintervals);
        set(150, self.subinterval);
        set(152, 1);
        words
    }

    /// The exponents of the integer registers. Full scale is taken with a fifth to spare, so that a service
    /// somewhat above its nominal voltage still shows.
    pub(crate) fn exponents(&self) -> Exponents {
        let power = exponent_for(self.full_scale() * HEADROOM);
        Exponents {
            current: exponent_for(f64::from(self.sensor_rating) * HEADROOM),
            voltage: exponent_for(f64::from(self.system_voltage) * HEADROOM),
            power,
            energy: power,
        }
    }

    /// Phases whose power is measured.
    pub(crate) fn phases(&self) -> Range<usize> {
        0..self.wiring.phases
    }

    pub(crate) fn wiring(&self) -> Wiring {
        self.wiring
    }

    /// kWh or kvarh of one pulse.
    pub(crate) fn pulse_weight(&self) -> f64 {
        f64::from(self.pulse_energy) / 1000.0
    }

    /// Seconds of one demand interval; 0: ended by a command only.
    pub(crate) fn demand_interval(&self) -> u64 {
        u64::from(self.subintervals) * u64::from(self.subinterval)
    }

    /// Register 135: the most power the sensors and the service allow, in kW.
    fn full_scale(&self) -> f64 {
        let share = if self.wiring.phases == PHASES { 3_f64.sqrt() } else { 1.0 };
        share * f64::from(self.system_voltage) * f64::from(self.sensor_rating) / 1000.0
    }

    /// Register 145: the longest closure, in milliseconds, at which the contact can follow full-scale power.
    fn pulse_duration(&self) -> Option<u16> {
        let watts = self.full_scale() * 1000.0;
        PULSE_DURATIONS
            .into_iter()
            .find(|duration| 1_800_000.0 * f64::from(self.pulse_energy) / f64::from(*duration) >= watts)
    }
}

impl Wiring {
    fn new(system_type: u16) -> Option<Self> {
        let (phases, to_neutral, between) = match system_type {
            10 => (1, 1, 0),
            11 => (1, 0, 1),
            12 => (2, 2, 1),
            31 => (3, 0, 3),
            40 => return Some(WYE),
            _ => return None,
        };
        Some(Self { system_type, phases, to_neutral, between })
    }

    /// The voltages that mean something with this wiring.
    pub(crate) fn voltages(&self, load: &Load, at: u64) -> Voltages {
        let pairs = [(0, 1), (1, 2), (0, 2)];
        let between = std::array::from_fn(|pair| {
            let (one, other) = pairs[pair];
            (pair < self.between).then(|| load.voltage_between(one, other, at))
        });
        let to_neutral =
            std::array::from_fn(|phase| (phase < self.to_neutral).then(|| load.voltage(phase, at)));
        Voltages { mean_between: mean(&between), mean_to_neutral: mean(&to_neutral), between, to_neutral }
    }
}

/// The mean of the values that mean something; `None` if none does.
fn mean(values: &[Value]) -> Value {
    let count = values.iter().flatten().count();
    (count > 0).then(|| values.iter().flatten().sum::<f64>() / count as f64)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 1..=32767 before")]
fn word(value: f64) -> u16 {
    value.round().clamp(1.0, 32767.0) as u16
}

/// A signed register's word.
fn signed(value: i8) -> u16 {
    u16::from_be_bytes(i16::from(value).to_be_bytes())
}

/// Four-wire wye: everything is connected.
const WYE: Wiring = Wiring { system_type: 40, phases: 3, to_neutral: 3, between: 3 };

/// Contact closures the meter can choose from, in milliseconds.
const PULSE_DURATIONS: [u16; 6] = [500, 250, 100, 50, 25, 10];

/// Alert bit 15: the pulse weight is too small for full-scale power.
const ALERT_PULSE_WEIGHT: u16 = 1 << 15;

/// Room above full scale in the integer registers.
const HEADROOM: f64 = 1.2;
