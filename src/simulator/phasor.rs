//! Voltages and currents as phasors: a magnitude and an angle.
//!
//! Owns the arithmetic that an electrical service needs; it has no meters.

use std::f64::consts::PI;
use std::ops::{Add, Neg, Sub};

/// A sinusoid of the line's frequency, as a complex number with its RMS value as magnitude.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Phasor {
    real: f64,
    imaginary: f64,
}

impl Phasor {
    /// A phasor of this magnitude and angle.
    pub(crate) fn new(size: f64, degrees: f64) -> Self {
        let (sine, cosine) = libm::sincos(degrees / 180.0 * PI);
        Self { real: size * cosine, imaginary: size * sine }
    }

    /// Its RMS value.
    pub(crate) fn size(self) -> f64 {
        libm::hypot(self.real, self.imaginary)
    }

    /// The same direction with this magnitude; zero has no direction.
    pub(crate) fn scaled_to(self, size: f64) -> Self {
        let own = self.size();
        if own > 0.0 { self.times(size / own) } else { self }
    }

    /// Rotated by this angle.
    pub(crate) fn turned(self, degrees: f64) -> Self {
        let turn = Self::new(1.0, degrees);
        Self {
            real: self.real * turn.real - self.imaginary * turn.imaginary,
            imaginary: self.real * turn.imaginary + self.imaginary * turn.real,
        }
    }

    /// Multiplied by a factor.
    pub(crate) fn times(self, factor: f64) -> Self {
        Self { real: self.real * factor, imaginary: self.imaginary * factor }
    }

    /// Of a voltage: the real power of this current; negative for a reverse flow.
    pub(crate) fn real_power(self, current: Self) -> f64 {
        self.real * current.real + self.imaginary * current.imaginary
    }
}

impl Add for Phasor {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { real: self.real + other.real, imaginary: self.imaginary + other.imaginary }
    }
}

impl Sub for Phasor {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Neg for Phasor {
    type Output = Self;

    fn neg(self) -> Self {
        self.times(-1.0)
    }
}
