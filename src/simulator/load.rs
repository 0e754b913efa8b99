//! What flows through one simulated meter: a load that breathes, and the energy it has used so far.
//!
//! Everything here is a closed formula of the seed and of the seconds since the start, so that a run repeats
//! exactly however often it is asked, and a month passes as cheaply as a second. It never knows a register.

use std::f64::consts::TAU;

/// Phases of the service.
pub(crate) const PHASES: usize = 3;

/// The electrical side of one meter: a 277/480 V wye service and the load behind it.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    phases: [Phase; PHASES],
    frequency: Wave,
    /// Rating of the current sensors the load was chosen for, in amperes.
    pub(crate) sensor_rating: u16,
}

/// Real, reactive and apparent power of one phase or more, in kW, kvar and kVA; or the same times hours.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Power {
    pub(crate) real: f64,
    pub(crate) reactive: f64,
    pub(crate) apparent: f64,
}

#[derive(Clone, Debug)]
struct Phase {
    /// Mean real power in kW.
    mean: f64,
    power_factor: f64,
    swings: [Wave; 3],
    voltage: Wave,
}

/// A sine that moves a value by a `share` of its mean every `period` seconds.
#[derive(Clone, Copy, Debug)]
struct Wave {
    share: f64,
    period: f64,
    shift: f64,
}

impl Load {
    /// The load behind the meter `unit` of a chain with this seed.
    pub(crate) fn new(unit: u8, seed: u64) -> Self {
        let mut dice = Dice(seed ^ u64::from(unit).wrapping_mul(0xA24B_AED4_963E_E407));
        let sensor_rating = SENSOR_RATINGS[dice.below(SENSOR_RATINGS.len())];
        let share_of_rating = dice.between(0.3, 0.6);
        let phases = std::array::from_fn(|_| {
            let power_factor = dice.between(0.86, 0.98);
            let amperes = f64::from(sensor_rating) * share_of_rating * dice.between(0.9, 1.1);
            Phase {
                mean: VOLTAGE * amperes * power_factor / 1000.0,
                power_factor,
                swings: SWINGS.map(|(share, period)| dice.wave(share, period)),
                voltage: dice.wave(0.006, 433.0),
            }
        });
        Self { phases, frequency: dice.wave(0.0004, 61.0), sensor_rating }
    }

    /// Power of one phase, `at` seconds after the start.
    pub(crate) fn power(&self, phase: usize, at: u64) -> Power {
        let phase = &self.phases[phase];
        let level: f64 = phase.swings.iter().map(|wave| wave.value(at)).sum();
        phase.split(phase.mean * (1.0 + level))
    }

    /// Energy through one phase between two instants, in seconds after the start: the integral of its power.
    pub(crate) fn energy(&self, phase: usize, from: u64, to: u64) -> Power {
        let phase = &self.phases[phase];
        let seconds = to.saturating_sub(from) as f64;
        let level: f64 = phase.swings.iter().map(|wave| wave.integral(to) - wave.integral(from)).sum();
        phase.split(phase.mean * (seconds + level) / 3600.0)
    }

    /// What the phase had used before the simulation began: some thousand hours of its mean.
    pub(crate) fn used_before(&self, phase: usize) -> Power {
        let phase = &self.phases[phase];
        phase.split(phase.mean * HOURS_BEFORE)
    }

    /// Volts between a phase and neutral.
    pub(crate) fn voltage(&self, phase: usize, at: u64) -> f64 {
        VOLTAGE * (1.0 + self.phases[phase].voltage.value(at))
    }

    /// Volts between two phases that are a third of a turn apart.
    pub(crate) fn voltage_between(&self, one: usize, other: usize, at: u64) -> f64 {
        let (a, b) = (self.voltage(one, at), self.voltage(other, at));
        (a * a + b * b + a * b).sqrt()
    }

    /// Amperes of one phase.
    pub(crate) fn current(&self, phase: usize, at: u64) -> f64 {
        self.power(phase, at).apparent * 1000.0 / self.voltage(phase, at)
    }

    /// Hertz.
    pub(crate) fn frequency(&self, at: u64) -> f64 {
        FREQUENCY * (1.0 + self.frequency.value(at))
    }
}

impl Phase {
    /// The three powers that go with a real power at this phase's power factor.
    fn split(&self, real: f64) -> Power {
        let apparent = real / self.power_factor;
        let reactive = apparent * (1.0 - self.power_factor * self.power_factor).sqrt();
        Power { real, reactive, apparent }
    }
}

impl Power {
    /// The sum of two powers or energies.
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

impl Wave {
    fn angle(&self, at: u64) -> f64 {
        TAU * at as f64 / self.period + self.shift
    }

    fn value(&self, at: u64) -> f64 {
        self.share * self.angle(at).sin()
    }

    /// The antiderivative of [`value`](Self::value), in seconds.
    fn integral(&self, at: u64) -> f64 {
        -self.share * self.period / TAU * self.angle(at).cos()
    }
}

/// A small generator of repeatable numbers (SplitMix64): equal seeds, equal meters.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        // 53 bits are what a double holds.
        low + (high - low) * ((self.next() >> 11) as f64 / (1_u64 << 53) as f64)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("the remainder is below a usize")
    }

    fn wave(&mut self, share: f64, period: f64) -> Wave {
        Wave { share, period: period * self.between(0.9, 1.1), shift: self.between(0.0, TAU) }
    }
}

/// Nominal volts between a phase and neutral.
const VOLTAGE: f64 = 277.13;

/// Nominal hertz.
const FREQUENCY: f64 = 60.0;

/// Rope-sensor ratings a meter may come with, in amperes.
const SENSOR_RATINGS: [u16; 5] = [100, 200, 400, 800, 1600];

/// How a load moves: share of its mean and seconds of one turn; together always below 1.
const SWINGS: [(f64, f64); 3] = [(0.25, 5400.0), (0.12, 420.0), (0.04, 23.0)];

/// Hours of mean load on the totals at the start.
const HOURS_BEFORE: f64 = 2500.0;
