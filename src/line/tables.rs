//! Which tables of a unit hold the same registers, and how a read of one maps to the other.
//!
//! A profile may state that input registers repeat holding registers. Then a reading of either table serves both, and
//! its reply carries the function code of the request. Without that statement, every table is separate.

use bytes::Bytes;

use crate::modbus::pdu::{EXCEPTION_BIT, FunctionCode, ReadRange};

/// The tables of one unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tables {
    /// Each holds values of its own.
    #[default]
    Apart,
    /// Input registers repeat holding registers.
    Mirrored,
    /// Answers may have any length: only exactly the same read is served, and nothing is cut from its answer.
    Exact,
}

impl Tables {
    /// `range` in the table of `other`, if that table holds the same registers; else as it is.
    #[must_use]
    pub fn in_table_of(self, range: &ReadRange, other: &ReadRange) -> ReadRange {
        let same = match self {
            Self::Apart | Self::Exact => false,
            Self::Mirrored => is_register(range.function) && is_register(other.function),
        };
        ReadRange { function: if same { other.function } else { range.function }, ..*range }
    }

    /// `wanted` as a part of `whole`, if a reply to `whole` holds every value of it.
    #[must_use]
    pub fn part(self, whole: &ReadRange, wanted: &ReadRange) -> Option<ReadRange> {
        let part = self.in_table_of(wanted, whole);
        let is_held = match self {
            Self::Apart | Self::Mirrored => whole.covers(&part),
            Self::Exact => *whole == part,
        };
        is_held.then_some(part)
    }

    /// Whether the two cover the same values.
    #[must_use]
    pub fn are_same(self, one: &ReadRange, other: &ReadRange) -> bool {
        self.in_table_of(one, other) == *other
    }

    /// Whether the two have a value in common.
    #[must_use]
    pub fn overlap(self, one: &ReadRange, other: &ReadRange) -> bool {
        self.in_table_of(one, other).overlaps(other)
    }

    /// The reply PDU to `wanted`, cut from `reply` to `whole`; `None` if it does not hold every value of it.
    #[must_use]
    pub fn cut(self, whole: &ReadRange, reply: &Bytes, wanted: &ReadRange) -> Option<Bytes> {
        let part = self.part(whole, wanted)?;
        let cut = match self {
            Self::Apart | Self::Mirrored => whole.cut(reply, &part)?,
            Self::Exact => reply.clone(),
        };
        Some(with_function(&cut, wanted.function))
    }
}

/// The reply PDU, an exception included, as an answer to a request of that function.
#[must_use]
pub(super) fn with_function(reply: &Bytes, function: FunctionCode) -> Bytes {
    let own = function.0 | (reply[0] & EXCEPTION_BIT);
    if reply[0] == own {
        return reply.clone();
    }
    let mut renamed = reply.to_vec();
    renamed[0] = own;
    Bytes::from(renamed)
}

fn is_register(function: FunctionCode) -> bool {
    function == FunctionCode::READ_HOLDING_REGISTERS || function == FunctionCode::READ_INPUT_REGISTERS
}
