//! The keys of a profile: their sections and their defaults as text.
//!
//! One table, read by the reader and the tests; decides nothing about values. `docs/profiles.md` explains each.

use crate::yaml::section::{bare, key};
use crate::yaml::{Key, KeyTable};

/// A section of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The top level.
    Profile,
    /// The mapping `not_available`.
    NotAvailable,
    /// An entry of `blocks`.
    Block,
    /// An entry of a block's `points`.
    Point,
    /// An entry of a point's `codes`.
    Code,
    /// An entry of a point's `bits`.
    Bit,
    /// The mapping `validity`.
    Validity,
    /// An entry of `types` in `validity`.
    Type,
    /// An entry of `commands`.
    Command,
    /// The mapping `identification`.
    Identification,
}

impl KeyTable for Part {
    const ALL: &'static [Self] = &[
        Self::Profile,
        Self::NotAvailable,
        Self::Block,
        Self::Point,
        Self::Code,
        Self::Bit,
        Self::Validity,
        Self::Type,
        Self::Command,
        Self::Identification,
    ];

    fn keys(self) -> &'static [Key] {
        match self {
            Self::Profile => PROFILE,
            Self::NotAvailable => NOT_AVAILABLE,
            Self::Block => BLOCK,
            Self::Point => POINT,
            Self::Code => CODE,
            Self::Bit => BIT,
            Self::Validity => VALIDITY,
            Self::Type => TYPE,
            Self::Command => COMMAND,
            Self::Identification => IDENTIFICATION,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Profile => "a profile",
            Self::NotAvailable => "not_available",
            Self::Block => "a block",
            Self::Point => "a point",
            Self::Code => "a code",
            Self::Bit => "a bit",
            Self::Validity => "validity",
            Self::Type => "a type in validity",
            Self::Command => "a command",
            Self::Identification => "identification",
        }
    }
}

const PROFILE: &[Key] = &[
    bare("name"),
    bare("title"),
    key("first_register", "1"),
    key("word_order", "high_first"),
    key("mirrored", "no"),
    bare("functions"),
    bare("not_available"),
    bare("gaps"),
    bare("blocks"),
    bare("headline"),
    bare("validity"),
    bare("commands"),
    bare("identification"),
];

const NOT_AVAILABLE: &[Key] =
    &[bare("u16"), bare("i16"), bare("u32"), bare("i32"), bare("u64"), bare("i64"), bare("f32")];

const BLOCK: &[Key] = &[
    bare("name"),
    bare("table"),
    bare("functions"),
    bare("registers"),
    bare("core"),
    bare("kind"),
    key("polled", "yes"),
    bare("points"),
];

const POINT: &[Key] = &[
    bare("register"),
    bare("name"),
    bare("format"),
    bare("unit"),
    bare("scale"),
    bare("group"),
    key("access", "read"),
    key("non_volatile", "no"),
    bare("range"),
    bare("codes"),
    bare("bits"),
    bare("copy_of"),
    bare("description"),
    key("confidence", "own"),
];

const CODE: &[Key] = &[bare("code"), bare("means")];

const BIT: &[Key] = &[bare("bit"), bare("name"), bare("means"), bare("remedy")];

const VALIDITY: &[Key] = &[bare("point"), key("confidence", "own"), bare("types")];

const TYPE: &[Key] = &[bare("code"), bare("not_valid"), bare("uncertain")];

const COMMAND: &[Key] = &[
    bare("point"),
    bare("code"),
    bare("name"),
    bare("effect"),
    key("min_interval", "0s"),
    key("confidence", "own"),
];

const IDENTIFICATION: &[Key] =
    &[bare("server_id"), bare("server_text"), bare("vendor"), bare("product"), bare("version")];
