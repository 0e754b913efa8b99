//! The meaning of a meter's registers: blocks, points, not-available codes, commands, identification.
//!
//! Holds the checked contents of a profile file; never reads a file and has no access to a meter. The only constructors
//! of a [`Profile`] are [`Profile::parse`] and [`Profile::builtin`], so every `Profile` has passed all checks. The
//! format: `docs/profiles.md`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::decimal::Decimal;
use super::vocabulary::{Access, BlockKind, ByteOrder, Confidence, Format, Group, WordOrder};
use crate::modbus::pdu::{FunctionCode, ReadRange};

/// One kind of meter.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Profile {
    /// The name by which a unit's `profile` selects it.
    pub name: String,
    /// The display name of the meter.
    pub title: String,
    /// The printed number of the register at wire address 0.
    pub first_register: u32,
    /// Input registers (0x04) and holding registers (0x03) are the same registers.
    pub mirrored: bool,
    /// The codes for "no value", by format, as the registers hold them.
    pub not_available: Vec<(Format, u64)>,
    /// Registers, as printed, that no read may touch.
    pub gaps: Vec<RangeInclusive<u32>>,
    /// The blocks, each read in one transaction, in the order of the file. No two overlap.
    pub blocks: Vec<Block>,
    /// Every point, block by block, each block in order of address. Every register of a block belongs to one point.
    pub points: Vec<Point>,
    /// The names of the most important points, without copies: shown first, and kept in the history.
    pub headline: Vec<String>,
    /// Which points have no meaning at which setting.
    pub validity: Option<Validity>,
    /// The commands, each issued by writing a code.
    pub commands: Vec<Command>,
    /// How the meter identifies itself.
    pub identification: Identification,
}

/// Registers read in one transaction. It cuts no point of the profile and contains no gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The name by which a unit's `blocks` selects it.
    pub name: String,
    /// Address from 0, at most 125 registers, in the first of its tables.
    pub range: ReadRange,
    /// The tables that have its registers, by the functions that read them: 0x03, 0x04 or both, the one to poll
    /// first.
    pub functions: Vec<FunctionCode>,
    /// The better documented part, read alone if a meter refuses the whole.
    pub core: Option<ReadRange>,
    /// What it holds, and so how often it is read.
    pub kind: BlockKind,
    /// Whether it is polled unless a unit selects its blocks.
    pub polled: bool,
}

/// A named quantity of the meter.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Unique within the profile.
    pub name: String,
    /// First register, as printed.
    pub register: u32,
    /// The same on the wire: function 0x03 or 0x04, address from 0, as many registers as it has.
    pub range: ReadRange,
    /// Its block's place in [`Profile::blocks`].
    pub block: usize,
    /// How the registers form a value.
    pub format: Format,
    /// Which of its registers comes first.
    pub word_order: WordOrder,
    /// Which byte of a register comes first.
    pub byte_order: ByteOrder,
    /// The unit of the scaled value, one of [`super::vocabulary::UNITS`].
    pub unit: Option<&'static str>,
    /// The value of one step; `None`: 1.
    pub scale: Option<Scale>,
    /// What is added to the scaled number.
    pub offset: Option<Decimal>,
    /// Whether energy is billed by this point.
    pub bill_by: bool,
    /// Its subject.
    pub group: Group,
    /// Whether it can be written.
    pub access: Access,
    /// Whether it survives a loss of power.
    pub non_volatile: bool,
    /// The allowed values: counts before scaling, for floats the value. Empty: any.
    pub allowed: Vec<RangeInclusive<f64>>,
    /// Numbers with a meaning.
    pub codes: Vec<Code>,
    /// Flags, for a point of format bits.
    pub bits: Vec<Bit>,
    /// The point this one repeats in another representation.
    pub copy_of: Option<String>,
    /// A short description; a copy without one has that of its original.
    pub description: String,
    /// How reliable this information is.
    pub confidence: Confidence,
}

/// The value of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scale {
    /// A constant.
    Factor(Decimal),
    /// Ten to the power that the point of this name holds.
    Exponent(String),
    /// A constant times the values of points, divided by the values of others.
    Ratio(Ratio),
}

/// A scale that depends on other points: those of format exponent as their power of ten, the others by their value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ratio {
    /// The product of all constants in it.
    pub factor: Decimal,
    /// The points it is multiplied by.
    pub times: Vec<String>,
    /// The points it is divided by.
    pub divided_by: Vec<String>,
}

impl Scale {
    /// The points it depends on.
    pub fn points(&self) -> impl Iterator<Item = &str> {
        let (one, times, over) = match self {
            Self::Factor(_) => (None, &[][..], &[][..]),
            Self::Exponent(name) => (Some(name), &[][..], &[][..]),
            Self::Ratio(ratio) => (None, ratio.times.as_slice(), ratio.divided_by.as_slice()),
        };
        one.into_iter().chain(times).chain(over).map(String::as_str)
    }
}

/// A number with a meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// As the register holds it.
    pub code: u16,
    /// Its meaning.
    pub means: String,
}

/// A flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bit {
    /// 0 is the lowest.
    pub bit: u8,
    /// Unique within the point.
    pub name: String,
    /// What it means when set.
    pub means: String,
    /// The remedy.
    pub remedy: Option<String>,
}

/// Which points have no meaning at which setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The point that holds the setting.
    pub point: String,
    /// How reliable the lists are.
    pub confidence: Confidence,
    /// One entry per code of the setting.
    pub types: Vec<SystemType>,
}

/// The points without a meaning at one code of the setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemType {
    /// The code.
    pub code: u16,
    /// Points that read not-available, their copies left out.
    pub not_valid: Vec<String>,
    /// Points whose meaning is unknown, their copies left out.
    pub uncertain: Vec<String>,
}

/// Whether a point has a meaning at a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Valid {
    /// It does.
    Yes,
    /// It reads not-available.
    No,
    /// Unknown to the profile, or the setting is.
    Unknown,
}

/// A code that issues a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The point it is written to.
    pub point: String,
    /// The code.
    pub code: u16,
    /// Unique within the profile.
    pub name: String,
    /// Its effect.
    pub effect: String,
    /// The minimum interval between two of them; zero: not documented.
    pub min_interval: Duration,
    /// How reliable this information is.
    pub confidence: Confidence,
}

/// How the meter identifies itself. `None` or empty: unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identification {
    /// The identifier in the reply to 0x11.
    pub server_id: Option<u8>,
    /// Words in the text of that reply, in any case and order.
    pub server_text: Vec<String>,
    /// The maker in the reply to 0x2B with MEI type 0x0E.
    pub vendor: Option<String>,
    /// The product in that reply.
    pub product: Option<String>,
    /// The point that holds the firmware's version.
    pub version: Option<String>,
}

impl Profile {
    /// The block with this name.
    #[must_use]
    pub fn block(&self, name: &str) -> Option<&Block> {
        self.blocks.iter().find(|block| block.name == name)
    }

    /// The point with this name.
    #[must_use]
    pub fn point(&self, name: &str) -> Option<&Point> {
        self.points.iter().find(|point| point.name == name)
    }

    /// The point that energy is billed by.
    #[must_use]
    pub fn bill_by(&self) -> Option<&Point> {
        self.points.iter().find(|point| point.bill_by)
    }

    /// The point a register belongs to.
    #[must_use]
    pub fn point_at(&self, function: FunctionCode, address: u16) -> Option<&Point> {
        let one = ReadRange { function, start: address, quantity: 1 };
        self.points.iter().find(|point| self.range_in(point, function).covers(&one))
    }

    /// The points of a group, in order of the profile.
    pub fn group(&self, group: Group) -> impl Iterator<Item = &Point> {
        self.points.iter().filter(move |point| point.group == group)
    }

    /// The points of a block, in order of address.
    pub fn points_of(&self, block: &Block) -> impl Iterator<Item = &Point> {
        let index = self.blocks.iter().position(|one| one == block);
        self.points.iter().filter(move |point| Some(point.block) == index)
    }

    /// The printed number of the register at a wire address.
    #[must_use]
    pub fn register(&self, address: u16) -> u32 {
        self.first_register + u32::from(address)
    }

    /// Whether one read may end before this address and another begin at it: not inside a point.
    #[must_use]
    pub fn may_split_at(&self, function: FunctionCode, address: u16) -> bool {
        !self.points.iter().any(|point| {
            let range = self.range_in(point, function);
            let end = u32::from(range.start) + u32::from(range.quantity);
            range.function == function && range.start < address && u32::from(address) < end
        })
    }

    /// Whether a point has a meaning while the setting of [`Validity::point`] has this code.
    #[must_use]
    pub fn valid(&self, point: &Point, code: u16) -> Valid {
        let Some(validity) = &self.validity else { return Valid::Yes };
        let Some(found) = validity.types.iter().find(|one| one.code == code) else { return Valid::Unknown };
        let named = |list: &[String]| {
            list.iter().any(|name| *name == point.name || Some(name) == point.copy_of.as_ref())
        };
        match (named(&found.not_valid), named(&found.uncertain)) {
            (true, _) => Valid::No,
            (false, true) => Valid::Unknown,
            (false, false) => Valid::Yes,
        }
    }

    /// The code for "no value" of this point: a number, high word first, as [`Point::split`] takes it.
    ///
    /// The profile holds the code as the registers do, so its words are joined like those of any value. `None` if the
    /// format has none, and if the code is a number the point may hold.
    #[must_use]
    pub fn not_available(&self, point: &Point) -> Option<u64> {
        let (_, pattern) = self.not_available.iter().find(|(format, _)| *format == point.format)?;
        let pattern = pattern.to_be_bytes();
        let registers = usize::from(*point.format.words().start());
        let code = point.join(&pattern[pattern.len() - 2 * registers..]);
        let may_be_meant = !point.allowed.is_empty()
            && !point.format.is_float()
            && point.allows(point.format.integer(code).unwrap_or(0));
        (!may_be_meant).then_some(code)
    }

    /// The registers of a point in the table of that function, if they are there; else in its own table.
    #[must_use]
    pub fn range_in(&self, point: &Point, function: FunctionCode) -> ReadRange {
        let registers = [FunctionCode::READ_HOLDING_REGISTERS, FunctionCode::READ_INPUT_REGISTERS];
        let named = self.blocks.get(point.block).is_some_and(|block| block.functions.contains(&function));
        let has_it = named || (self.mirrored && registers.contains(&function));
        ReadRange { function: if has_it { function } else { point.range.function }, ..point.range }
    }
}

impl Point {
    /// Whether its flags are alerts: other points, such as settings, hold flags too.
    #[must_use]
    pub fn is_alert(&self) -> bool {
        self.format == Format::Bits && self.group == Group::Diagnostics
    }

    /// Whether the point may hold this count, before scaling.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "ranges of 64-bit counts are not that sharp")]
    pub fn allows(&self, raw: i128) -> bool {
        self.allows_value(raw as f64)
    }

    /// Whether a float point may hold this value.
    #[must_use]
    pub fn allows_value(&self, value: f64) -> bool {
        self.allowed.is_empty() || self.allowed.iter().any(|range| range.contains(&value))
    }
}

impl Identification {
    /// Whether a reply to 0x11 with this identifier and text may be from this kind of meter.
    #[must_use]
    pub fn fits_server_id(&self, id: u8, text: &str) -> bool {
        let text = text.to_lowercase();
        let known = self.server_id.is_some() || !self.server_text.is_empty();
        known
            && self.server_id.is_none_or(|own| own == id)
            && self.server_text.iter().all(|word| text.contains(&word.to_lowercase()))
    }

    /// Whether a vendor and a product read by 0x2B with MEI type 0x0E are those of this kind of meter.
    #[must_use]
    pub fn fits_device(&self, vendor: &str, product: &str) -> bool {
        let same = |own: &Option<String>, read: &str| own.as_ref().is_none_or(|own| own == read.trim());
        let known = self.vendor.is_some() || self.product.is_some();
        known && same(&self.vendor, vendor) && same(&self.product, product)
    }
}
