//! What a meter's registers mean: blocks, points, not-available codes, commands, identification.
//!
//! Holds what a profile file said, checked, and answers questions about it; never reads a file and never asks a
//! meter. The way to a [`Profile`] is [`Profile::parse`] or [`Profile::builtin`], so whoever holds one may rely
//! on it. How to write one: `docs/profiles.md`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::decimal::Decimal;
use super::vocabulary::{Access, BlockKind, ByteOrder, Confidence, Format, Group, WordOrder};
use crate::modbus::pdu::{FunctionCode, ReadRange};

/// One kind of meter.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Profile {
    /// What a unit's `profile` says.
    pub name: String,
    /// What people call the meter.
    pub title: String,
    /// The printed number of the register at wire address 0.
    pub first_register: u32,
    /// Input registers (0x04) and holding registers (0x03) are the same registers.
    pub mirrored: bool,
    /// The codes that stand for "no value", by format, as the registers hold them.
    pub not_available: Vec<(Format, u64)>,
    /// Registers, as printed, that no read should touch.
    pub gaps: Vec<RangeInclusive<u32>>,
    /// What is read in one transaction, in the order of the file. No two overlap.
    pub blocks: Vec<Block>,
    /// Every point, block by block, each block in order of address. Every register of a block belongs to one.
    pub points: Vec<Point>,
    /// The points that say most, by name, copies left out: shown first, and kept in the history.
    pub headline: Vec<String>,
    /// Which points mean nothing under which setting.
    pub validity: Option<Validity>,
    /// What can be commanded by writing a code.
    pub commands: Vec<Command>,
    /// How the meter names itself.
    pub identification: Identification,
}

/// Registers read in one transaction. No point of the profile is cut by it, none of its registers is a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What a unit's `blocks` says.
    pub name: String,
    /// Address from 0, at most 125 registers, in the first of its tables.
    pub range: ReadRange,
    /// The tables that have its registers, by the functions that read them: 0x03, 0x04 or both, the one to poll
    /// first.
    pub functions: Vec<FunctionCode>,
    /// The better attested part, to fall back on where a meter refuses the whole.
    pub core: Option<ReadRange>,
    /// How often it is worth reading.
    pub kind: BlockKind,
    /// Whether it is polled where a unit does not choose blocks itself.
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
    /// How the registers make a value.
    pub format: Format,
    /// Which of its registers comes first.
    pub word_order: WordOrder,
    /// Which byte of a register comes first.
    pub byte_order: ByteOrder,
    /// The unit of the scaled value, one of [`super::vocabulary::UNITS`].
    pub unit: Option<&'static str>,
    /// What one step is worth; `None`: 1.
    pub scale: Option<Scale>,
    /// What is added to the scaled number.
    pub offset: Option<Decimal>,
    /// Whether energy is billed by this point.
    pub bill_by: bool,
    /// What it is about.
    pub group: Group,
    /// Whether it can be written.
    pub access: Access,
    /// Whether it survives a loss of power.
    pub non_volatile: bool,
    /// What it may hold: counts before scaling, of floats the value. Empty: anything.
    pub allowed: Vec<RangeInclusive<f64>>,
    /// Numbers with a meaning of their own.
    pub codes: Vec<Code>,
    /// Flags, of a point of format bits.
    pub bits: Vec<Bit>,
    /// The point this one repeats in another representation.
    pub copy_of: Option<String>,
    /// A few words; a copy without any has those of its original.
    pub description: String,
    /// How sure all this is.
    pub confidence: Confidence,
}

/// What one step of a number is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scale {
    /// So much, always.
    Factor(Decimal),
    /// Ten to the power that the point of this name holds.
    Exponent(String),
    /// A number times what points hold, over what others hold.
    Ratio(Ratio),
}

/// A scale that hangs on other points: of format exponent, as the power of ten they hold, else as their own value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ratio {
    /// The product of all numbers in it.
    pub factor: Decimal,
    /// The points it is multiplied by.
    pub times: Vec<String>,
    /// The points it is divided by.
    pub divided_by: Vec<String>,
}

impl Scale {
    /// The points it hangs on.
    pub fn points(&self) -> impl Iterator<Item = &str> {
        let (one, times, over) = match self {
            Self::Factor(_) => (None, &[][..], &[][..]),
            Self::Exponent(name) => (Some(name), &[][..], &[][..]),
            Self::Ratio(ratio) => (None, ratio.times.as_slice(), ratio.divided_by.as_slice()),
        };
        one.into_iter().chain(times).chain(over).map(String::as_str)
    }
}

/// A number that means something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// As the register holds it.
    pub code: u16,
    /// In a few words.
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
    /// What to do about it then.
    pub remedy: Option<String>,
}

/// Which points mean nothing under which setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The point that holds the setting.
    pub point: String,
    /// How sure the lists are.
    pub confidence: Confidence,
    /// One entry per code.
    pub types: Vec<SystemType>,
}

/// What means nothing under one code of the setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemType {
    /// The setting.
    pub code: u16,
    /// Points that read not-available, their copies left out.
    pub not_valid: Vec<String>,
    /// Points of which nobody knows, their copies left out.
    pub uncertain: Vec<String>,
}

/// Whether a point means something under a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Valid {
    /// It does.
    Yes,
    /// It reads not-available.
    No,
    /// The profile does not know, or the setting is none it knows.
    Unknown,
}

/// A code that makes the meter do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The point it is written to.
    pub point: String,
    /// What is written.
    pub code: u16,
    /// Unique within the profile.
    pub name: String,
    /// What happens.
    pub effect: String,
    /// How long the meter wants to be left alone after it; zero: nothing is printed.
    pub min_interval: Duration,
    /// How sure all this is.
    pub confidence: Confidence,
}

/// How the meter names itself. What is `None` or empty is not known.
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
    /// The block of that name.
    #[must_use]
    pub fn block(&self, name: &str) -> Option<&Block> {
        self.blocks.iter().find(|block| block.name == name)
    }

    /// The point of that name.
    #[must_use]
    pub fn point(&self, name: &str) -> Option<&Point> {
        self.points.iter().find(|point| point.name == name)
    }

    /// The points a printed register number belongs to: one, or one in each table that has the number.
    pub fn points_at_register(&self, register: u32) -> impl Iterator<Item = &Point> {
        self.points.iter().filter(move |point| {
            (point.register..point.register + u32::from(point.range.quantity)).contains(&register)
        })
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

    /// The points that repeat this one in another representation.
    pub fn copies_of<'p>(&'p self, point: &'p Point) -> impl Iterator<Item = &'p Point> {
        self.points.iter().filter(|other| other.copy_of.as_deref() == Some(point.name.as_str()))
    }

    /// The printed number of the register at a wire address.
    #[must_use]
    pub fn register(&self, address: u16) -> u32 {
        self.first_register + u32::from(address)
    }

    /// Whether a read may end before this address and another begin at it: never inside a wide point.
    #[must_use]
    pub fn may_split_at(&self, function: FunctionCode, address: u16) -> bool {
        !self.points.iter().any(|point| {
            let range = self.range_in(point, function);
            let end = u32::from(range.start) + u32::from(range.quantity);
            range.function == function && range.start < address && u32::from(address) < end
        })
    }

    /// Whether a read touches a register that the profile says to leave alone.
    #[must_use]
    pub fn touches_gap(&self, range: &ReadRange) -> bool {
        let first = self.register(range.start);
        let last = first + u32::from(range.quantity.max(1) - 1);
        self.gaps.iter().any(|gap| *gap.start() <= last && first <= *gap.end())
    }

    /// Whether a point means something while the setting of [`Validity::point`] is this code.
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

    /// The code that stands for "no value" in this point: a number, high word first, as [`Point::split`] takes it.
    ///
    /// The profile has it as the registers hold it, so its words go the way of every value read.
    /// `None` where the format has none, and where the code is a number the point may well hold.
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

    /// The registers of a point in the table which that function reads, where it has them; else in its own.
    #[must_use]
    pub fn range_in(&self, point: &Point, function: FunctionCode) -> ReadRange {
        let registers = [FunctionCode::READ_HOLDING_REGISTERS, FunctionCode::READ_INPUT_REGISTERS];
        let named = self.blocks.get(point.block).is_some_and(|block| block.functions.contains(&function));
        let has_it = named || (self.mirrored && registers.contains(&function));
        ReadRange { function: if has_it { function } else { point.range.function }, ..point.range }
    }
}

impl Point {
    /// Whether its flags are alerts: other points hold flags too, such as settings.
    #[must_use]
    pub fn is_alert(&self) -> bool {
        self.format == Format::Bits && self.group == Group::Diagnostics
    }

    /// Whether the point may hold this count, scaling left out.
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
    /// Whether a reply to 0x11 with this identifier and text may come from such a meter.
    #[must_use]
    pub fn fits_server_id(&self, id: u8, text: &str) -> bool {
        let text = text.to_lowercase();
        let known = self.server_id.is_some() || !self.server_text.is_empty();
        known
            && self.server_id.is_none_or(|own| own == id)
            && self.server_text.iter().all(|word| text.contains(&word.to_lowercase()))
    }

    /// Whether a maker and a product read by 0x2B with MEI type 0x0E are those of such a meter.
    #[must_use]
    pub fn fits_device(&self, vendor: &str, product: &str) -> bool {
        let same = |own: &Option<String>, read: &str| own.as_ref().is_none_or(|own| own == read.trim());
        let known = self.vendor.is_some() || self.product.is_some();
        known && same(&self.vendor, vendor) && same(&self.product, product)
    }
}
