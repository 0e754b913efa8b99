//! The vertical axis of a plot: a range in round steps.
//!
//! Owns the choice of the range and the labels of its ticks. Draws nothing.

/// A range cut into equal steps of 1, 2, 2.5 or 5 times a power of ten.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    bottom: f64,
    step: f64,
    /// How many steps there are, 1 to [`STEPS_MAX`].
    pub(super) steps: u32,
}

impl Scale {
    /// A scale that holds everything from `low` to `high`, both finite. It begins at 0 where that leaves at least
    /// half of it to the values, for a length on paper is taken for an amount; a voltage is shown close up.
    pub(super) fn around(low: f64, high: f64) -> Self {
        let from_zero = low >= 0.0 && low <= high / 2.0;
        // Close up, noise of a steady value must not fill the height.
        let least = (high.abs().max(low.abs()) * LEAST_SPREAD).max(f64::MIN_POSITIVE * 1e12);
        let spread = (high - low).max(least);
        let (low, high) = if from_zero {
            (0.0, high.max(least))
        } else if high - low < least {
            let middle = f64::midpoint(low, high);
            (middle - spread / 2.0, middle + spread / 2.0)
        } else {
            (low, high)
        };
        let rough = (high - low) / f64::from(STEPS_MAX);
        let power = libm::pow(10.0, libm::log10(rough).floor());
        for factor in FACTORS {
            let step = power * factor;
            let bottom = (low / step + ROUNDING).floor() * step;
            let steps =
                (1..=STEPS_MAX).find(|steps| bottom + step * f64::from(*steps) >= high - step * ROUNDING);
            if let Some(steps) = steps {
                return Self { bottom, step, steps };
            }
        }
        // Only a range beyond the numbers gets here.
        Self { bottom: low, step: high - low, steps: 1 }
    }

    /// Where `value` is, 0 at the bottom and 1 at the top.
    pub(super) fn share(&self, value: f64) -> f64 {
        (value - self.bottom) / (self.step * f64::from(self.steps))
    }

    /// The numbers at the ticks, topmost first.
    pub(super) fn ticks(&self) -> Vec<String> {
        let decimals = (0..DECIMALS_MAX)
            .find(|decimals| {
                let shifted = self.step * 10_f64.powi(i32::from(*decimals));
                (shifted - shifted.round()).abs() < ROUNDING
            })
            .unwrap_or(DECIMALS_MAX);
        let value = |step: u32| self.bottom + self.step * f64::from(step);
        (0..=self.steps).rev().map(|step| format!("{:.*}", usize::from(decimals), value(step))).collect()
    }
}

/// Largest number of steps.
const STEPS_MAX: u32 = 5;

/// Steps that can be read off, times a power of ten.
const FACTORS: [f64; 6] = [1.0, 2.0, 2.5, 5.0, 10.0, 20.0];

/// A steady value gets at least this share of itself as its range.
const LEAST_SPREAD: f64 = 0.02;

/// Tolerance for rounding errors, in steps.
const ROUNDING: f64 = 1e-6;

const DECIMALS_MAX: u8 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_begin_at_zero_and_levels_are_shown_close_up() {
        assert_eq!(Scale::around(1.2, 18.3).ticks(), ["20", "15", "10", "5", "0"]);
        assert_eq!(Scale::around(272.1, 279.4).ticks(), ["280", "278", "276", "274", "272"]);
        assert_eq!(Scale::around(0.0, 0.9).ticks(), ["1.0", "0.8", "0.6", "0.4", "0.2", "0.0"]);
    }

    #[test]
    fn every_range_has_a_scale_that_holds_it() {
        let edges = [-1e9, -277.0, -3.3, -1e-7, 0.0, 1e-7, 0.4, 1.0, 9.99, 277.0, 16_777_216.0, 3e38];
        for low in edges {
            for high in edges.into_iter().filter(|high| *high >= low) {
                let scale = Scale::around(low, high);
                let (bottom, top) = (scale.share(low), scale.share(high));
                assert!((-0.01..=1.01).contains(&bottom), "{low} of {low} to {high}: {bottom}");
                assert!((-0.01..=1.01).contains(&top), "{high} of {low} to {high}: {top}");
                assert!((1..=STEPS_MAX).contains(&scale.steps));
                assert_eq!(scale.ticks().len(), usize::try_from(scale.steps).unwrap() + 1);
            }
        }
    }
}
