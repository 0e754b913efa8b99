//! The sections of a profile, one struct each, with the defaults of the keys.
//!
//! The input of serde. Each value is within its own bounds; checks between values run when the
//! [`super::profile::Profile`] is built. `docs/profiles.md` explains each key.

use serde::Deserialize;

use super::value::{
    FirstRegister, Offset, Pattern, Prose, Register, Registers, ScaleFactors, Span, TableFunction, Unit, Word,
};
use super::vocabulary::{Access, BlockKind, ByteOrder, Confidence, Format, Group, WordOrder};
use crate::document::{Count, Duration, List, Name, Section, YesNo};

/// The top level.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename = "a profile", default, deny_unknown_fields)]
pub struct Profile {
    /// Needed.
    pub(super) name: Option<Word>,
    /// Needed.
    pub(super) title: Option<Name>,
    pub(super) first_register: FirstRegister,
    pub(super) word_order: WordOrder,
    pub(super) byte_order: ByteOrder,
    pub(super) mirrored: YesNo,
    pub(super) functions: Option<List<TableFunction, 1, 2>>,
    pub(super) not_available: NotAvailable,
    pub(super) gaps: Option<List<Registers, 1, 64>>,
    pub(super) blocks: Vec<Block>,
    /// As many as fit one row of a page; the history keeps these of each meter.
    pub(super) headline: Option<List<Word, 1, 8>>,
    pub(super) validity: Option<Validity>,
    pub(super) commands: Option<List<Command, 1, 64>>,
    pub(super) identification: Identification,
}

/// The section `not_available`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename = "not_available", default, deny_unknown_fields)]
pub struct NotAvailable {
    pub(super) u16: Option<Pattern>,
    pub(super) i16: Option<Pattern>,
    pub(super) u32: Option<Pattern>,
    pub(super) i32: Option<Pattern>,
    pub(super) u48: Option<Pattern>,
    pub(super) u64: Option<Pattern>,
    pub(super) i64: Option<Pattern>,
    pub(super) f32: Option<Pattern>,
    pub(super) f64: Option<Pattern>,
}

/// An entry of `blocks`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename = "a block", default, deny_unknown_fields)]
pub struct Block {
    /// Needed.
    pub(super) name: Option<Word>,
    pub(super) table: Option<Table>,
    pub(super) functions: Option<List<TableFunction, 1, 2>>,
    /// Needed.
    pub(super) registers: Option<Registers>,
    pub(super) core: Option<Registers>,
    /// Needed.
    pub(super) kind: Option<BlockKind>,
    pub(super) polled: Polled,
    /// As at the top level.
    pub(super) word_order: Option<WordOrder>,
    pub(super) byte_order: Option<ByteOrder>,
    pub(super) points: Vec<Point>,
}

/// A table of registers by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// Function 0x03.
    Holding,
    /// Function 0x04.
    Input,
}

/// Whether a block is polled, by default.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(transparent)]
pub struct Polled(pub(super) YesNo);

/// An entry of a block's `points`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename = "a point", default, deny_unknown_fields)]
pub struct Point {
    /// Needed.
    pub(super) register: Option<Register>,
    /// Needed.
    pub(super) name: Option<Word>,
    /// Needed.
    pub(super) format: Option<Format>,
    pub(super) unit: Option<Unit>,
    /// Number of registers, for formats with a choice.
    pub(super) words: Option<Count<1, 64>>,
    /// As for the block.
    pub(super) word_order: Option<WordOrder>,
    pub(super) byte_order: Option<ByteOrder>,
    pub(super) scale: Option<ScaleFactors>,
    pub(super) divide_by: Option<List<Word, 1, 4>>,
    pub(super) offset: Option<Offset>,
    pub(super) bill_by: YesNo,
    /// Needed.
    pub(super) group: Option<Group>,
    pub(super) access: Access,
    pub(super) non_volatile: YesNo,
    pub(super) range: Option<List<Span, 1, 16>>,
    pub(super) codes: Option<List<Code, 1, 64>>,
    pub(super) bits: Option<List<Bit, 1, 32>>,
    pub(super) copy_of: Option<Word>,
    pub(super) description: Option<Prose>,
    pub(super) confidence: Confidence,
}

/// An entry of a point's `codes`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename = "a code", deny_unknown_fields)]
pub struct Code {
    pub(super) code: Count<0, 65_535>,
    pub(super) means: Prose,
}

/// An entry of a point's `bits`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename = "a bit", deny_unknown_fields)]
pub struct Bit {
    pub(super) bit: Count<0, 31>,
    pub(super) name: Word,
    pub(super) means: Prose,
    #[serde(default)]
    pub(super) remedy: Option<Prose>,
}

/// The section `validity`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename = "validity", deny_unknown_fields)]
pub struct Validity {
    pub(super) point: Word,
    #[serde(default)]
    pub(super) confidence: Confidence,
    pub(super) types: List<Type, 1, 32>,
}

/// An entry of `types` in `validity`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename = "a type in validity", deny_unknown_fields)]
pub struct Type {
    pub(super) code: Count<0, 65_535>,
    #[serde(default)]
    pub(super) not_valid: Option<List<Word, 1, 256>>,
    #[serde(default)]
    pub(super) uncertain: Option<List<Word, 1, 256>>,
}

/// An entry of `commands`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename = "a command", deny_unknown_fields)]
pub struct Command {
    pub(super) point: Word,
    pub(super) code: Count<0, 65_535>,
    pub(super) name: Word,
    pub(super) effect: Prose,
    #[serde(default = "no_interval")]
    pub(super) min_interval: Duration<0, 3_600_000>,
    #[serde(default)]
    pub(super) confidence: Confidence,
}

/// The section `identification`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename = "identification", default, deny_unknown_fields)]
pub struct Identification {
    pub(super) server_id: Option<Count<0, 255>>,
    pub(super) server_text: Option<List<Name, 1, 8>>,
    pub(super) vendor: Option<Name>,
    pub(super) product: Option<Name>,
    pub(super) version: Option<Word>,
}

impl Section for Profile {
    const APART: &'static [&'static str] = &["blocks"];
}

impl Section for Block {
    const APART: &'static [&'static str] = &["points"];
}

impl Section for Point {}

impl Default for Profile {
    fn default() -> Self {
        Self {
            name: None,
            title: None,
            first_register: FirstRegister(1),
            word_order: WordOrder::HighFirst,
            byte_order: ByteOrder::HighFirst,
            mirrored: YesNo::No,
            functions: None,
            not_available: NotAvailable::default(),
            gaps: None,
            blocks: Vec::new(),
            headline: None,
            validity: None,
            commands: None,
            identification: Identification::default(),
        }
    }
}

impl Default for Polled {
    fn default() -> Self {
        Self(YesNo::Yes)
    }
}

fn no_interval() -> Duration<0, 3_600_000> {
    Duration::millis(0)
}
