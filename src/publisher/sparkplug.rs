//! Points as metrics of Sparkplug: type, unit, value.

use super::plan::{Plan, PlannedUnit};
use crate::meter::{Format, Point};
use crate::sparkplug::{DataType, DeviceDefinition, Meter, MetricDefinition, MetricValue};
use crate::status::Number;

/// The devices of an edge node.
#[must_use]
pub fn devices(plan: &Plan) -> Vec<DeviceDefinition> {
    plan.units.iter().filter_map(device).collect()
}

/// A unit as a device; `None`: nothing of it is published.
fn device(unit: &PlannedUnit) -> Option<DeviceDefinition> {
    let profile = unit.profile.as_ref().filter(|_| !unit.blocks.is_empty())?;
    let points = unit.blocks.iter().flat_map(|block| &block.points).map(|place| &profile.points[*place]);
    let metric = |point: &Point| MetricDefinition {
        name: point.name.clone(),
        datatype: datatype(point),
        unit: point.unit,
    };
    Some(DeviceDefinition {
        name: unit.device.clone(),
        meter: Meter { bus: unit.bus.clone(), unit: unit.id.get() },
        metrics: points.map(metric).collect(),
    })
}

/// The type that holds every value of a point: it is fixed before the first is read.
fn datatype(point: &Point) -> DataType {
    let is_plain = point.scale.is_none() && point.offset.is_none();
    match point.format {
        Format::F32 if is_plain => DataType::Float,
        Format::F32 | Format::F64 | Format::Text | Format::Version => DataType::Double,
        Format::U16 | Format::I16 | Format::I32 | Format::Exponent if is_plain => DataType::Int32,
        Format::U32 | Format::U48 | Format::I64 if is_plain => DataType::Int64,
        Format::U64 if is_plain => DataType::UInt64,
        // Sixteen digits at most.
        Format::Bcd | Format::Mod10000 if is_plain => DataType::Int64,
        Format::Bits if point.range.quantity > 1 => DataType::Int64,
        Format::Bits => DataType::Int32,
        Format::U16
        | Format::I16
        | Format::I32
        | Format::Exponent
        | Format::U32
        | Format::U48
        | Format::I64
        | Format::U64
        | Format::Bcd
        | Format::Mod10000 => DataType::Double,
    }
}

/// The number as a value of the point's type.
pub(super) fn value(point: &Point, number: Number) -> Option<MetricValue> {
    let whole = || match number {
        Number::Code(code) => Some(i128::from(code)),
        Number::Decimal(decimal) if decimal.exponent == 0 => Some(decimal.digits),
        Number::Decimal(_) | Number::Float(_) | Number::Double(_) => None,
    };
    match datatype(point) {
        DataType::Float => match number {
            Number::Float(value) => Some(MetricValue::Float(value)),
            Number::Double(_) | Number::Code(_) | Number::Decimal(_) => None,
        },
        DataType::Double => Some(MetricValue::Double(number.to_f64())),
        DataType::Int32 => {
            let value = i32::try_from(whole()?).ok()?;
            Some(MetricValue::Int(value.cast_unsigned()))
        }
        DataType::Int64 => {
            let value = i64::try_from(whole()?).ok()?;
            Some(MetricValue::Long(value.cast_unsigned()))
        }
        DataType::UInt64 => Some(MetricValue::Long(u64::try_from(whole()?).ok()?)),
        DataType::Boolean | DataType::String => None,
    }
}
