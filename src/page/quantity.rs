//! A point of a meter as text: its number with its digits, its unit, its short name; and the energy and power that are
//! added up.
//!
//! Owns no rounding: that is `meter::figure`.

use std::borrow::Cow;

use super::format;
use crate::meter::{Decimal, Group, figure};
use crate::status::{Number, Point, Unit};

/// The value in words; `None` where there is none.
pub(super) fn value(point: &Point<'_>) -> Option<String> {
    match (point.value, &point.text) {
        (Some(Number::Float(value)), _) => value.is_finite().then(|| figure::single(value, point.group)),
        (Some(Number::Double(value)), _) => value.is_finite().then(|| figure::double(value, point.group)),
        (Some(Number::Decimal(number)), _) => Some(figure::decimal(number)),
        (Some(Number::Code(bits)), _) if !point.flags.is_empty() => {
            let set: Vec<_> =
                point.flags.iter().filter(|flag| flag.is_set).map(|flag| &*flag.means).collect();
            Some(match (set.is_empty(), bits) {
                (true, 0) => "none".to_owned(),
                (true, bits) => format!("0x{bits:04X}"),
                (false, _) => set.join(", "),
            })
        }
        (Some(Number::Code(code)), Some(means)) => Some(format!("{code}: {means}")),
        (Some(Number::Code(code)), None) => Some(code.to_string()),
        (None, text) => text.as_deref().map(str::to_owned),
    }
}

/// A ratio is a number without a unit.
pub(super) fn unit_of<'u>(unit: Option<&'u Cow<'_, str>>) -> &'u str {
    unit.map(|unit| &**unit).filter(|unit| !matches!(*unit, "ratio" | "count")).unwrap_or_default()
}

/// The short name of a quantity: a total needs no word for it.
pub(super) fn label(description: &str) -> &str {
    description.strip_suffix(", total").unwrap_or(description)
}

/// The real power the profile puts first, in kW, as last read, if it is `wanted`.
pub(super) fn power(unit: &Unit<'_>, wanted: impl Fn(&Point<'_>) -> bool) -> Option<f64> {
    unit.headline.iter().filter(|point| wanted(point)).find_map(|point| {
        let factor = match point.unit.as_deref()? {
            "W" => 1e-3,
            "kW" => 1.0,
            "MW" => 1e3,
            _ => return None,
        };
        Some(point.value.filter(|_| point.group == Group::Power)?.to_f64() * factor)
    })
}

/// The real power of a unit if it may be part of a sum: the unit answers, and the reading is young.
pub(super) fn power_to_add(unit: &Unit<'_>) -> Option<f64> {
    power(unit, |point| point.is_fresh).filter(|power| unit.state.is_answering() && power.is_finite())
}

/// Energy in kWh.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Energy {
    kwh: Number,
}

impl Energy {
    /// The energy to bill a unit by, as last read, if it is `wanted`: what the profile names, else the energy that it
    /// puts first.
    pub(super) fn of(unit: &Unit<'_>, wanted: impl Fn(&Point<'_>) -> bool) -> Option<Self> {
        let billed = unit.headline.iter().find(|point| point.is_billed);
        let point = billed.or_else(|| {
            unit.headline.iter().find(|point| point.group == Group::Energy && power_of_ten(point).is_some())
        })?;
        let (number, power) = (point.value.filter(|_| wanted(point))?, power_of_ten(point)?);
        let kwh = match number {
            Number::Decimal(Decimal { digits, exponent }) => {
                Number::Decimal(Decimal { digits, exponent: exponent.checked_add(power)? })
            }
            Number::Float(_) if power == 0 => number,
            Number::Float(_) | Number::Double(_) => {
                Number::Double(number.to_f64() * 10_f64.powi(power.into()))
            }
            Number::Code(_) => return None,
        };
        Some(Self { kwh }).filter(|energy| energy.to_f64().is_finite())
    }

    /// If it may be part of a sum.
    pub(super) fn to_add(unit: &Unit<'_>) -> Option<Self> {
        Self::of(unit, |point| point.is_fresh).filter(|_| unit.state.is_answering())
    }

    pub(super) fn to_f64(self) -> f64 {
        self.kwh.to_f64()
    }

    /// With the digits of its source.
    pub(super) fn words(self) -> String {
        match self.kwh {
            Number::Decimal(number) => figure::decimal(number),
            Number::Float(value) => figure::single(value, Group::Energy),
            Number::Double(value) => figure::double(value, Group::Energy),
            Number::Code(code) => format::count(code.into()),
        }
    }

    /// Digits after the point.
    fn decimals(self) -> usize {
        self.words().split_once('.').map_or(0, |(_, decimals)| decimals.len())
    }

    /// A sum with the digits of its least precise part; `None` without parts.
    pub(super) fn sum(parts: &[Self]) -> Option<String> {
        // A zero does not show the resolution of a counter.
        let counted = parts.iter().filter(|part| part.to_f64() != 0.0);
        let decimals = counted.map(|part| part.decimals()).min().or((!parts.is_empty()).then_some(0))?;
        let sum: f64 = parts.iter().map(|part| part.to_f64()).sum();
        Some(figure::grouped(&format!("{sum:.decimals$}")))
    }
}

/// The power of ten that converts a real energy to kWh; `None`: it is no real energy.
fn power_of_ten(point: &Point<'_>) -> Option<i8> {
    match point.unit.as_deref()? {
        "Wh" => Some(-3),
        "kWh" => Some(0),
        "MWh" => Some(3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_as_sharp_as_the_least_sharp_of_what_has_counted() {
        let energy = |kwh: f64| Energy { kwh: Number::Double(kwh) };
        let sharp = Energy { kwh: Number::Decimal(Decimal { digits: 123_456, exponent: -3 }) };
        assert_eq!(Energy::sum(&[sharp, energy(0.0)]).as_deref(), Some("123.456"));
        assert_eq!(Energy::sum(&[energy(0.0)]).as_deref(), Some("0"));
        assert_eq!(Energy::sum(&[]), None);
    }
}
