//! A number with the digits its source has: a float of four bytes is not shown with those of eight.

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{Error, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::meter::{Decimal, Value};

/// The value of a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// As the meter gave it.
    Float(f32),
    /// A float of eight bytes.
    Double(f64),
    /// A code, or flags.
    Code(u32),
    /// Exact, in digits of its own.
    Decimal(Decimal),
}

impl Number {
    /// The number of a value, with codes and flags as the register holds them; `None`: there is none.
    #[must_use]
    pub fn of(value: &Value<'_>) -> Option<Self> {
        match value {
            Value::Float(value) => Some(Self::Float(*value)),
            Value::Double(value) => Some(Self::Double(*value)),
            Value::Number(number) => Some(Self::Decimal(*number)),
            Value::Code { code, .. } => Some(Self::Code((*code).into())),
            Value::Bits { bits, .. } => Some(Self::Code(*bits)),
            Value::Version(_)
            | Value::Text(_)
            | Value::NotAvailable
            | Value::NotANumber { .. }
            | Value::Unscaled { .. } => None,
        }
    }

    /// The nearest float to the digits shown.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        match self {
            Self::Float(single) => single.to_string().parse().unwrap_or(f64::NAN),
            Self::Double(double) => double,
            Self::Code(code) => f64::from(code),
            Self::Decimal(decimal) => decimal.to_f64(),
        }
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Float(single) => serializer.serialize_f32(*single),
            Self::Double(double) => serializer.serialize_f64(*double),
            Self::Code(code) => serializer.serialize_u32(*code),
            // Digits with at most one point and a sign are a number in JSON, too.
            Self::Decimal(decimal) => {
                RawValue::from_string(decimal.to_string()).map_err(S::Error::custom)?.serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;

        impl Visitor<'_> for Digits {
            type Value = Number;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number")
            }

            fn visit_u64<E>(self, whole: u64) -> Result<Number, E> {
                Ok(Number::Decimal(Decimal::whole(whole.into())))
            }

            fn visit_i64<E>(self, whole: i64) -> Result<Number, E> {
                Ok(Number::Decimal(Decimal::whole(whole.into())))
            }

            #[expect(clippy::cast_possible_truncation, reason = "only where no digit is lost")]
            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Number, E> {
                let (digits, single) = (value.to_string(), value as f32);
                if single.to_string() == digits {
                    return Ok(Number::Float(single));
                }
                let places = digits.split_once('.').map_or(0, |(_, places)| places.len());
                let exponent = i8::try_from(places).map_err(E::custom)?;
                let digits = digits.replacen('.', "", 1).parse().map_err(E::custom)?;
                Ok(Number::Decimal(Decimal { digits, exponent: -exponent }))
            }
        }

        deserializer.deserialize_any(Digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_written_and_read_back_as_they_are() {
        for digits in
            ["0.1", "-0.1", "16777216.0", "655.41", "123456789.123", "31", "-5", "18446744073709551615"]
        {
            let number: Number = serde_json::from_str(digits).unwrap();
            assert_eq!(serde_json::to_string(&number).unwrap(), digits);
        }
        assert_eq!(serde_json::to_string(&Number::Float(0.1)).unwrap(), "0.1");
        assert!((Number::Float(0.1).to_f64() - 0.1).abs() < f64::EPSILON);
    }
}
