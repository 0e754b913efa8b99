//! The registers of a simulated meter, built from the profile: the quantity and the words of each.
//!
//! Owns the conversion from a value to the words of its point: scaling, rounding, not-available codes. There is no
//! second table of registers: points, formats, ranges and permissions are in the profile. It never computes a value.

use std::sync::LazyLock;

use super::quantity::{Quantity, Scaled};
use super::setup::{AlertBit, Exponents, Setting, step};
use crate::meter::{Access, Format, Group, Point, Profile, Scale, Valid};
use crate::modbus::pdu::{ExceptionCode, FunctionCode, ReadRange};

/// The profile's points with their quantities.
#[derive(Debug)]
pub(crate) struct Map {
    profile: &'static Profile,
    slots: Vec<PointSlot>,
    /// Bits of the alert register.
    pub(crate) alerts: Vec<(u8, AlertBit)>,
}

/// What a write to a register does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writable {
    /// Issues a command.
    Command,
    /// Changes a setting.
    Setting(Setting),
}

/// One point and its quantity.
#[derive(Debug)]
pub(crate) struct PointSlot {
    point: &'static Point,
    pub(crate) quantity: Quantity,
}

impl Map {
    /// The map of the simulated meter.
    pub(crate) fn get() -> &'static Self {
        &MAP
    }

    fn new(profile: &'static Profile) -> Self {
        let slot = |point: &'static Point| {
            let original = point.copy_of.as_deref().unwrap_or(&point.name);
            Some(PointSlot { point, quantity: Quantity::of(original)? })
        };
        let bits = profile.points.iter().flat_map(|point| &point.bits);
        Self {
            profile,
            slots: profile.points.iter().filter_map(slot).collect(),
            alerts: bits.filter_map(|bit| Some((bit.bit, AlertBit::of(&bit.name)?))).collect(),
        }
    }

    /// Its profile.
    pub(crate) fn profile(&self) -> &'static Profile {
        self.profile
    }

    /// The slot of that point.
    pub(crate) fn slot(&self, name: &str) -> Option<&PointSlot> {
        self.slots.iter().find(|slot| slot.point.name == name)
    }

    /// The slots a read touches, all of one block. What a real meter answers to a read that touches a gap is not
    /// documented; here it is refused as a whole.
    ///
    /// # Errors
    /// 0x02.
    pub(crate) fn slots_in(
        &self,
        range: &ReadRange,
    ) -> Result<impl Iterator<Item = &PointSlot>, ExceptionCode> {
        let block = self.profile.blocks.iter().position(|block| covers(&block.range, range));
        let block = block.ok_or(ExceptionCode::ILLEGAL_DATA_ADDRESS)?;
        let (first, end) = ends(range);
        Ok(self.slots.iter().filter(move |slot| {
            let (own_first, own_end) = ends(&slot.point.range);
            slot.point.block == block && own_first < end && first < own_end
        }))
    }

    /// What a write of one register sets.
    ///
    /// # Errors
    /// 0x02 if the register cannot be written, 0x03 if the value is outside the register's range.
    pub(crate) fn writable(&self, address: u16, value: u16) -> Result<Writable, ExceptionCode> {
        let point = self.profile.point_at(FunctionCode::READ_HOLDING_REGISTERS, address);
        let slot = self.slots.iter().find(|slot| Some(slot.point) == point);
        let slot = slot.filter(|slot| slot.point.access == Access::ReadWrite);
        let slot = slot.ok_or(ExceptionCode::ILLEGAL_DATA_ADDRESS)?;
        let takes = Writable::of(slot.quantity).ok_or(ExceptionCode::ILLEGAL_DATA_ADDRESS)?;
        if !slot.point.allows(i128::from(value)) {
            return Err(ExceptionCode::ILLEGAL_DATA_VALUE);
        }
        Ok(takes)
    }
}

impl Writable {
    fn of(quantity: Quantity) -> Option<Self> {
        if let Quantity::Setting(setting) = quantity {
            return Some(Self::Setting(setting));
        }
        (quantity == Quantity::Command).then_some(Self::Command)
    }
}

impl PointSlot {
    /// Whether the point means something under that system type.
    pub(crate) fn is_valid(&self, profile: &Profile, system_type: u16) -> bool {
        match profile.valid(self.point, system_type) {
            // A register without a known meaning shows its value.
            Valid::Yes | Valid::Unknown => true,
            Valid::No => false,
        }
    }

    /// The point's words; its not-available code for `None`.
    pub(crate) fn words(&self, profile: &Profile, value: Option<f64>, exponents: Exponents) -> Vec<u16> {
        let bits = match value {
            None => profile.not_available(self.point).unwrap_or(0),
            Some(value) => self.bits(value, exponents),
        };
        self.point.split(bits)
    }

    /// Address of its first register.
    pub(crate) fn start(&self) -> u16 {
        self.point.range.start
    }

    /// The value of one step of the point.
    pub(crate) fn step(&self, exponents: Exponents) -> f64 {
        match &self.point.scale {
            None => 1.0,
            Some(Scale::Factor(factor)) => factor.to_f64(),
            Some(Scale::Exponent(name)) => match Quantity::of(name) {
                Some(Quantity::Exponent(scaled)) => step(exponents.of(scaled)),
                Some(_) | None => 1.0,
            },
            Some(Scale::Ratio(ratio)) => ratio.factor.to_f64(),
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range, or rolling over")]
    fn bits(&self, value: f64, exponents: Exponents) -> u64 {
        let steps = value / self.step(exponents);
        match self.point.format {
            Format::F32 => u64::from((steps as f32).to_bits()),
            Format::F64 => steps.to_bits(),
            Format::Text => 0,
            // A counter shows whole steps only, and rolls over.
            Format::U32 | Format::U48 | Format::U64
                if matches!(self.point.group, Group::Energy | Group::Pulses) =>
            {
                whole_steps(steps)
            }
            Format::U16 | Format::U32 | Format::U48 | Format::U64 | Format::Bits | Format::Version => {
                let (least, most) = self.limits();
                steps.round().clamp(least, most) as u64
            }
            Format::Bcd | Format::Mod10000 => {
                let (least, most) = self.limits();
                let count = steps.round().clamp(least, most) as i128;
                self.point.format.bits_of(count, self.point.range.quantity).unwrap_or(0)
            }
            Format::I16 | Format::I32 | Format::I64 | Format::Exponent => {
                let (least, most) = self.limits();
                (steps.round().clamp(least, most) as i64).cast_unsigned()
            }
        }
    }

    /// The lowest and the highest count the point may show. A measured value beyond them is clamped.
    fn limits(&self) -> (f64, f64) {
        let (least, most) = self.point.format.limits(self.point.range.quantity);
        let allowed = &self.point.allowed;
        let reserved = matches!(self.quantity, Quantity::Command | Quantity::Setting(Setting::Nothing));
        if allowed.is_empty() || reserved {
            return (least, most);
        }
        let first = allowed.iter().map(|range| *range.start()).fold(most, f64::min);
        let last = allowed.iter().map(|range| *range.end()).fold(least, f64::max);
        (first, last)
    }
}

impl Exponents {
    /// The exponent of a kind of point.
    pub(crate) fn of(self, scaled: Scaled) -> i8 {
        match scaled {
            Scaled::Current => self.current,
            Scaled::Voltage => self.voltage,
            Scaled::Power => self.power,
            Scaled::Energy => self.energy,
        }
    }
}

/// Whole steps of a counter, whatever its width. Rounding of a double must not lose one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of steps is not negative"
)]
fn whole_steps(steps: f64) -> u64 {
    let nearest = steps.round();
    let whole = if (steps - nearest).abs() < nearest * 1e-12 { nearest } else { steps.floor() };
    whole.max(0.0) as u64
}

fn covers(block: &ReadRange, range: &ReadRange) -> bool {
    // 0x03 and 0x04 read the same registers.
    block.covers(&ReadRange { function: block.function, ..*range })
}

fn ends(range: &ReadRange) -> (u32, u32) {
    (u32::from(range.start), u32::from(range.start) + u32::from(range.quantity))
}

static MAP: LazyLock<Map> = LazyLock::new(|| {
    Map::new(Profile::builtin("leviton-4000r").expect("the program has the profile of that name built in"))
});
