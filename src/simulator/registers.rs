//! The register map of a simulated meter: which value stands where, in which of its two representations.
//!
//! Owns the order of the points, their words and the not-available codes. It never computes a value.
//! Source: the Series 4000-R guide's point table; printed register numbers count from 1, the wire from 0.

/// One value, or `None` where the wiring gives it no meaning.
pub(crate) type Value = Option<f64>;

/// All measured values of one instant, in the order of the map.
///
/// The integers (printed 1 to 52) and the floats (257 to 346) are the same list in two representations.
#[derive(Clone, Debug)]
pub(crate) struct Readings(pub(crate) [Value; POINTS]);

/// The exponents of registers 138 to 141: an integer register counts steps of ten to this power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exponents {
    /// Register 138, amperes.
    pub(crate) current: i8,
    /// Register 139, volts.
    pub(crate) voltage: i8,
    /// Register 140, kW, kvar and kVA.
    pub(crate) power: i8,
    /// Register 141, kWh, kvarh and kVAh.
    pub(crate) energy: i8,
}

/// Points of the map, the second float copy of the real energy not counted.
pub(crate) const POINTS: usize = 44;

/// First wire address of the integers (printed 1 to 52).
pub(crate) const INTEGERS_START: u16 = 0;
/// First wire address of the configuration (printed 129 to 154).
pub(crate) const CONFIGURATION_START: u16 = 128;
/// Registers of the configuration.
pub(crate) const CONFIGURATION_LENGTH: usize = 26;
/// First wire address of the floats (printed 257 to 346).
pub(crate) const FLOATS_START: u16 = 256;
/// Wire address of the firmware version (printed 7001).
pub(crate) const FIRMWARE_START: u16 = 7000;

impl Readings {
    /// The words of registers 1 to 52.
    pub(crate) fn integers(&self, exponents: Exponents) -> Vec<u16> {
        let mut words = Vec::with_capacity(52);
        for (value, kind) in self.0.iter().zip(KINDS) {
            match kind {
                Kind::Current => words.push(word(*value, step(exponents.current))),
                Kind::Voltage => words.push(word(*value, step(exponents.voltage))),
                Kind::Power => words.push(word(*value, step(exponents.power))),
                Kind::PowerFactor => words.push(word(*value, 0.0001)),
                Kind::Frequency => words.push(word(*value, 0.01)),
                Kind::Reserved => words.push(NOT_AVAILABLE),
                Kind::Energy => words.extend(double_word(*value, step(exponents.energy))),
                Kind::Pulses => words.extend(double_word(*value, 1.0)),
            }
        }
        words
    }

    /// The words of registers 257 to 346. The real energy stands there twice, as in the meter.
    pub(crate) fn floats(&self) -> Vec<u16> {
        let first_again = self.0.iter().take(1);
        first_again.chain(&self.0).flat_map(|value| float_words(*value)).collect()
    }
}

/// How a point is counted.
#[derive(Clone, Copy)]
enum Kind {
    Energy,
    Power,
    PowerFactor,
    Voltage,
    Current,
    Frequency,
    Pulses,
    Reserved,
}

/// One step of an integer register with this exponent.
pub(crate) fn step(exponent: i8) -> f64 {
    10_f64.powi(i32::from(exponent))
}

/// The smallest exponent of -4 to 4 at which `full_scale` still fits a measured word.
pub(crate) fn exponent_for(full_scale: f64) -> i8 {
    (-4..4).find(|exponent| full_scale / step(*exponent) <= f64::from(WORD_MAX)).unwrap_or(4)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=32767 before")]
fn word(value: Value, step: f64) -> u16 {
    value.map_or(NOT_AVAILABLE, |value| (value / step).round().clamp(0.0, f64::from(WORD_MAX)) as u16)
}

/// High word first. A total rolls over at 2^32 steps, as a counter does.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rolling over is meant")]
fn double_word(value: Value, step: f64) -> [u16; 2] {
    let steps = (value.unwrap_or(0.0) / step).max(0.0) as u64 as u32;
    [(steps >> 16) as u16, steps as u16]
}

#[expect(clippy::cast_possible_truncation, reason = "the meter's floats are of single precision")]
fn float_words(value: Value) -> [u16; 2] {
    let bits = value.map_or(NOT_AVAILABLE_FLOAT, |value| (value as f32).to_bits());
    [(bits >> 16) as u16, bits as u16]
}

/// "Not valid for this system type" in an integer register.
pub(crate) const NOT_AVAILABLE: u16 = 0x8000;

/// The same in a float pair.
const NOT_AVAILABLE_FLOAT: u32 = 0x7FC0_0000;

/// Highest printed value of a measured word.
const WORD_MAX: u16 = 32767;

/// The map's points in order: printed integer registers 1, 3 to 26, 27, 29, 31 to 42, 43, 45, 47, 49, 51.
const KINDS: [Kind; POINTS] = {
    use Kind::*;
    [
        Energy,
        Power,
        Power,
        Power,
        PowerFactor,
        Voltage,
        Voltage,
        Current, //
        Power,
        Power,
        Power,
        PowerFactor,
        PowerFactor,
        PowerFactor, //
        Voltage,
        Voltage,
        Voltage,
        Voltage,
        Voltage,
        Voltage,
        Current,
        Current,
        Current, //
        Reserved,
        Frequency,
        Energy,
        Energy, //
        Power,
        Power,
        Power,
        Power,
        Power,
        Power,
        Power,
        Power,
        Power,
        Power,
        Power,
        Power, //
        Pulses,
        Pulses,
        Energy,
        Energy,
        Energy,
    ]
};
