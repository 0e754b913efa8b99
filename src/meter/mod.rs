//! The meaning of registers: the profile of a meter, and its registers into values with units.
//!
//! Owns points, blocks, scales and word orders, and how a profile is read from a file. It never reads a register.
//!
//! `section` has the keys, `vocabulary` the closed sets (formats, groups, units); `read` and `checks` make a
//! [`Profile`] of a file (`draft` in between), `decode` makes values of registers.

mod builtin;
mod checks;
mod decimal;
mod decode;
mod draft;
pub mod figure;
pub mod profile;
mod read;
pub mod section;
mod value;
mod vocabulary;

pub use decimal::Decimal;
pub use decode::{RawNumber, Reading, Sample, ScaleRead, Unscaled, Value, Version};
pub use profile::{Bit, Block, Command, Point, Profile, Ratio, Scale, Valid};
pub use section::{Code, Identification, NotAvailable, Type, Validity};
pub use vocabulary::{Access, BlockKind, ByteOrder, Confidence, Format, Group, UNITS, WordOrder};
