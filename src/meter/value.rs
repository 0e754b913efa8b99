//! Single values of a profile: words, register numbers and ranges, codes, steps.
//!
//! Each type is one notation. Bounds that depend on other keys are checked in `read`.

use std::fmt;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use super::decimal::{Decimal, MOST_DIGITS};
use super::vocabulary::UNITS;
use crate::document::de::scalar;
use crate::document::{Scalar, decimal_or_hex};
use crate::modbus::pdu::FunctionCode;

scalar! {
    /// A name that other keys refer to.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Word(pub(super) String);
    |text| {
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
        let fits = text.len() <= LONGEST_WORD
            && text.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
            && text.bytes().all(letter);
        fits.then(|| text.to_owned())
    },
    |_| format!("a letter, then letters, digits, _ or -, all lower case, up to {LONGEST_WORD} of them");

    /// A short description.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Prose(pub(super) String);
    |text| {
        let fits = (1..=LONGEST_PROSE).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        fits.then(|| text.to_owned())
    },
    |_| format!("1 to {LONGEST_PROSE} printable characters");

    /// The printed number of the first register.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct FirstRegister(pub(super) u32): plain;
    |text| decimal_or_hex(text).filter(|number| FIRST_REGISTERS.contains(number)),
    |_| FIRST_REGISTERS.map(|one| one.to_string()).join(", ");

    /// A register number, or a range of them, as printed.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Registers(pub(super) RangeInclusive<u32>);
    |text| {
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        let range = decimal_or_hex(low.trim())?..=decimal_or_hex(high.trim())?;
        (!range.is_empty()).then_some(range)
    },
    |_| "a register number, or a range such as 1-10";

    /// One register number, as printed.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Register(pub(super) u32): plain;
    |text| decimal_or_hex(text),
    |_| "a register number such as 257 or 0x101";

    /// A function that reads registers, and so a table of them.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct TableFunction(pub(super) FunctionCode): plain;
    |text| {
        let known = [FunctionCode::READ_HOLDING_REGISTERS, FunctionCode::READ_INPUT_REGISTERS];
        let found = decimal_or_hex(text)?;
        known.into_iter().find(|function| found == u32::from(function.0))
    },
    |_| "3 (holding registers), 4 (input registers)";

    /// A unit of measurement, as listed in `UNITS`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Unit(pub(super) &'static str);
    |text| UNITS.iter().copied().find(|unit| *unit == text),
    |_| UNITS.join(", ");

    /// A constant added to a scaled number.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Offset(pub(super) Decimal): plain;
    |text| Decimal::parse(text),
    |_| format!("a number such as -273.15, with up to {MOST_DIGITS} digits");

    /// One number or span of numbers.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct Span(pub(super) RangeInclusive<f64>): plain;
    |text| {
        let (low, high) = text.split_once("..").unwrap_or((text, text));
        let span = signed(low.trim())?..=signed(high.trim())?;
        (!span.is_empty()).then_some(span)
    },
    |_| "a number, or a span such as 0..32767";

    /// A not-available code in the registers: its number of digits, and its value.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Pattern(pub(super) (usize, u64)): plain;
    |text| {
        let hex = text.strip_prefix("0x").filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))?;
        Some((hex.len(), u64::from_str_radix(hex, 16).ok()?))
    },
    |_| "0x and 4 hexadecimal digits for each register, as the registers hold it";
}

/// One factor of a scale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ScaleFactor {
    /// What one step is worth.
    Factor(Decimal),
    /// The name of a point.
    Name(Word),
}

/// The value of one step: a number, the name of a point, or a list of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ScaleFactors {
    One(ScaleFactor),
    /// Their product.
    Product(Vec<ScaleFactor>),
}

impl Scalar for ScaleFactor {
    fn parse(text: &str) -> Option<Self> {
        let number = Decimal::parse(text).filter(|step| step.digits != 0).map(Self::Factor);
        number.or_else(|| Word::parse(text).map(Self::Name))
    }

    fn allowed(_: &str) -> String {
        format!(
            "what one step is worth, such as 0.01, with up to {MOST_DIGITS} digits, the name of a point of format \
             exponent, or a list of numbers and points to multiply, such as [0.1, pt_ratio]"
        )
    }
}

scalar!([] ScaleFactor);

impl<'de> Deserialize<'de> for ScaleFactors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfSteps;

        impl<'de> Visitor<'de> for OfSteps {
            type Value = ScaleFactors;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&ScaleFactor::allowed(""))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ScaleFactors, E> {
                let refused = || E::invalid_value(de::Unexpected::Str(text), &self);
                ScaleFactor::parse(text).map(ScaleFactors::One).ok_or_else(refused)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<ScaleFactors, A::Error> {
                if !(1..=MOST_STEPS).contains(&items.size_hint().unwrap_or_default()) {
                    return Err(de::Error::invalid_type(de::Unexpected::Seq, &self));
                }
                let mut steps = Vec::new();
                while let Some(step) = items.next_element()? {
                    steps.push(step);
                }
                Ok(ScaleFactors::Product(steps))
            }
        }

        deserializer.deserialize_any(OfSteps)
    }
}

fn signed(text: &str) -> Option<f64> {
    Some(Decimal::parse(text)?.to_f64())
}

/// The numbers manufacturers use for the register at wire address 0.
const FIRST_REGISTERS: [u32; 6] = [0, 1, 30001, 40001, 300_001, 400_001];
/// Numbers and points of one scale.
const MOST_STEPS: usize = 8;
/// Characters of a name.
const LONGEST_WORD: usize = 64;
/// Characters of a description.
const LONGEST_PROSE: usize = 200;
