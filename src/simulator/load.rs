//! How much of a load is on: a curve around 1, and its integral over time.
//!
//! A closed formula of the seed and of the seconds since the start, so that a run repeats exactly however often it is
//! evaluated, and a month costs no more than a second. It has no voltages and no currents.

use std::f64::consts::TAU;

use super::rng::Rng;
use super::settings::Shape;

/// The curve of one meter's load.
#[derive(Clone, Debug)]
pub(crate) struct LoadCurve {
    waves: Vec<Wave>,
    switch: Option<Switch>,
}

/// A sine that moves a value by a `share` of its mean every `period` seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wave {
    share: f64,
    period: f64,
    shift: f64,
}

/// On for some seconds of each period.
#[derive(Clone, Copy, Debug)]
struct Switch {
    shift: u64,
}

impl LoadCurve {
    /// A curve of this shape.
    pub(crate) fn new(shape: Shape, rng: &mut Rng) -> Self {
        let mut waves = |swings: &[(f64, f64)]| {
            swings.iter().map(|(share, period)| Wave::new(*share, *period, rng)).collect()
        };
        match shape {
            Shape::Breathing => Self { waves: waves(&BREATHING), switch: None },
            Shape::Daily => Self { waves: waves(&DAILY), switch: None },
            Shape::Steady => Self { waves: Vec::new(), switch: None },
            Shape::Switching => {
                let shift = rng.next() % SWITCH_PERIOD;
                Self { waves: Vec::new(), switch: Some(Switch { shift }) }
            }
        }
    }

    /// The level in the second that begins at `at`; 1 is the mean, or for a switching load its level while on.
    pub(crate) fn level(&self, at: u64) -> f64 {
        let waves: f64 = self.waves.iter().map(|wave| wave.value(at)).sum();
        let switched = self.switch.map_or(1.0, |switch| {
            if switch.seconds_on(at + 1) > switch.seconds_on(at) { 1.0 } else { SWITCHED_OFF }
        });
        switched + waves
    }

    /// The integral of the level between two instants, in seconds.
    pub(crate) fn seconds(&self, from: u64, to: u64) -> f64 {
        let waves: f64 = self.waves.iter().map(|wave| wave.integral(to) - wave.integral(from)).sum();
        let passed = to.saturating_sub(from) as f64;
        let switched = self.switch.map_or(passed, |switch| {
            let on = switch.seconds_on(to).saturating_sub(switch.seconds_on(from)) as f64;
            on + (passed - on) * SWITCHED_OFF
        });
        switched + waves
    }
}

impl Wave {
    /// A wave of about this period.
    pub(crate) fn new(share: f64, period: f64, rng: &mut Rng) -> Self {
        Self { share, period: period * rng.between(0.9, 1.1), shift: rng.between(0.0, TAU) }
    }

    fn angle(&self, at: u64) -> f64 {
        TAU * at as f64 / self.period + self.shift
    }

    /// What the wave adds to the mean at an instant, as a share of it.
    pub(crate) fn value(&self, at: u64) -> f64 {
        self.share * libm::sin(self.angle(at))
    }

    /// The antiderivative of [`value`](Self::value), in seconds.
    fn integral(&self, at: u64) -> f64 {
        -self.share * self.period / TAU * libm::cos(self.angle(at))
    }
}

impl Switch {
    /// How many of the first `at` seconds it was on, counted from the beginning of a period.
    fn seconds_on(self, at: u64) -> u64 {
        let at = at + self.shift;
        at / SWITCH_PERIOD * SWITCH_ON + (at % SWITCH_PERIOD).min(SWITCH_ON)
    }
}

/// Waves of a breathing load: share of its mean and seconds of one period; together always below 1.
const BREATHING: [(f64, f64); 3] = [(0.25, 5400.0), (0.12, 420.0), (0.04, 23.0)];

/// Waves of a daily load.
const DAILY: [(f64, f64); 3] = [(0.6, 86400.0), (0.12, 1800.0), (0.04, 23.0)];

/// Seconds from one switching on to the next.
const SWITCH_PERIOD: u64 = 300;

/// Seconds of these it is on.
const SWITCH_ON: u64 = 180;

/// Level while it is off, as a share of that while it is on.
const SWITCHED_OFF: f64 = 0.05;
